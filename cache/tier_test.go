package cache

import (
	"context"
	"crypto/tls"
	"maps"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rs/zerolog"

	"hellogate/cache/disk"
	"hellogate/sni"
	"hellogate/store"
	"hellogate/store/certtest"
)

// memory is a Disk without a disk.
type memory struct {
	mu      sync.Mutex
	records map[string]disk.Record
	synced  int
	gets    int
}

func (m *memory) Get(_ context.Context, key string) (disk.Record, bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.gets++
	record, there := m.records[key]
	return record, there, nil
}

func (m *memory) Put(record disk.Record) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.records[record.Key] = record
}

func (m *memory) Delete(keys ...string) (all bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, key := range keys {
		delete(m.records, key)
	}
	return false
}

func (m *memory) DeleteAll() {
	m.mu.Lock()
	defer m.mu.Unlock()
	clear(m.records)
}

func (m *memory) Sync(context.Context) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.synced++
	return nil
}

func (m *memory) Tagged(_ context.Context, tag [32]byte) (keys []string, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for key, record := range m.records {
		if slices.Contains(record.Tags, tag) {
			keys = append(keys, key)
		}
	}
	return keys, nil
}

func (m *memory) Keys(_ context.Context, after string, most int) ([]string, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var keys []string
	for _, key := range slices.Sorted(maps.Keys(m.records)) {
		if key > after && len(keys) < most {
			keys = append(keys, key)
		}
	}
	return keys, nil
}

// reads is how often something was read.
func (m *memory) reads() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.gets
}

// keys are those that are on the disk.
func (m *memory) keys() []string {
	keys, _ := m.Keys(context.Background(), "", 1000)
	return keys
}

// has returns what is on the disk under a key.
func (m *memory) has(key string) (disk.Record, bool) {
	record, there, _ := m.Get(context.Background(), key)
	return record, there
}

// runDisk tests with a disk. restart ends the cache and begins another with the same disk.
func runDisk(t *testing.T, edit func(*Options), test func(t *testing.T, l *lab, m *memory, restart func())) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		m := &memory{records: make(map[string]disk.Record)}
		l := &lab{t: t, shelf: &shelf{}, ca: certtest.NewCA(t), log: &record{}}
		options := Options{Store: l.shelf, AliasRoots: l.ca.Pool(), Disk: m, Log: zerolog.New(l.log)}
		if edit != nil {
			edit(&options)
		}
		l.Cache = New(options)
		defer func() { l.Close() }()
		test(t, l, m, func() {
			l.Close()
			l.shelf = &shelf{}
			l.shelf.setAll(failing(errDown))
			if watcher, tells := options.Store.(crier); tells {
				options.Store = crier{l.shelf, watcher.news}
			} else {
				options.Store = l.shelf
			}
			l.Cache = New(options)
		})
	})
}

// What was cached is there after a restart, without a store: certificates of both classes, aliases, routing, pins.
func TestRestart(t *testing.T) {
	runDisk(t, func(o *Options) { o.Wildcards = true }, func(t *testing.T, l *lab, m *memory, restart func()) {
		a := l.ca.Issue(t, "a.example", "alias.example", "*.w.example")
		l.shelf.set("a.example", routes(store.Routing{Servers: []string{"10.0.0.1:1", "10.0.0.2:2"}}, a))
		l.routedTo("a.example", "10.0.0.1:1", "10.0.0.2:2")
		pinned := l.ca.Issue(t, "pinned.example")
		if err := l.Pin("pinned.example", []store.Pair{pinned.Pair}); err != nil {
			t.Fatal(err)
		}
		before, _ := l.Show("a.example")
		l.refuses("no.example", store.ErrUnknown)
		l.sleep(time.Hour)
		restart()
		l.serves("alias.example", a, Hit)
		restart()
		l.serves("b.w.example", a, Hit)
		restart()
		after, _ := l.Show("a.example")
		l.serves("a.example", a, Hit)
		l.serves("pinned.example", pinned, Pinned)
		l.routedTo("a.example", "10.0.0.1:1", "10.0.0.2:2")
		if !after.NotAfter.Equal(before.NotAfter) || after.RefetchAt.Sub(before.RefetchAt).Abs() > time.Second ||
			after.FetchedAt.Sub(before.FetchedAt).Abs() > time.Second || after.Source != "disk" {
			t.Errorf("before %+v\nafter  %+v", before, after)
		}
		if _, there := m.has("no.example"); there {
			t.Error("a no is on the disk")
		}
		l.asked("b.w.example", 0)
	})
}

