package dir

import (
	"path/filepath"
	"strings"
	"testing"

	"hellogate/store"
	"hellogate/store/certtest"
)

// TestContainerGoes removes a folder of folders.
func TestContainerGoes(t *testing.T) {
	ca := certtest.NewCA(t)
	issued := ca.Issue(t, name, "b.example")
	for _, at := range []int{certbot, modMD, caddy, lego} {
		layout := inLayouts(name, issued)[at]
		t.Run(layout.name, func(t *testing.T) {
			t.Parallel()
			folder := t.TempDir()
			layout.files.write(t, folder)
			dir := open(t, folder)
			changes := watch(t, dir)
			wants(t, dir, "b.example", issued)
			away := filepath.Join(t.TempDir(), "away")
			container := filepath.Join(folder, map[int]string{certbot: "live", modMD: "domains", caddy: "certificates", lego: "certificates"}[at])
			rename(t, container, away)
			toldAnd(t, changes, dir, name)
			becomes(t, dir, "b.example")
			rename(t, away, container)
			toldAnd(t, changes, dir, name, issued)
			becomes(t, dir, "b.example", issued)
		})
	}
}

// TestFolderReplaced takes the whole folder away and puts another in its place.
func TestFolderReplaced(t *testing.T) {
	ca := certtest.NewCA(t)
	before, after := ca.Issue(t, name), ca.Issue(t, name)
	for _, link := range []bool{false, true} {
		t.Run(map[bool]string{false: "folder", true: "link"}[link], func(t *testing.T) {
			t.Parallel()
			parent := t.TempDir()
			pairOf(before, "1/a.example.crt", "1/a.example.key").write(t, parent)
			pairOf(after, "2/a.example.crt", "2/a.example.key").write(t, parent)
			folder := filepath.Join(parent, "current")
			place := func(at string) {
				remove(t, folder)
				if link {
					put(t, folder, "-> "+at)
				} else {
					rename(t, filepath.Join(parent, at), folder)
				}
			}
			place("1")
			dir := open(t, folder)
			changes := watch(t, dir)
			wants(t, dir, name, before)
			place("2")
			toldAll(t, changes)
			wants(t, dir, name, after)
			if !link {
				pairOf(before, "1/a.example.crt", "1/a.example.key").write(t, parent)
			}
			remove(t, folder)
			await(t, changes, "the loss of the folder", func(change store.Change) bool { return change.Lost })
			place("1")
			toldAll(t, changes)
			wants(t, dir, name, before)
			after.Write(t, folder, name)
			toldAnd(t, changes, dir, name, after)
		})
	}
}

// TestFetchWatches reads from a folder that was not watched yet.
func TestFetchWatches(t *testing.T) {
	ca := certtest.NewCA(t)
	before, after := ca.Issue(t, name), ca.Issue(t, name)
	folder := t.TempDir()
	linked := pairOf(before, "x/fullchain.pem", "x/privkey.pem")
	linked[name+".crt"], linked[name+".key"] = "-> x/fullchain.pem", "-> x/privkey.pem"
	for _, files := range []files{pairOf(before, name+"/fullchain.pem", name+"/privkey.pem"), linked} {
		files.write(t, folder)
		dir := open(t, folder)
		changes := watch(t, dir)
		keeper := dir.kept()
		keeper.mu.Lock()
		keeper.watched = newWatched()
		notify := keeper.notify
		keeper.mu.Unlock()
		for _, path := range notify.WatchList() {
			if err := notify.Remove(path); err != nil {
				t.Fatal(err)
			}
		}
		wants(t, dir, name, before)
		for path, text := range files {
			if !strings.HasPrefix(text, "-> ") {
				put(t, filepath.Join(folder, path), map[bool]string{true: string(after.Chain), false: string(after.Key)}[text == string(before.Chain)])
			}
		}
		toldAnd(t, changes, dir, name, after)
		dir.Close()
	}
}

// TestFolderMadeAgain removes the folder and makes another, which may get the same inode.
func TestFolderMadeAgain(t *testing.T) {
	t.Parallel()
	ca := certtest.NewCA(t)
	folder := filepath.Join(t.TempDir(), "certs")
	put(t, filepath.Join(folder, "x"), "")
	dir := open(t, folder)
	changes := watch(t, dir)
	for range 3 {
		remove(t, folder)
		issued := ca.Issue(t, name)
		pairOf(issued, name+".crt", name+".key").write(t, folder)
		toldAll(t, changes)
		becomes(t, dir, name, issued)
		issued = ca.Issue(t, name)
		issued.Write(t, folder, name)
		toldAnd(t, changes, dir, name, issued)
	}
}
