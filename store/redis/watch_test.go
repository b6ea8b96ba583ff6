package redis

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"hellogate/store"
	"hellogate/store/certtest"
)

// watched holds what a store told.
type watched struct {
	mu      sync.Mutex
	changes []store.Change
	calls   int // at once
	seen    int // those that were waited for
}

// watch has r watched until the test ends, or cancel is called, and then waits for Watch.
func watch(t testing.TB, r *Redis) (w *watched, cancel func()) {
	t.Helper()
	w = &watched{}
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		r.Watch(ctx, func(change store.Change) { w.add(t, change) })
	}()
	cancel = func() {
		stop()
		select {
		case <-ended:
		case <-time.After(5 * time.Second):
			t.Error("Watch did not end within 5 s")
		}
	}
	t.Cleanup(cancel)
	return w, cancel
}

func (w *watched) add(t testing.TB, change store.Change) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.calls++; w.calls == 1 && !change.All {
		t.Errorf("the first change is %v, want all", change)
	}
	if change.All && change.Lost || len(change.Names) > 0 == (change.All || change.Lost) {
		t.Errorf("change %v is more or less than one of the three", change)
	}
	w.changes = append(w.changes, change)
}

// next waits for a change such as is, behind those that were waited for before.
func (w *watched) next(t testing.TB, what string, is func(store.Change) bool) {
	t.Helper()
	until(t, what, func() bool {
		w.mu.Lock()
		defer w.mu.Unlock()
		at := slices.IndexFunc(w.changes[w.seen:], is)
		if at >= 0 {
			w.seen += at + 1
		}
		return at >= 0
	})
}

// then waits for one change more, which is to be such as is.
func (w *watched) then(t testing.TB, what string, is func(store.Change) bool) {
	t.Helper()
	w.next(t, what, func(c store.Change) bool {
		if !is(c) {
			t.Errorf("told %v, want %s", c, what)
		}
		return true
	})
}

// rest returns what was told since, as text.
func (w *watched) rest() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	var texts []string
	for _, change := range w.changes[w.seen:] {
		texts = append(texts, fmt.Sprint(change))
	}
	w.seen = len(w.changes)
	return texts
}

func isAll(c store.Change) bool  { return c.All }
func isLost(c store.Change) bool { return c.Lost }

// covers is for a change that concerns name.
func covers(name string) func(store.Change) bool {
	return func(c store.Change) bool {
		for _, pattern := range c.Names {
			if pattern.Match(name) {
				return true
			}
		}
		return false
	}
}

func TestWatchNamesNeverRead(t *testing.T) {
	t.Parallel()
	s := start(t)
	tests := []struct {
		name, layout string
		command      []string
		want         string
	}{
		{"prime1", Prime1, []string{"HSET", "d1:a.example", "c", "1"}, "a.example"},
		{"prime2", Prime2, []string{"HSET", "d2:b.example", "f", "1"}, "b.example"},
		{"prime2 removed", Prime2, []string{"DEL", "d2:b.example"}, "b.example"},
		{"prime2 expires", Prime2, []string{"PEXPIRE", "d2:e.example", "50"}, "e.example"},
		{"json", JSON, []string{"SET", "hellogate:c.example", "1"}, "c.example"},
		{"json wildcard", JSON, []string{"SET", "hellogate:*.d.example", "1"}, "any.d.example"},
		{"json by transaction", JSON, []string{"MSET", "hellogate:one.example", "1", "hellogate:two.example", "1"}, "two.example"},
	}
	s.do(t, "HSET", "d2:e.example", "f", "1")
	stores := map[string]*watched{}
	for _, layout := range []string{Prime1, Prime2, JSON} {
		stores[layout], _ = watch(t, newStore(t, s.at(layout)))
		stores[layout].next(t, "all at first", isAll)
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			s.do(t, test.command...)
			stores[test.layout].next(t, "a change of "+test.want, covers(test.want))
		})
	}
	t.Run("keys of no name", func(t *testing.T) {
		for _, w := range stores {
			w.rest()
		}
		for _, key := range []string{"d2:", "d2:A.example", "d2:*.a.example", "d2:*", "d2:.a.example", "d2:a b", "d3:a.example", "hellogate:*", "hellogate:.a.example"} {
			s.do(t, "SET", key, "1")
		}
		s.do(t, "SET", "d2:last.example", "1")
		stores[Prime2].next(t, "a change of the last", func(c store.Change) bool {
			if covers("e.example")(c) { // which expires in its own time
				return false
			}
			if !covers("last.example")(c) || len(c.Names) != 1 {
				t.Errorf("change %v, want one of last.example alone", c)
			}
			return covers("last.example")(c)
		})
		if rest := append(stores[JSON].rest(), stores[Prime1].rest()...); len(rest) > 0 {
			t.Errorf("told %v", rest)
		}
	})
	t.Run("flush", func(t *testing.T) {
		for _, command := range []string{"FLUSHALL", "FLUSHDB"} {
			s.do(t, command)
			for layout, w := range stores {
				w.next(t, layout+": all after "+command, isAll)
			}
		}
	})
}