func TestRestartOfBothClasses(t *testing.T) {
	runDisk(t, nil, func(t *testing.T, l *lab, m *memory, restart func()) {
		ecdsa, rsa := l.choosy("a.example")
		l.gets(modern, ecdsa, Miss)
		l.gets(legacy, rsa, Miss)
		restart()
		l.gets(legacy, rsa, Hit)
		l.gets(modern, ecdsa, Hit)
		restart()
		l.gets(modern, ecdsa, Hit)
		l.gets(legacy, rsa, Hit)
	})
}

// An alias does not take the place of what was fetched for its name, neither of what the disk alone has. One that was flushed
// does not come back.
func TestAliasesOnDisk(t *testing.T) {
	runDisk(t, nil, func(t *testing.T, l *lab, m *memory, restart func()) {
		shared, own := l.ca.Issue(t, "a.example", "own.example", "flushed.example", "alias.example"), l.ca.Issue(t, "own.example")
		l.shelf.set("own.example", gives(own))
		l.serves("own.example", own, Miss)
		record, _ := m.has("own.example")
		l.shelf.set("a.example", gives(shared))
		l.serves("a.example", shared, Miss)
		l.Flush("flushed.example")
		restart()
		l.serves("alias.example", shared, Hit)
		l.serves("own.example", own, Hit)
		l.refuses("flushed.example", errDown)
		restart()
		l.serves("own.example", own, Hit)

		// As it is for what the store has for another name while the disk has not been read.
		m.DeleteAll()
		restart()
		m.Put(record)
		l.shelf.setAll(nil)
		l.shelf.set("a.example", gives(shared))
		l.serves("a.example", shared, Miss)
		if record, _ := m.has("own.example"); ownerIn(record) != "" {
			t.Error("the disk has an alias in place of what was fetched for own.example")
		}
		l.serves("own.example", own, Hit)
	})
}

// What nobody asks for is taken into memory too, and asked for again when it is time; with the validator it had.
func TestWarmUp(t *testing.T) {
	runDisk(t, nil, func(t *testing.T, l *lab, m *memory, restart func()) {
		issued := l.ca.Issue(t, "a.example")
		l.shelf.set("a.example", func(store.Request) (*store.Bundle, error) {
			return &store.Bundle{Store: "shelf", Pairs: []store.Pair{issued.Pair}, Validator: store.Validator{ETag: `"1"`}}, nil
		})
		l.serves("a.example", issued, Miss)
		restart()
		l.sleep(time.Second)
		if stats := l.Stats(); stats.Entries != 1 || stats.Loaded != 1 {
			t.Fatalf("%+v", stats)
		}
		l.shelf.setAll(func(request store.Request) (*store.Bundle, error) {
			return &store.Bundle{Store: "shelf", NotModified: true, Validator: request.Validator}, nil
		})
		l.sleep(84 * 24 * time.Hour)
		if l.shelf.count("a.example") == 0 || l.shelf.last().Validator.ETag != `"1"` || l.shelf.last().From != "shelf" {
			t.Fatalf("asked: %+v", l.shelf.asked)
		}
	})
}

// A name that its store denied before the restart is dropped when it goes on to.
func TestWithdrawnSurvivesARestart(t *testing.T) {
	runDisk(t, func(o *Options) { o.TTL, o.MinTTL = time.Minute, time.Minute }, func(t *testing.T, l *lab, m *memory, restart func()) {
		issued := l.stock("a.example")
		l.serves("a.example", issued, Miss)
		l.shelf.set("a.example", unknown)
		l.sleep(2 * time.Minute)
		restart()
		l.shelf.setAll(unknown)
		l.serves("a.example", issued, Stale)
		if info, _ := l.Show("a.example"); !info.Withdrawn {
			t.Fatal("not withdrawn any more")
		}
		l.sleep(20 * time.Minute)
		l.refuses("a.example", store.ErrUnknown)
		restart()
		l.refuses("a.example", errDown)
	})
}

