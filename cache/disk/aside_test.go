package disk

import (
	"bytes"
	"os"
	"testing"

	"go.etcd.io/bbolt"
)

// setAsideTests are files that can't be used.
var setAsideTests = map[string]struct {
	change func(l *lab)
	says   string
}{
	"another key": {func(l *lab) { l.options.KeyFile = writeKey(l.t, 2) }, "another key"},
	"key removed": {func(l *lab) { l.options.KeyFile = "" }, "no key file is configured"},
	"older format": {func(l *lab) {
		l.putFormat(func(record []byte) []byte { record[len(formatMagic)] = 0; return record })
	}, "format 0"},
	"newer format": {func(l *lab) {
		l.putFormat(func(record []byte) []byte { record[len(formatMagic)] = 2; return record[:len(formatMagic)+1] })
	}, "format"},
	"newer format, longer": {func(l *lab) {
		l.putFormat(func(record []byte) []byte { record[len(formatMagic)] = 2; return append(record, 1, 2, 3) })
	}, "format 2"},
	"format record damaged": {func(l *lab) {
		l.putFormat(func(record []byte) []byte { record[len(formatMagic)+5] ^= 1; return record })
	}, "format record is damaged"},
	"somebody else's": {func(l *lab) {
		os.Remove(l.file())
		l.raw(func(tx *bbolt.Tx) error { _, err := tx.CreateBucket([]byte("other")); return err })
	}, "it has no meta"},
	"garbage":           {func(l *lab) { l.write(filling(1, 100_000)) }, "no valid meta page"},
	"zeros":             {func(l *lab) { l.write(make([]byte, 100_000)) }, "no valid meta page"},
	"short":             {func(l *lab) { l.write([]byte("short")) }, "cut off"},
	"2 GB with nothing": {func(l *lab) { l.write([]byte{1}); l.truncate(2 << 30) }, "no valid meta page"},
	"cut to a half":     {func(l *lab) { l.truncate(l.size() / 2) }, "cut off"},
	"cut to a page":     {func(l *lab) { l.truncate(4096) }, "cut off"},
	"cut to two pages":  {func(l *lab) { l.truncate(8192) }, "cut off"},
	"cut within a page": {func(l *lab) { l.truncate(4000) }, "cut off"},
}

func (l *lab) putFormat(change func([]byte) []byte) {
	l.raw(func(tx *bbolt.Tx) error {
		in := tx.Bucket(bucketNames[metaBucket])
		return in.Put(formatKey, change(bytes.Clone(in.Get(formatKey))))
	})
}

func (l *lab) write(content []byte) {
	l.t.Helper()
	if err := os.WriteFile(l.file(), content, 0o600); err != nil {
		l.t.Fatal(err)
	}
}

func (l *lab) truncate(size int64) {
	l.t.Helper()
	if err := os.Truncate(l.file(), size); err != nil {
		l.t.Fatal(err)
	}
}

func (l *lab) size() int64 {
	l.t.Helper()
	info, err := os.Stat(l.file())
	if err != nil {
		l.t.Fatal(err)
	}
	return info.Size()
}

func TestSetAside(t *testing.T) {
	for name, test := range setAsideTests {
		t.Run(name, func(t *testing.T) {
			l := newLab(t, true, quick())
			records := l.fill(50)
			l.reopen(func() { test.change(l) })
			if aside := l.aside(); len(aside) != 1 {
				t.Fatalf("set aside: %v", aside)
			}
			l.log.has(t, 1, "set aside")
			l.log.has(t, 1, test.says)
			l.lacks(records[0].Key)
			l.Put(records[7])
			l.reopen(nil)
			l.holds(records[7])
			l.log.has(t, 1, "set aside")
			info, err := os.Stat(l.aside()[0])
			if err != nil || info.Mode().Perm() != 0o600 {
				t.Fatalf("%v, %v", info.Mode(), err)
			}
		})
	}
}

func TestKeyAdded(t *testing.T) {
	l := newLab(t, false, quick())
	records := l.fill(3)
	l.reopen(func() { l.options.KeyFile = writeKey(t, 1) })
	l.log.has(t, 1, "it is not encrypted")
	l.lacks(records[0].Key)
	l.Put(records[0])
	l.reopen(nil)
	l.holds(records[0])
}

func TestEmptyFileIsBegun(t *testing.T) {
	l := newLab(t, true, quick())
	l.reopen(func() { l.truncate(0) })
	l.Put(sample(1))
	l.reopen(nil)
	l.holds(sample(1))
	// Killed between the two transactions that a new file begins with.
	l.reopen(func() {
		os.Remove(l.file())
		l.raw(func(*bbolt.Tx) error { return nil })
	})
	l.Put(sample(2))
	l.reopen(nil)
	l.holds(sample(2))
	if aside := l.aside(); len(aside) > 0 {
		t.Fatalf("set aside: %v", aside)
	}
}

func TestThreeAreKeptAside(t *testing.T) {
	l := newLab(t, false, quick())
	l.fill(1)
	var newest []string
	for range 6 {
		l.reopen(func() { l.write([]byte("garbage")) })
		newest = l.aside()
	}
	if len(newest) != keepAside {
		t.Fatalf("%v", newest)
	}
	for _, path := range newest {
		if content, err := os.ReadFile(path); err != nil || string(content) != "garbage" {
			t.Fatalf("%s: %q, %v: not one of the newest", path, content, err)
		}
	}
}