func TestWatchManyKeys(t *testing.T) {
	t.Parallel()
	s := start(t)
	w, _ := watch(t, newStore(t, s.at(JSON)))
	w.next(t, "all at first", isAll)
	words := []string{"MSET"}
	for i := range maxPending + 1 {
		words = append(words, fmt.Sprintf("hellogate:n%d.example", i), "1")
	}
	s.do(t, words...)
	w.next(t, "all for more than can be kept", isAll)
}

func TestWatchIDs(t *testing.T) {
	t.Parallel()
	s := start(t)
	one := certtest.NewCA(t).Issue(t, "a.example")
	leaf, above := split(one.Chain)
	prime := func() {
		s.do(t, "SET", "c:1", leaf)
		s.do(t, "SET", "p:1", string(one.Key))
		s.do(t, "SET", "i:1", above)
	}
	prime()
	s.do(t, "HSET", "d1:a.example", "c", "1", "p", "1", "i", "1")
	r := newStore(t, s.at(Prime1))
	if _, err := fetch(t, r, "a.example"); err != nil {
		t.Fatal(err)
	}
	w, _ := watch(t, r)
	w.next(t, "all at first", isAll)

	// The same again concerns nobody. The name behind it shows that it was seen.
	prime()
	s.do(t, "HSET", "d1:mark.example", "c", "1")
	w.next(t, "the mark", func(c store.Change) bool {
		if c.All || covers("a.example")(c) {
			t.Errorf("told %v of what did not change", c)
		}
		return covers("mark.example")(c)
	})

	// Within a second of all, the names are told at once, and all when the second is over.
	s.do(t, "FLUSHALL")
	w.next(t, "all after FLUSHALL", isAll)
	s.do(t, "SET", "c:1", "another")
	w.next(t, "the name that was read", covers("a.example"))
	w.next(t, "all for those that were not", isAll)

	// An id that was never read may be that of a name which another process read. However many, it is told once a second.
	time.Sleep(allEvery)
	w.rest()
	begun := time.Now()
	for i := range 50 {
		s.do(t, "SET", fmt.Sprintf("p:never%d", i), "1")
		time.Sleep(10 * time.Millisecond)
	}
	w.next(t, "all for an unknown id", isAll)
	time.Sleep(allEvery + 200*time.Millisecond)
	most := int(time.Since(begun)/allEvery) + 1
	if rest := w.rest(); len(rest)+1 > most {
		t.Errorf("told %d times within %s: %v", len(rest)+1, time.Since(begun), rest)
	}
}

func TestWatchAcrossRestart(t *testing.T) {
	t.Parallel()
	s := start(t)
	s.kill(t)
	var log syncBuffer
	options := s.at(Prime2)
	options.Log = zerolog.New(&log)
	r := newStore(t, options)
	w, _ := watch(t, r)
	until(t, "a warning", func() bool { return strings.Contains(log.String(), "can't be seen") })
	if rest := w.rest(); len(rest) > 0 {
		t.Errorf("told %v before it was connected", rest)
	}
	if problem := r.WatchProblem(); problem == nil || !strings.Contains(problem.Error(), "refused") {
		t.Errorf("while it is away: %v", problem)
	}
	s.restart(t)
	w.next(t, "all once it is there", isAll)
	if problem := r.WatchProblem(); problem != nil {
		t.Errorf("once it is there: %v", problem)
	}
	for range 2 {
		s.kill(t)
		w.then(t, "lost", isLost)
		s.restart(t)
		w.then(t, "all when it is back", isAll)
		s.do(t, "HSET", "d2:a.example", "f", "1")
		w.then(t, "a change", covers("a.example"))
	}
	s.do(t, "CLIENT", "KILL", "TYPE", "normal")
	w.then(t, "lost", isLost)
	w.then(t, "all when it is back", isAll)
}

func TestWatchHang(t *testing.T) {
	t.Parallel()
	s := start(t)
	r := newStore(t, s.at(Prime2))
	w, _ := watch(t, r)
	w.next(t, "all at first", isAll)
	s.signal(t, syscall.SIGSTOP)
	begun := time.Now()
	w.then(t, "lost", isLost)
	if took := time.Since(begun); took > 6*time.Second {
		t.Errorf("found after %s", took)
	}
	s.signal(t, syscall.SIGCONT)
	w.then(t, "all when it goes on", isAll)
}

