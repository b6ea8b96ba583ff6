package dir

import (
	"fmt"
	"path/filepath"
	"testing"

	"github.com/fsnotify/fsnotify"

	"hellogate/store/certtest"
)

// TestLinks replaces links, and what they lead to.
func TestLinks(t *testing.T) {
	ca := certtest.NewCA(t)
	before, after := ca.Issue(t, name), ca.Issue(t, name)
	swap := func(t *testing.T, path, target string) {
		put(t, path+"_tmp", "-> "+target)
		rename(t, path+"_tmp", path)
	}
	kubernetes := files{"..data": "-> ..1", name + ".crt": "-> ..data/" + name + ".crt", name + ".key": "-> ..data/" + name + ".key"}
	certbotFiles := inLayouts(name, before)[certbot].files
	for _, test := range []struct {
		name   string
		files  []files
		change func(t *testing.T, folder string)
	}{
		{"kubernetes", []files{pairOf(before, "..1/a.example.crt", "..1/a.example.key"), kubernetes}, func(t *testing.T, folder string) {
			pairOf(after, "..2/a.example.crt", "..2/a.example.key").write(t, folder)
			swap(t, filepath.Join(folder, "..data"), "..2")
			remove(t, filepath.Join(folder, "..1"))
		}},
		{"a folder's link, ln -sfn", []files{pairOf(before, "1/fullchain.pem", "1/privkey.pem"), {name: "-> 1"}}, func(t *testing.T, folder string) {
			pairOf(after, "2/fullchain.pem", "2/privkey.pem").write(t, folder)
			remove(t, filepath.Join(folder, name))
			put(t, filepath.Join(folder, name), "-> 2")
		}},
		{"behind a folder's link", []files{pairOf(before, "x/1/fullchain.pem", "x/1/privkey.pem"), {name: "-> x/1"}}, func(t *testing.T, folder string) {
			pairOf(after, "x/1/fullchain.pem", "x/1/privkey.pem").write(t, folder)
		}},
		{"certbot's renewal", []files{certbotFiles}, func(t *testing.T, folder string) {
			pairOf(after, "archive/a.example/fullchain2.pem", "archive/a.example/privkey2.pem").write(t, folder)
			swap(t, filepath.Join(folder, "live/a.example/privkey.pem"), "../../archive/a.example/privkey2.pem")
			swap(t, filepath.Join(folder, "live/a.example/fullchain.pem"), "../../archive/a.example/fullchain2.pem")
		}},
		{"certbot's archive moved over", []files{certbotFiles}, func(t *testing.T, folder string) {
			pairOf(after, "archive/new/fullchain1.pem", "archive/new/privkey1.pem").write(t, folder)
			remove(t, filepath.Join(folder, "archive/a.example"))
			rename(t, filepath.Join(folder, "archive/new"), filepath.Join(folder, "archive/a.example"))
		}},
		{"a link to a file beside", []files{pairOf(before, "shared.crt", "shared.key"), {name + ".crt": "-> shared.crt", name + ".key": "-> shared.key"}}, func(t *testing.T, folder string) {
			pairOf(after, "shared.crt", "shared.key").write(t, folder)
		}},
		{"a container's link", []files{pairOf(before, "data/1/a.example/fullchain.pem", "data/1/a.example/privkey.pem"), {"live": "-> data/1"}}, func(t *testing.T, folder string) {
			pairOf(after, "data/2/a.example/fullchain.pem", "data/2/a.example/privkey.pem").write(t, folder)
			swap(t, filepath.Join(folder, "live"), "data/2")
		}},
		{"mod_md's activation", []files{inLayouts(name, before)[modMD].files}, func(t *testing.T, folder string) {
			pairOf(after, "tmp/a.example/pubcert.pem", "tmp/a.example/privkey.pem").write(t, folder)
			remove(t, filepath.Join(folder, "archive"))
			put(t, filepath.Join(folder, "archive/x"), "")
			rename(t, filepath.Join(folder, "domains/a.example"), filepath.Join(folder, "archive/a.example.1"))
			rename(t, filepath.Join(folder, "tmp/a.example"), filepath.Join(folder, "domains/a.example"))
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			folder := t.TempDir()
			for _, files := range test.files {
				files.write(t, folder)
			}
			dir := open(t, folder)
			changes := watch(t, dir)
			wants(t, dir, name, before)
			silent(t, changes)
			test.change(t, folder)
			toldAnd(t, changes, dir, name, after)
		})
	}
}

// TestManyLinks has more names behind one link than are told one by one.
func TestManyLinks(t *testing.T) {
	t.Parallel()
	ca := certtest.NewCA(t)
	before, after := ca.Issue(t, "*.example"), ca.Issue(t, "*.example")
	folder := t.TempDir()
	put(t, filepath.Join(folder, "..data"), "-> ..1")
	for i := range 2 * maxBehind {
		base := fmt.Sprintf("x%d.example", i)
		pairOf(before, "..1/"+base+".crt", "..1/"+base+".key").write(t, folder)
		pairOf(after, "..2/"+base+".crt", "..2/"+base+".key").write(t, folder)
		files{base + ".crt": "-> ..data/" + base + ".crt", base + ".key": "-> ..data/" + base + ".key"}.write(t, folder)
	}
	dir := open(t, folder)
	changes := watch(t, dir)
	for _, step := range []struct {
		target string
		issued certtest.Issued
	}{{"..2", after}, {"..1", before}} {
		put(t, filepath.Join(folder, "..data_tmp"), "-> "+step.target)
		rename(t, filepath.Join(folder, "..data_tmp"), filepath.Join(folder, "..data"))
		toldAnd(t, changes, dir, "x7.example", step.issued)
	}
}

// TestUnread opens folders in which certificates can't be read: certbot's live/, whose links lead out of it into archive/,
// and others.
func TestUnread(t *testing.T) {
	ca := certtest.NewCA(t)
	issued := ca.Issue(t, name, "www.a.example")
	letsencrypt := t.TempDir()
	archived := pairOf(issued, "archive/a.example/fullchain1.pem", "archive/a.example/privkey1.pem")
	archived["live/README"] = "This directory contains your keys and certificates."
	archived["live/a.example/fullchain.pem"] = "-> ../../archive/a.example/fullchain1.pem"
	archived["live/a.example/privkey.pem"] = "-> ../../archive/a.example/privkey1.pem"
	archived.write(t, letsencrypt)
	for _, test := range []struct {
		name, folder string
		files        files
		want         string // in the warning; empty: there is none
	}{
		{"certbot", letsencrypt, nil, ""},
		{"live", filepath.Join(letsencrypt, "live"), nil, `"unread":1,"error":"openat a.example/fullchain.pem: path escapes`},
		{"an empty certificate", t.TempDir(), pairOf(certtest.Issued{}, "b.example.crt", "b.example.key"), `"error":"b.example.crt: empty"`},
		{"no key", t.TempDir(), files{"ca.crt": string(ca.PEM())}, ""},
		{"other files", t.TempDir(), files{"README.pem": "text", "dhparam.pem": "text", "x/y/z": ""}, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			test.files.write(t, test.folder)
			dir, log := openLogged(t, test.folder)
			changes := watch(t, dir)
			dir.kept().trouble(fsnotify.ErrEventOverflow) // another scan
			toldAll(t, changes)
			becomes(t, dir, "c.example")
			got := log.count("can't be read")
			if want := min(len(test.want), 1); got != want || log.count(test.want) < want {
				t.Errorf("warned %d times, want %d with %s", got, want, test.want)
			}
		})
	}
}