// What a flush takes does not come back, whether it was in memory or not.
func TestFlushTakesWhatIsOnDisk(t *testing.T) {
	pattern, _ := sni.ParsePattern("*.example")
	for kind, flush := range map[string]func(l *lab, of certtest.Issued) (flushed, pinned []string){
		"name":    func(l *lab, _ certtest.Issued) (flushed, pinned []string) { return l.Flush("a.example") },
		"pattern": func(l *lab, _ certtest.Issued) (flushed, pinned []string) { return l.FlushPattern(pattern) },
		"fingerprint": func(l *lab, of certtest.Issued) (flushed, pinned []string) {
			return l.FlushFingerprint(fingerprintOf(of))
		},
		"all": func(l *lab, _ certtest.Issued) (flushed, pinned []string) { return l.FlushAll() },
	} {
		for _, inMemory := range []bool{true, false} {
			t.Run(kind+map[bool]string{true: " in memory", false: " on disk alone"}[inMemory], func(t *testing.T) {
				runDisk(t, nil, func(t *testing.T, l *lab, m *memory, restart func()) {
					issued := l.stock("a.example")
					l.serves("a.example", issued, Miss)
					other := l.ca.Issue(t, "pinned.example")
					if err := l.Pin("pinned.example", []store.Pair{other.Pair}); err != nil {
						t.Fatal(err)
					}
					restart()
					if inMemory {
						l.sleep(time.Second)
					}
					before := m.synced
					if flushed, _ := flush(l, issued); !slices.Equal(flushed, []string{"a.example"}) {
						t.Fatalf("flushed %q", flushed)
					}
					if keys := m.keys(); !slices.Equal(keys, []string{"pinned.example"}) || m.synced == before {
						t.Fatalf("on disk: %q, synced %d times", keys, m.synced-before)
					}
					restart()
					l.refuses("a.example", errDown)
					l.serves("pinned.example", other, Pinned)
				})
			})
		}
	}
}

// What does not fit into memory is on disk, and no store is asked for it again.
func TestEvictedIsOnDisk(t *testing.T) {
	runDisk(t, func(o *Options) { o.Size = 400 << 10 }, func(t *testing.T, l *lab, m *memory, restart func()) {
		const count = 500
		for i := range count {
			l.stock(nameOf(i))
			l.get(nameOf(i))
		}
		if l.Stats().Evictions == 0 {
			t.Fatal("all of it fits")
		}
		for i := range count {
			if _, source, err := l.get(nameOf(i)); err != nil || source != Hit {
				t.Fatalf("%s: %s, %v", nameOf(i), source, err)
			}
		}
		l.asked("", count)
	})
}

// An expired certificate is not served from the disk either.
func TestExpiredOnDisk(t *testing.T) {
	runDisk(t, nil, func(t *testing.T, l *lab, m *memory, restart func()) {
		issued := l.ca.IssueWith(t, certtest.Options{Names: []string{"a.example"}, NotAfter: time.Now().Add(time.Hour)})
		l.shelf.set("a.example", gives(issued))
		l.serves("a.example", issued, Miss)
		l.Close()
		time.Sleep(2 * time.Hour)
		restart()
		l.refuses("a.example", errDown)
		if keys := m.keys(); len(keys) != 0 {
			t.Fatalf("left on disk: %q", keys)
		}
	})
}

// A store that can tell of changes may have changed while nobody listened: what came from it is looked at when it is used.
func TestDiskIsDoubtedAfterAll(t *testing.T) {
	news := make(chan store.Change)
	runDisk(t, func(o *Options) {
		news = make(chan store.Change)
		o.Store = crier{o.Store.(*shelf), news}
	}, func(t *testing.T, l *lab, m *memory, restart func()) {
		first := l.stock("a.example")
		l.serves("a.example", first, Miss)
		restart()
		l.shelf.setAll(nil)
		second := l.stock("a.example")
		news <- store.Change{All: true}
		synctest.Wait()
		l.serves("a.example", first, Stale)
		l.sleep(time.Millisecond)
		l.serves("a.example", second, Hit)
	})
}