func TestWatchEnds(t *testing.T) {
	t.Parallel()
	s := start(t)
	t.Run("connected", func(t *testing.T) {
		w, cancel := watch(t, newStore(t, s.at(Prime2)))
		w.next(t, "all at first", isAll)
		cancel()
		if rest := w.rest(); len(rest) > 0 {
			t.Errorf("told %v when it was ended", rest)
		}
	})
	t.Run("hung", func(t *testing.T) {
		w, cancel := watch(t, newStore(t, s.at(Prime2)))
		w.next(t, "all at first", isAll)
		s.signal(t, syscall.SIGSTOP)
		defer s.signal(t, syscall.SIGCONT)
		cancel()
	})
}

func TestSentinel(t *testing.T) {
	t.Parallel()
	// The sentinel knows no such user, and is asked without.
	user := []string{"--user", "gate", "on", ">hunter2", "~*", "&*", "+@all"}
	master := start(t, append(user, "--repl-diskless-sync-delay", "0")...)
	replica := start(t, append(user, "--replicaof", "127.0.0.1", master.port())...)
	until(t, "the replica is in step", func() bool {
		return strings.Contains(replica.do(t, "INFO", "replication"), "master_link_status:up")
	})
	sentinel := startFile(t, fmt.Sprintf("sentinel monitor mine 127.0.0.1 %s 1\nsentinel down-after-milliseconds mine 300\n"+
		"sentinel failover-timeout mine 2000\n", master.port()), "--sentinel")
	until(t, "the sentinel knows the replica", func() bool {
		return strings.Contains(sentinel.do(t, "SENTINEL", "REPLICAS", "mine"), replica.port())
	})
	r := newStore(t, Options{Addresses: []string{"127.0.0.1:1", sentinel.address}, SentinelMaster: "mine", Layout: JSON, Username: "gate", Password: "hunter2"})
	w, _ := watch(t, r)
	w.next(t, "all at first", isAll)
	one := certtest.NewCA(t).Issue(t, "a.example")
	put := func() error { return r.Put(context.Background(), "a.example", []store.Pair{one.Pair}) }
	if err := put(); err != nil {
		t.Fatal(err)
	}
	w.next(t, "a change", covers("a.example"))
	until(t, "it is replicated", func() bool { return replica.do(t, "EXISTS", "hellogate:a.example") == "1" })

	master.kill(t)
	w.then(t, "lost", isLost)
	w.then(t, "all at the new master", isAll)
	until(t, "a fetch from the new master", func() bool {
		_, err := fetch(t, r, "a.example")
		return err == nil
	})
	until(t, "a put to the new master", func() bool { return put() == nil })
	w.next(t, "a change at the new master", covers("a.example"))

	stranger := newStore(t, Options{Addresses: []string{sentinel.address}, SentinelMaster: "other", Layout: JSON})
	if _, err := fetch(t, stranger, "a.example"); err == nil || !strings.Contains(err.Error(), `no master "other"`) {
		t.Errorf("error %v for a master that the sentinel does not know", err)
	}
}

// TestOtherMaster has a sentinel name another master while the old one goes on, and breaks no connection.
func TestOtherMaster(t *testing.T) {
	t.Parallel()
	first, second := start(t), start(t)
	var named atomic.Pointer[server]
	named.Store(first)
	sentinel := pretend(t, func(conn net.Conn, words []string) bool {
		port := named.Load().port()
		return says(fmt.Sprintf("*2\r\n$9\r\n127.0.0.1\r\n$%d\r\n%s\r\n", len(port), port))(conn, words)
	})
	r := newStore(t, Options{Addresses: []string{sentinel.address}, SentinelMaster: "m", Layout: JSON})
	w, _ := watch(t, r)
	w.next(t, "all at first", isAll)
	one := certtest.NewCA(t).Issue(t, "a.example")
	second.do(t, "SET", "hellogate:a.example", string(one.JSON()))
	if _, err := fetch(t, r, "a.example"); !errors.Is(err, store.ErrUnknown) {
		t.Fatalf("error %v from the first", err)
	}
	named.Store(second)
	w.then(t, "lost", isLost)
	w.then(t, "all at the other master", isAll)
	if _, err := fetch(t, r, "a.example"); err != nil {
		t.Errorf("error %v from the second", err)
	}
	second.do(t, "SET", "hellogate:b.example", "1")
	w.then(t, "a change at the other master", covers("b.example"))
}

