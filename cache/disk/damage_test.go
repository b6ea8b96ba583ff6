package disk

import (
	"bytes"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"go.etcd.io/bbolt"
)

// raw changes the file of a closed tier as bbolt has it.
func (l *lab) raw(change func(*bbolt.Tx) error) {
	l.t.Helper()
	db, err := bbolt.Open(l.file(), 0o600, &bbolt.Options{Timeout: time.Second})
	if err != nil {
		l.t.Fatal(err)
	}
	defer db.Close()
	if err := db.Update(change); err != nil {
		l.t.Fatal(err)
	}
}

func TestValuesAreBoundToTheirNames(t *testing.T) {
	both(t, func(t *testing.T, encrypted bool) {
		l := newLab(t, encrypted, quick())
		records := l.fill(6)
		l.reopen(func() {
			l.raw(func(tx *bbolt.Tx) error {
				in := tx.Bucket(bucketNames[recordBucket])
				one, other := []byte(records[1].Key), []byte(records[4].Key)
				first, second := bytes.Clone(in.Get(one)), bytes.Clone(in.Get(other))
				if err := in.Put(one, second); err != nil {
					return err
				}
				return in.Put(other, first)
			})
		})
		l.lacks(records[1].Key, records[4].Key)
		for _, i := range []int{0, 2, 3, 5} {
			l.holds(records[i])
		}
		eventually(t, "removed", func() bool { return l.Stats().Records == 4 })
		if got := l.Stats().Damaged; got != 2 {
			t.Fatalf("%d damaged, want 2", got)
		}
		l.log.has(t, 1, "damaged records")
		l.Put(records[1])
		l.reopen(nil)
		l.holds(records[1])
		l.lacks(records[4].Key)
	})
}

func TestSharedIsBoundToItsHash(t *testing.T) {
	both(t, func(t *testing.T, encrypted bool) {
		l := newLab(t, encrypted, quick())
		records := l.fill(2) // of two chains
		l.reopen(func() {
			l.raw(func(tx *bbolt.Tx) error {
				in := tx.Bucket(bucketNames[sharedBucket])
				one, other := contentOf(&records[0]).shared[0], contentOf(&records[1]).shared[1]
				return in.Put(one[:], bytes.Clone(in.Get(other[:])))
			})
		})
		l.lacks(records[0].Key)
		l.holds(records[1])
		eventually(t, "removed", func() bool { return l.Stats().Records == 1 })
		l.Put(records[0])
		l.reopen(nil)
		l.holds(records[0])
	})
}

func TestSharedIsKeptOnce(t *testing.T) {
	l := newLab(t, true, quick())
	l.fill(100)
	blobs := 0
	l.reopen(func() {
		l.raw(func(tx *bbolt.Tx) error {
			return tx.Bucket(bucketNames[sharedBucket]).ForEach(func(_, _ []byte) error {
				blobs++
				return nil
			})
		})
	})
	if blobs != 4 {
		t.Fatalf("%d are kept, want 4", blobs)
	}
}

func TestDamageIsLoggedOnceAMinute(t *testing.T) {
	l := newLab(t, true, quick())
	records := l.fill(30)
	l.reopen(func() {
		l.raw(func(tx *bbolt.Tx) error {
			for _, record := range records {
				if err := tx.Bucket(bucketNames[recordBucket]).Put([]byte(record.Key), []byte("damaged")); err != nil {
					return err
				}
			}
			return nil
		})
	})
	for _, record := range records {
		l.lacks(record.Key)
		l.sync()
	}
	if got := l.Stats(); got.Damaged != 30 || got.Records != 0 {
		t.Fatalf("%+v", got)
	}
	l.log.has(t, 1, "damaged records")
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	l.log.has(t, 2, "damaged records") // the rest of them
}

