package cache

import (
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"hellogate/sni"
	"hellogate/store"
)

func takes(t *testing.T, text string) func(string) bool {
	t.Helper()
	pattern, err := sni.ParsePattern(text)
	if err != nil {
		t.Fatal(err)
	}
	return pattern.Match
}

// Other stores: what they may answer is asked for again and served meanwhile, a no or a failure is forgotten; other names are
// left alone.
func TestStoresReplaced(t *testing.T) {
	run(t, nil, func(t *testing.T, l *lab) {
		first, other := l.stock("a.x.example"), l.stock("a.y.example")
		l.serves("a.x.example", first, Miss)
		l.serves("a.y.example", other, Miss)
		l.refuses("no.x.example", store.ErrUnknown)
		l.refuses("no.y.example", store.ErrUnknown)
		second, known := l.stock("a.x.example"), l.stock("no.x.example")
		l.stock("a.y.example")
		l.stock("no.y.example")
		l.StoresReplaced(Replacement{Takes: takes(t, "*.x.example")})
		l.serves("no.x.example", known, Miss)
		l.refuses("no.y.example", store.ErrUnknown)
		l.serves("a.x.example", first, Stale)
		l.sleep(time.Millisecond)
		l.serves("a.x.example", second, Hit)
		l.sleep(changeSpread)
		l.serves("a.y.example", other, Hit)
	})
}

// What nobody uses is asked for again too. A name that none of the stores knows any more goes on being served, as after any no.
func TestStoresReplacedInBackground(t *testing.T) {
	run(t, nil, func(t *testing.T, l *lab) {
		gone := l.stock("gone.example")
		l.stock("a.example")
		l.get("gone.example")
		l.get("a.example")
		second := l.stock("a.example")
		l.shelf.set("gone.example", unknown)
		l.StoresReplaced(Replacement{Takes: takes(t, "*")})
		l.sleep(changeSpread + time.Second)
		l.asked("a.example", 2)
		l.asked("gone.example", 2)
		l.serves("a.example", second, Hit)
		if leaf, _, err := l.get("gone.example"); err != nil || string(leaf) != string(gone.Leaf.Raw) {
			t.Errorf("not served: %v", err)
		}
	})
}

// What the stores before are being asked is not cached, and nobody joins it.
func TestStoresReplacedMeanwhile(t *testing.T) {
	run(t, nil, func(t *testing.T, l *lab) {
		l.shelf.setDelay(time.Second)
		ended := make(chan error)
		go func() {
			_, _, err := l.get("a.example")
			ended <- err
		}()
		l.sleep(time.Millisecond)
		l.StoresReplaced(Replacement{Takes: takes(t, "*")})
		l.serves("a.example", l.stock("a.example"), Miss)
		if err := <-ended; err == nil {
			t.Error("the store before knows the name")
		}
		l.asked("a.example", 2)
	})
}

// A validator of one store means nothing to another, though it has the same name.
func TestStoresReplacedValidator(t *testing.T) {
	for _, test := range []struct {
		name   string
		others []string
		want   string
	}{
		{"another", []string{"shelf"}, ""},
		{"the same", []string{"else"}, `"v1"`},
	} {
		t.Run(test.name, func(t *testing.T) {
			run(t, nil, func(t *testing.T, l *lab) {
				issued := l.ca.Issue(t, "a.example")
				l.shelf.set("a.example", func(store.Request) (*store.Bundle, error) {
					return &store.Bundle{Store: "shelf", Pairs: []store.Pair{issued.Pair}, Validator: store.Validator{ETag: `"v1"`}}, nil
				})
				l.serves("a.example", issued, Miss)
				l.StoresReplaced(Replacement{Takes: takes(t, "*"), Others: test.others})
				l.sleep(changeSpread + time.Second)
				l.asked("a.example", 2)
				if got := l.shelf.last().Validator.ETag; got != test.want {
					t.Errorf("asked with %q, want %q", got, test.want)
				}
			})
		})
	}
}