// startCluster starts a cluster of three masters and no replicas.
func startCluster(t *testing.T) []*server {
	t.Helper()
	nodes := make([]*server, 3)
	buses := make([]string, 3)
	for i := range nodes {
		buses[i] = freePort(t)
		nodes[i] = startFile(t, "cluster-enabled yes\ncluster-node-timeout 2000\nsave \"\"\ncluster-port "+buses[i]+
			"\ncluster-require-full-coverage no\n")
		first := i * slots / 3
		nodes[i].do(t, "CLUSTER", "ADDSLOTSRANGE", fmt.Sprint(first), fmt.Sprint((i+1)*slots/3-1))
		nodes[i].do(t, "CLUSTER", "SET-CONFIG-EPOCH", fmt.Sprint(i+1))
	}
	for _, node := range nodes[1:] {
		node.do(t, "CLUSTER", "MEET", "127.0.0.1", nodes[0].port(), buses[0])
	}
	until(t, "the cluster is formed", func() bool {
		for _, node := range nodes {
			info := node.do(t, "CLUSTER", "INFO")
			if !strings.Contains(info, "cluster_state:ok") || !strings.Contains(info, "cluster_slots_ok:16384") {
				return false
			}
		}
		return true
	})
	return nodes
}

func TestCluster(t *testing.T) {
	t.Parallel()
	nodes := startCluster(t)
	one := certtest.NewCA(t).Issue(t, "a.example")
	prime1 := newStore(t, Options{Addresses: []string{"127.0.0.1:1", nodes[0].address}, Cluster: true, Layout: Prime1})
	prime2 := newStore(t, Options{URL: "redis://" + nodes[1].address, Cluster: true, Layout: Prime2})
	watching, _ := watch(t, prime2)
	watching.next(t, "all at first", isAll)
	for _, name := range []string{"a.example", "b.example", "c.example", "d.example", "e.example", "f.example"} {
		for _, r := range []*Redis{prime1, prime2} {
			if err := r.Put(context.Background(), name, []store.Pair{one.Pair}); err != nil {
				t.Fatal(err)
			}
			if _, err := fetch(t, r, name); err != nil {
				t.Fatal(err)
			}
		}
		watching.next(t, "a change of "+name, covers(name))
	}

	t.Run("a slot moves", func(t *testing.T) { moveSlot(t, nodes, prime2) })

	t.Run("a node goes", func(t *testing.T) {
		watching.rest()
		nodes[2].kill(t)
		watching.then(t, "lost", isLost)
		for i := range 100 {
			name := fmt.Sprintf("n%d.example", i)
			_, err := fetch(t, prime2, name)
			var failure *store.Failure
			gone := int(slot("d2:"+name))*3/slots == 2
			if gone && (!errors.As(err, &failure) || failure.Unreachable || failure.Exempt) || !gone && !errors.Is(err, store.ErrUnknown) {
				t.Fatalf("%s: error %v, its node is gone %v", name, err, gone)
			}
		}
		nodes[2].restart(t)
		watching.then(t, "all when it is back", isAll)
	})
}

// moveSlot moves the slot of a name that is there from one node to another, and asks all the way.
func moveSlot(t *testing.T, nodes []*server, r *Redis) {
	key := "d2:a.example"
	number := int(slot(key))
	from, to := nodes[number*3/slots], nodes[(number*3/slots+1)%3]
	text := fmt.Sprint(number)
	fromID, toID := from.do(t, "CLUSTER", "MYID"), to.do(t, "CLUSTER", "MYID")
	to.do(t, "CLUSTER", "SETSLOT", text, "IMPORTING", fromID)
	from.do(t, "CLUSTER", "SETSLOT", text, "MIGRATING", toID)
	from.do(t, "MIGRATE", "127.0.0.1", to.port(), key, "0", "5000")
	if _, err := fetch(t, r, "a.example"); err != nil {
		t.Errorf("while the slot moves: %v", err)
	}
	to.do(t, "CLUSTER", "SETSLOT", text, "NODE", toID)
	from.do(t, "CLUSTER", "SETSLOT", text, "NODE", toID)
	if _, err := fetch(t, r, "a.example"); err != nil {
		t.Errorf("when the slot has moved: %v", err)
	}
}

func freePort(t testing.TB) string {
	t.Helper()
	address := freeAddress(t)
	return address[strings.LastIndex(address, ":")+1:]
}

// syncBuffer is a log that is read while it is written.
type syncBuffer struct {
	mu     sync.Mutex
	buffer bytes.Buffer
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buffer.Write(p)
}

func (b *syncBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buffer.String()
}