// Cut off and overwritten while it is open: reads and writes go on with a new file.
func TestDamagedWhileOpen(t *testing.T) {
	damages := map[string]func(l *lab){
		"cut to nothing":  func(l *lab) { l.truncate(0) },
		"cut to two":      func(l *lab) { l.truncate(8192) },
		"cut to a half":   func(l *lab) { l.truncate(l.size() / 2) },
		"overwritten":     func(l *lab) { l.overwrite(0, filling(1, int(l.size()))) },
		"overwritten end": func(l *lab) { l.overwrite(8192, filling(1, int(l.size())-8192)) },
	}
	for name, damage := range damages {
		for _, first := range []string{"read", "write", "delete"} {
			t.Run(name+", then "+first, func(t *testing.T) {
				l := newLab(t, true, quick())
				records := l.fill(400)
				damage(l)
				switch first {
				case "read":
					for _, record := range records {
						if got, found := l.Get(record.Key); found && difference(record, got) != "" {
							t.Fatalf("%q is wrong", record.Key)
						}
					}
				case "delete":
					l.Delete(records[3].Key)
				}
				l.Put(sample(1000))
				l.sync()
				l.lacks(records[3].Key)
				l.holds(sample(1000))
				l.log.has(t, 1, "set aside")
				l.reopen(nil)
				l.holds(sample(1000))
				l.log.has(t, 1, "set aside")
			})
		}
	}
}

// A file so small that nothing is read of it before bbolt does, from a map that has nothing behind it any more.
func TestCutOffUnderBolt(t *testing.T) {
	for _, size := range []int64{0, 4096, 8192} {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			l := newLab(t, true, quick())
			l.Put(Record{Key: "a"})
			l.sync()
			l.truncate(size)
			l.Put(Record{Key: "b"})
			l.Delete("a")
			l.sync()
			l.holds(Record{Key: "b"})
			l.lacks("a")
			l.log.has(t, 1, "set aside")
			l.reopen(nil)
			l.holds(Record{Key: "b"})
		})
	}
}

func (l *lab) overwrite(at int64, content []byte) {
	l.t.Helper()
	file, err := os.OpenFile(l.file(), os.O_WRONLY, 0)
	if err != nil {
		l.t.Fatal(err)
	}
	defer file.Close()
	if _, err := file.WriteAt(content, at); err != nil {
		l.t.Fatal(err)
	}
}

// Pages that lead to each other would have bbolt recurse until the process dies.
func TestPagesInACircle(t *testing.T) {
	for _, use := range []string{"get", "keys", "put", "delete"} {
		t.Run(use, func(t *testing.T) {
			l := newLab(t, false, quick())
			records := l.fill(400)
			v := l.Tier.file.Load().view.Load()
			root := v.trees[recordBucket].root
			if err := l.Close(); err != nil {
				t.Fatal(err)
			}
			content, err := os.ReadFile(l.file())
			if err != nil {
				t.Fatal(err)
			}
			branch := page(content[root*4096 : (root+1)*4096])
			if branch.isLeaf() {
				t.Fatal("too few records for a branch")
			}
			for i := range branch.count() {
				native.PutUint64(branch[pageHeader+i*elementSize+8:], root)
			}
			l.write(content)
			l.open()
			switch use {
			case "get":
				l.lacks(records[0].Key)
			case "keys":
				_, _ = l.Tier.Keys(t.Context(), "", 1000)
			case "put":
				l.Put(records[0])
			case "delete":
				l.Delete(records[0].Key)
			}
			l.sync()
			l.log.has(t, 1, "set aside")
			l.Put(records[1])
			l.reopen(nil)
			l.holds(records[1])
		})
	}
}

// A file that is corrupted again and again is not set aside all the time.
func TestSetAsideNotTooOften(t *testing.T) {
	p := quick()
	p.replaceEvery = time.Hour
	l := newLab(t, false, p)
	l.fill(400)
	l.truncate(8192)
	l.Put(sample(1))
	l.sync()
	l.fill(400)
	l.truncate(8192)
	l.Put(sample(1000))
	if err := l.trySync(); err == nil || !strings.Contains(err.Error(), "as was that before it") {
		t.Fatalf("got %v", err)
	}
	l.holds(sample(1000))
	l.log.has(t, 1, "set aside and begun anew")
}
