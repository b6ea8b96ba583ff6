package dir

import (
	"cmp"
	"errors"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"
	"syscall"
	"time"
)

// slice is how long run reads certificates before it sees what else there is to do.
const slice = 20 * time.Millisecond

// scan is a round through all certificates in the folder, to read their SANs and to watch where they are.
type scan struct {
	root   *os.Root
	begun  time.Time
	again  bool // there was one before, and what is different now is to be told
	paused bool // no file can be opened for the time being
	todo   []place
	unread int   // certificates and folders that can't be read
	why    error // the first of them can't
}

// note takes note of what can't be read. What is not there, or only half of it, is no trouble.
func (s *scan) note(err error) {
	if err == nil || missing(err) || exhausted(err) {
		return
	}
	s.unread++
	s.why = cmp.Or(s.why, err)
}

// startScan begins a round. wait: what is not in the index is not known before its end.
func (k *keeper) startScan(wait bool) {
	k.endScan()
	again := k.index.begin(wait)
	root, err := os.OpenRoot(k.dir.path)
	if err == nil {
		k.scan = &scan{root: root, begun: time.Now(), again: again}
		err = k.list()
	}
	k.unfinished = exhausted(err)
	if k.unfinished {
		k.endScan()
		k.next = time.Now().Add(lookEvery)
	}
}

// endScan gives up a round that is under way.
func (k *keeper) endScan() {
	if k.scan != nil {
		k.scan.root.Close()
		k.scan = nil
	}
}

func (s *scan) soon() <-chan time.Time {
	if s.paused {
		return time.After(lookEvery)
	}
	return atOnce
}

// advance goes on with a round for a short while, or begins one when it is time for that.
func (k *keeper) advance() {
	if k.scan == nil {
		if k.info != nil && (k.unfinished || k.degraded.Load()) && time.Now().After(k.next) {
			k.startScan(k.unfinished)
		}
		return
	}
	k.scan.paused = false
	l := &look{dir: k.dir, root: k.scan.root}
	for begun := time.Now(); len(k.scan.todo) > 0 && !k.scan.paused && time.Since(begun) < slice; {
		last := len(k.scan.todo) - 1
		if exhausted(k.read(l, k.scan.todo[last])) {
			k.scan.paused = true
			return
		}
		k.scan.todo = k.scan.todo[:last]
	}
	if len(k.scan.todo) == 0 {
		k.finish()
	}
}

func (k *keeper) read(l *look, at place) error {
	k.looks.Add(1)
	k.follow(l.root, at.base, l.files(at), false)
	before, after, err := k.index.renew(l, at)
	if at.layout != caddy { // whose places are for the most part no certificates'
		k.scan.note(err)
	}
	if k.scan.again && !slices.Equal(before, after) {
		k.publish(slices.Concat(before, after))
	}
	return err
}

// exhausted says whether nothing can be opened for want of descriptors: what is there can't be told from what is not.
func exhausted(err error) bool {
	return errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE)
}

// finish ends a round. While changes can't be watched, the next one follows, so that it takes a fiftieth of a processor.
func (k *keeper) finish() {
	gone := k.index.end()
	if k.scan.again {
		k.publish(gone)
	}
	k.next = time.Now().Add(max(time.Second, 50*time.Since(k.scan.begun)))
	k.warnUnread()
	k.endScan()
}

// warnUnread warns of certificates that can't be read, because the names that only they have are taken for unknown. It says
// nothing twice in a row.
func (k *keeper) warnUnread() {
	why := ""
	if k.scan.why != nil {
		why = k.scan.why.Error()
	}
	if why != "" && why != k.unread {
		k.dir.log.Warn().Str("store", k.dir.name).Int("unread", k.scan.unread).Err(k.scan.why).
			Str("note", "the user may have to be another one, or the folder the one above: links out of it are not followed").
			Msg("certificates that can't be read")
	}
	k.unread = why
}

// list finds the places where there may be certificates.
func (k *keeper) list() error {
	err := k.listIn(".", k.addTop)
	err = errors.Join(err, k.listIn("live", func(entry fs.DirEntry) { k.addFolder(certbot, entry) }))
	err = errors.Join(err, k.listIn("domains", func(entry fs.DirEntry) { k.addFolder(modMD, entry) }))
	err = errors.Join(err, k.listIn("certificates", func(entry fs.DirEntry) { k.add(lego, cutSuffix(entry.Name(), ".crt")) }))
	err = errors.Join(err, k.listIn("staging", func(entry fs.DirEntry) { k.seeStaged(k.scan.root, entry.Name()) }))
	for _, issuer := range k.dir.issuers(k.scan.root) {
		err = errors.Join(err, k.listIn(issuer, func(entry fs.DirEntry) { k.addFolder(caddy, entry) }))
	}
	return err
}

func (k *keeper) addTop(entry fs.DirEntry) {
	name := entry.Name()
	k.add(flatPEM, cutSuffix(name, ".cert.pem"))
	k.add(flat, cutSuffix(name, ".crt"))
	k.add(bundle, cutSuffix(name, ".pem", ".pem.rsa", ".pem.ecdsa"))
	if mayBeIssuer(".", name) {
		k.addFolder(folder, entry)
	}
}

func (k *keeper) addFolder(layout int, entry fs.DirEntry) {
	if entry.IsDir() || entry.Type()&fs.ModeSymlink != 0 {
		k.add(layout, entry.Name())
	}
}

func (k *keeper) add(layout int, base string) {
	if base != "" && base[0] != '.' {
		k.scan.todo = append(k.scan.todo, place{layout, base})
	}
}

// listIn goes through the entries of a container, which is watched from before that.
func (k *keeper) listIn(container string, each func(fs.DirEntry)) error {
	k.watchFolder(k.scan.root, container)
	err := forEach(k.scan.root, container, each)
	k.scan.note(err)
	return err
}

// watchFolder watches a folder itself, wherever links lead.
func (k *keeper) watchFolder(root *os.Root, at string) {
	k.follow(root, "", []string{at + "/-"}, false)
}

// watchIssuer watches a folder that may be Caddy's for an issuer, and takes note of the names in it.
func (k *keeper) watchIssuer(root *os.Root, issuer string) {
	k.watchFolder(root, issuer)
	_ = forEach(root, issuer, func(entry fs.DirEntry) { // when it can't be read, nor can what is in it
		if entry.IsDir() && !strings.HasPrefix(entry.Name(), ".") {
			k.mu.Lock()
			defer k.mu.Unlock()
			k.pend(change{base: entry.Name()})
		}
	})
}

// forEach goes through the entries of a folder.
func forEach(root *os.Root, at string, each func(fs.DirEntry)) error {
	opened, err := root.Open(at)
	if err != nil {
		return err
	}
	defer opened.Close()
	for {
		entries, err := opened.ReadDir(1024)
		for _, entry := range entries {
			each(entry)
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}
