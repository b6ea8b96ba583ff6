package disk

import (
	"maps"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// The tier does what a map does, whatever is done in whatever order, also while the disk can't be written.
func TestModel(t *testing.T) {
	both(t, func(t *testing.T, encrypted bool) {
		rapid.Check(t, func(rt *rapid.T) {
			l := newLab(t, encrypted, quick())
			m := &model{lab: l, want: make(map[string]Record)}
			defer func() {
				m.repair(rt)
				l.Close()
			}()
			rt.Repeat(map[string]func(*rapid.T){
				"put": m.put, "delete": m.delete, "delete all": m.deleteAll, "get": m.get, "tagged": m.tagged,
				"keys": m.keys, "sync": m.sync, "reopen": m.again, "break": m.breakDown, "repair": m.repair,
			})
			m.repair(rt)
			for _, record := range m.want {
				l.holds(record)
			}
			l.sync()
			if got := l.Stats().Records; got != len(m.want) {
				rt.Fatalf("%d records, want %d", got, len(m.want))
			}
		})
	})
}

type model struct {
	*lab
	want map[string]Record
	mend func() // nil: the disk is not broken
}

func (m *model) sync(*rapid.T) {
	if err := m.trySync(); err != nil && m.mend == nil {
		m.t.Fatal(err)
	}
}

func (m *model) again(rt *rapid.T) {
	m.repair(rt)
	m.reopen(nil)
}

func (m *model) breakDown(rt *rapid.T) {
	m.repair(rt)
	m.lab.sync() // a file that is to be removed would take the broken descriptor with it
	m.mend = m.breakDisk()
}

func (m *model) repair(*rapid.T) {
	if m.mend != nil {
		m.mend()
		m.mend = nil
	}
}

var keys = rapid.Custom(func(rt *rapid.T) string { return sample(rapid.IntRange(0, 40).Draw(rt, "key")).Key })

func (m *model) put(rt *rapid.T) {
	record := Record{Key: keys.Draw(rt, "key"), Value: filling(rapid.Int().Draw(rt, "value"), rapid.IntRange(0, 3000).Draw(rt, "size"))}
	for range rapid.IntRange(0, 3).Draw(rt, "shared") {
		record.Shared = append(record.Shared, filling(rapid.IntRange(0, 5).Draw(rt, "blob"), 500))
	}
	for range rapid.IntRange(0, 2).Draw(rt, "tags") {
		record.Tags = append(record.Tags, tagOf(rapid.IntRange(0, 5).Draw(rt, "tag")))
	}
	m.Put(record)
	m.want[record.Key] = record
}

func (m *model) delete(rt *rapid.T) {
	gone := rapid.SliceOfN(keys, 1, 5).Draw(rt, "gone")
	m.Delete(gone...)
	for _, key := range gone {
		delete(m.want, key)
	}
}

func (m *model) deleteAll(rt *rapid.T) {
	if rapid.IntRange(0, 3).Draw(rt, "dice") > 0 {
		rt.Skip("rarely")
	}
	m.repair(rt)
	m.DeleteAll()
	clear(m.want)
}

func (m *model) get(rt *rapid.T) {
	key := keys.Draw(rt, "key")
	got, found := m.Get(key)
	if want, there := m.want[key]; found != there || difference(want, got) != "" {
		rt.Fatalf("%q: there %t, want %t: %s", key, found, there, difference(want, got))
	}
}

func (m *model) tagged(rt *rapid.T) {
	tag := tagOf(rapid.IntRange(0, 5).Draw(rt, "tag"))
	var want []string
	for _, key := range slices.Sorted(maps.Keys(m.want)) {
		if slices.Contains(m.want[key].Tags, tag) {
			want = append(want, key)
		}
	}
	if got := m.Tagged(tag); !slices.Equal(got, want) {
		rt.Fatalf("tagged %q, want %q", got, want)
	}
}

func (m *model) keys(rt *rapid.T) {
	after, most := keys.Draw(rt, "after"), rapid.IntRange(0, 50).Draw(rt, "most")
	want := slices.DeleteFunc(slices.Sorted(maps.Keys(m.want)), func(key string) bool { return key <= after })
	want = want[:min(most, len(want))]
	if got := m.Keys(after, most); !slices.Equal(got, want) {
		rt.Fatalf("keys %q, want %q", got, want)
	}
}