// What is asked for while other stores are being taken in is asked for without the validator of the one before.
func TestStoresReplacedValidatorMeanwhile(t *testing.T) {
	run(t, nil, func(t *testing.T, l *lab) {
		issued := l.ca.Issue(t, "a.example")
		l.shelf.set("a.example", func(store.Request) (*store.Bundle, error) {
			return &store.Bundle{Store: "shelf", Pairs: []store.Pair{issued.Pair}, Validator: store.Validator{ETag: `"v1"`}}, nil
		})
		l.serves("a.example", issued, Miss)
		l.sleep(time.Second)
		meanwhile := sync.OnceFunc(func() {
			found, _ := l.index.find("a.example")
			l.mu.Lock()
			l.plan(found, l.clock.now().mono)
			l.unlock()
			synctest.Wait()
			l.asked("a.example", 2)
			if got := l.shelf.last().Validator.ETag; got != "" {
				t.Errorf("asked with %q", got)
			}
		})
		l.StoresReplaced(Replacement{Others: []string{"shelf"}, Takes: func(string) bool {
			meanwhile()
			return true
		}})
		l.asked("a.example", 2)
	})
}

// What is on disk alone is doubted too, and its validator is of no use any more.
func TestStoresReplacedOnDisk(t *testing.T) {
	runDisk(t, func(o *Options) { o.Size = 400 << 10 }, func(t *testing.T, l *lab, m *memory, restart func()) {
		l.shelf.setAll(func(request store.Request) (*store.Bundle, error) {
			issued := l.ca.Issue(t, request.Name)
			return &store.Bundle{Store: "shelf", Pairs: []store.Pair{issued.Pair}, Validator: store.Validator{ETag: `"v1"`}}, nil
		})
		for i := range 500 {
			l.get(nameOf(i))
		}
		var evicted []string
		for i := range 500 {
			if found, _ := l.index.find(nameOf(i)); found == nil {
				evicted = append(evicted, nameOf(i))
			}
		}
		if len(evicted) < 2 {
			t.Fatal("all of it fits")
		}
		asked := func(name string) (last store.Request) {
			t.Helper()
			l.asked(name, 2)
			for _, request := range l.shelf.asked {
				if request.Name == name {
					last = request
				}
			}
			return last
		}
		for n, test := range []struct {
			by   Replacement
			want string
		}{
			{Replacement{Takes: takes(t, "none.example"), Touched: []string{"shelf"}}, `"v1"`},
			{Replacement{Takes: takes(t, "none.example"), Touched: []string{"shelf"}, Others: []string{"shelf"}}, ""},
		} {
			l.sleep(time.Second)
			l.StoresReplaced(test.by)
			if _, source, err := l.get(evicted[n]); source != Stale {
				t.Errorf("%s, %v", source, err)
			}
			l.sleep(time.Minute)
			if got := asked(evicted[n]).Validator.ETag; got != test.want {
				t.Errorf("asked with %q, want %q", got, test.want)
			}
		}
	})
}

// How many are asked at once follows, also for those that wait already.
func TestStoresReplacedFetches(t *testing.T) {
	run(t, func(o *Options) { o.Fetches = 1 }, func(t *testing.T, l *lab) {
		l.shelf.setDelay(time.Second)
		ended := make(chan error, 3)
		for _, name := range []string{"a.example", "b.example", "c.example"} {
			go func() {
				_, _, err := l.get(name)
				ended <- err
			}()
		}
		l.sleep(time.Millisecond)
		l.asked("", 1)
		l.StoresReplaced(Replacement{Fetches: 2})
		l.sleep(0)
		l.asked("", 2)
		l.StoresReplaced(Replacement{})
		l.sleep(0)
		l.asked("", 3)
		for range 3 {
			<-ended
		}
	})
}

func TestSetLookups(t *testing.T) {
	run(t, func(o *Options) { o.Lookups = Lookups{Rate: 1, Burst: 1} }, func(t *testing.T, l *lab) {
		l.refuses("a.example", store.ErrUnknown)
		l.refuses("b.example", ErrLimited)
		l.SetLookups(Lookups{})
		l.refuses("b.example", store.ErrUnknown)
		l.SetLookups(Lookups{Rate: 1, Burst: 3})
		l.sleep(10 * time.Second)
		for _, name := range []string{"d.example", "e.example", "f.example"} {
			l.refuses(name, store.ErrUnknown)
		}
		l.refuses("g.example", ErrLimited)
	})
}