func FuzzDecodeRecord(f *testing.F) {
	f.Add([]byte{recordVersion, recordAlias, 1, 'a'}, []byte{})
	f.Add([]byte{recordVersion, recordCertificate}, []byte("x"))
	ca := certtest.NewCA(f)
	c := New(Options{AliasRoots: ca.Pool(), Store: &shelf{}})
	defer c.Close()
	if err := c.Pin("a.example", []store.Pair{ca.Issue(f, "a.example").Pair}); err != nil {
		f.Fatal(err)
	}
	found, _ := c.index.find("a.example")
	whole := c.record(found)
	f.Add(whole.Value, whole.Shared[0])
	f.Fuzz(func(t *testing.T, value, shared []byte) {
		got, err := decodeRecord(disk.Record{Key: "a.example", Value: value, Shared: [][]byte{shared}})
		if err == nil && got.owner == "" && len(got.pairs) == 0 {
			t.Fatal("a record of nothing")
		}
		if err == nil {
			c.heldOf(got, c.clock.now())
		}
	})
}

// Taking a certificate and its aliases from the disk writes nothing.
func TestLoadWritesNothing(t *testing.T) {
	runWatched(t, nil, func(t *testing.T, l *lab, w *watched) {
		names := []string{"a.example"}
		for i := range 20 {
			names = append(names, nameOf(i))
		}
		issued := l.ca.Issue(t, names...)
		l.shelf.set("a.example", gives(issued))
		l.serves("a.example", issued, Miss)
		l.crowdOut("a.example")
		l.shelf.setAll(failing(errDown))
		w.set(func(what, key string) {
			if what != "get" {
				t.Errorf("%s of %q", what, key)
			}
		})
		l.serves(nameOf(7), issued, Hit)
		if aliases := l.Stats().Aliases; aliases != 20 {
			t.Errorf("%d aliases came back", aliases)
		}
		w.set(nil)
	})
}

// Records that can't be read are erased, however many there are, and a line of the log says so once a minute.
func TestUnreadableRecords(t *testing.T) {
	runDisk(t, nil, func(t *testing.T, l *lab, m *memory, restart func()) {
		put := func(from, to int) {
			for i := from; i < to; i++ {
				m.Put(disk.Record{Key: nameOf(i), Value: []byte{recordVersion + 1, 1}})
			}
		}
		l.sleep(time.Second)
		put(0, 500)
		restart()
		l.sleep(50 * time.Second)
		if keys := m.keys(); len(keys) != 0 {
			t.Errorf("left on disk: %d", len(keys))
		}
		l.logged(1, "can't be read")
		l.sleep(20 * time.Second)
		put(500, 510)
		for i := 500; i < 510; i++ {
			l.refuses(nameOf(i), errDown)
		}
		l.logged(2, "can't be read")
	})
}

// What two entries share is not changed when one of them comes back from the disk. Run with -race.
func TestSharedPairIsNotChangedByALoad(t *testing.T) {
	runDisk(t, nil, func(t *testing.T, l *lab, _ *memory, _ func()) {
		l.sleep(time.Second)
		rsa := l.rsa("a.example")
		l.shelf.set("a.example", func(store.Request) (*store.Bundle, error) {
			return &store.Bundle{Store: "shelf", Partial: true, Pairs: []store.Pair{rsa.Pair}}, nil
		})
		for _, hello := range []*tls.ClientHelloInfo{legacy, modern} {
			l.gets(hello, rsa, Miss)
		}
		if stats := l.Stats(); stats.Entries != 2 || stats.Pairs != 1 {
			t.Fatalf("%+v", stats)
		}
		done := make(chan struct{})
		var readers sync.WaitGroup
		readers.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
				}
				for range l.All() {
				}
			}
		})
		for range 100 {
			l.crowdOut("a.example")
			l.loadKey("a.example")
		}
		close(done)
		readers.Wait()
	})
}
