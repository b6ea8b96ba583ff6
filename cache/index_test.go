package cache

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"pgregory.net/rapid"
)

func named(value *string) string { return *value }

// indexNames are names made beforehand: to make them takes longer than what is done with them.
var indexNames = sync.OnceValue(func() []string {
	names := make([]string, 25_000)
	for i := range names {
		names[i] = fmt.Sprint("n", i)
	}
	return names
})

func newName(i int) *string { return new(indexNames()[i]) }

func TestIndex(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		x := newIndex(named)
		model := map[string]*string{}
		// Some thousand names, by the hundred: shards grow and shrink, and groups overflow.
		some := func(t *rapid.T) (from, count int) {
			return rapid.IntRange(0, 4000).Draw(t, "from"), rapid.SampledFrom([]int{1, 10, 1000}).Draw(t, "count")
		}
		t.Repeat(map[string]func(*rapid.T){
			"insert": func(t *rapid.T) {
				from, count := some(t)
				for i := range count {
					if added := newName(from + i); model[*added] == nil {
						model[*added] = added
						x.insert(added)
					}
				}
			},
			"remove": func(t *rapid.T) {
				from, count := some(t)
				for i := range count {
					if name := *newName(from + i); model[name] != nil {
						x.remove(model[name])
						delete(model, name)
					}
				}
			},
			"remove what is not there": func(t *rapid.T) { x.remove(newName(rapid.IntRange(0, 4000).Draw(t, "n"))) },
			"":                         func(t *rapid.T) { holdsPart(t, &x, model, rapid.IntRange(0, 9).Draw(t, "part"), 10) },
		})
		holdsPart(t, &x, model, 0, 1)
		for _, value := range model {
			x.remove(value)
		}
		for i := range x.shards {
			groups := x.shards[i].table.Load().groups
			if tags := groups[0].tags.Load(); len(groups) != 1 || tags != 0 {
				t.Fatalf("shard %d is empty, and has %d groups, tags %x", i, len(groups), tags)
			}
		}
	})
}

// holdsPart looks at every so manyth name, from the first on, and at how many there are.
func holdsPart(t *rapid.T, x *index[string], model map[string]*string, first, every int) {
	for i := first; i < 5000; i += every {
		name := indexNames()[i]
		if found, _ := x.find(name); found != model[name] {
			t.Fatalf("%s: %v, want %v", name, found, model[name])
		}
	}
	count := 0
	for value := range x.all(3) {
		if model[*value] != value {
			t.Fatalf("%s is left", *value)
		}
		count++
	}
	if count != len(model) || x.count != len(model) {
		t.Fatalf("%d of %d, counted %d", count, len(model), x.count)
	}
}

// What is there all the time is found all the time, whatever comes and goes beside it.
func TestIndexIsReadWhileItChanges(t *testing.T) {
	t.Parallel()
	x := newIndex(named)
	const kept, passing = 500, 20_000
	for i := range kept {
		x.insert(newName(i))
	}
	var done atomic.Bool
	var readers sync.WaitGroup
	for range 4 {
		readers.Go(func() {
			for i := 0; !done.Load(); i++ {
				if name := *newName(i % kept); !has(&x, name) {
					t.Errorf("%s is not found", name)
					return
				}
			}
		})
	}
	others := make([]*string, passing)
	for i := range others {
		others[i] = newName(kept + i)
	}
	for range 5 {
		for _, value := range others {
			x.insert(value)
		}
		for _, value := range others {
			x.remove(value)
		}
	}
	done.Store(true)
	readers.Wait()
}

func has(x *index[string], name string) bool {
	found, _ := x.find(name)
	return found != nil
}
