package pool

import (
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// waiter is somebody in the queue.
type waiter struct {
	*Ticket
	woken atomic.Int64
}

func enter(t testing.TB, p *Pool, tried ...*Server) *waiter {
	t.Helper()
	w := &waiter{}
	ticket, err := p.Enter(Key{}, tried, func() { w.woken.Add(1) })
	if err != nil {
		t.Fatal(err)
	}
	w.Ticket = ticket
	return w
}

// has says what the ticket has come to.
func (w *waiter) has(p *Pool) string {
	s, err := w.Server()
	switch {
	case err != nil:
		return err.Error()
	case s != nil:
		return string(letter(p, s))
	}
	return "waits"
}

// full returns a pool of n servers with a place each, all taken.
func full(t *testing.T, options Options, n int) *Pool {
	for range n {
		options.Servers = append(options.Servers, ServerOptions{Address: address(len(options.Servers)), Weight: 1, MaxConnections: 1})
	}
	p := start(t, options)
	for range n {
		pick(t, p, Key{})
	}
	return p
}

func TestQueueIsInOrder(t *testing.T) {
	p := full(t, Options{}, 2)
	first, second, third := enter(t, p), enter(t, p), enter(t, p)
	expect(t, "queued", p.Status().Queued, 3)
	expect(t, "first, before", first.has(p), "waits")
	at(p, 1).Release()
	expect(t, "first woken", first.woken.Load(), 1)
	expect(t, "second woken", second.woken.Load(), 0)
	expect(t, "first", first.has(p), "b")
	second.Leave()
	at(p, 0).Release()
	expect(t, "third", third.has(p), "a")
	expect(t, "second", second.has(p), "waits")
	expect(t, "queued", p.Status().Queued, 0)
	first.Leave()
	third.Leave()
	third.Leave()
	expect(t, "connections", p.Status().Servers[0].Connections, 1)
	_, err := p.Pick(Key{}, nil)
	expectError(t, err, ErrFull)
}

func TestQueueIsNotNeeded(t *testing.T) {
	p := start(t, Options{Servers: servers(1)})
	w := enter(t, p)
	expect(t, "at once", w.has(p), "a")
	w.Leave()
	expect(t, "connections", p.Status().Servers[0].Connections, 1)
}

func TestWhatWasGrantedAndNotTakenGoesToTheNext(t *testing.T) {
	p := full(t, Options{}, 1)
	first, second := enter(t, p), enter(t, p)
	at(p, 0).Release()
	expect(t, "first woken", first.woken.Load(), 1)
	first.Leave()
	expect(t, "second", second.has(p), "a")
	second.Leave()
	expect(t, "connections", p.Status().Servers[0].Connections, 1)
}

func TestQueueIsBounded(t *testing.T) {
	p := full(t, Options{Queue: Queue{Length: 2, Timeout: time.Minute}}, 1)
	w := enter(t, p)
	enter(t, p)
	_, err := p.Enter(Key{}, nil, nil)
	expectError(t, err, ErrQueueFull)
	expectError(t, err, ErrFull)
	w.Leave()
	last := enter(t, p)
	if left := time.Until(last.Deadline()); left < 59*time.Second || left > time.Minute {
		t.Errorf("the wait ends in %v, want a minute", left)
	}
	p = full(t, Options{Queue: Queue{Length: -1}}, 1)
	_, err = p.Enter(Key{}, nil, nil)
	expectError(t, err, ErrQueueFull)
}

func TestNobodyIsOvertaken(t *testing.T) {
	p := full(t, Options{}, 2)
	// The first can have the second server only, the others any.
	picky, second := enter(t, p, at(p, 0)), enter(t, p)
	at(p, 0).Release()
	expect(t, "second", second.has(p), "a")
	expect(t, "picky", picky.has(p), "waits")
	third := enter(t, p)
	at(p, 1).Release()
	expect(t, "picky", picky.has(p), "b")
	expect(t, "third", third.has(p), "waits")
}

func TestWaitersAreServedWhenThereIsMore(t *testing.T) {
	for name, more := range map[string]func(*testing.T, *Pool){
		"a server comes up":   func(_ *testing.T, p *Pool) { at(p, 1).SetHealth(true, "", 0) },
		"a server is enabled": func(_ *testing.T, p *Pool) { _ = p.SetAdmin(address(2), Enabled) },
		"a weight is set":     func(_ *testing.T, p *Pool) { _ = p.SetWeight(address(3), 1) },
		"a reload":            func(_ *testing.T, p *Pool) { _ = p.Update(Options{Servers: servers(1)}) },
		"checks are given up": func(_ *testing.T, p *Pool) { p.ForgetHealth() },
	} {
		options := servers(1, 1, 1, 0)
		options[0].MaxConnections = 1
		p := start(t, Options{Servers: options})
		at(p, 1).SetHealth(false, "refused", 0)
		_ = p.SetAdmin(address(2), Disabled)
		pick(t, p, Key{})
		w := enter(t, p)
		expect(t, name, w.has(p), "waits")
		more(t, p)
		if got := w.has(p); len(got) != 1 || w.woken.Load() != 1 {
			t.Errorf("%s: the one who waited was woken %d times and got %s", name, w.woken.Load(), got)
		}
	}
}

func TestWaitersHearThatThereIsNothingLeft(t *testing.T) {
	p := full(t, Options{}, 1)
	w := enter(t, p)
	at(p, 0).SetHealth(false, "refused", 0)
	expect(t, "woken", w.woken.Load(), 1)
	if got := w.has(p); !strings.Contains(got, ErrDown.Error()) {
		t.Errorf("the one who waited heard %q", got)
	}
	at(p, 0).Release()
	expect(t, "connections", p.Status().Servers[0].Connections, 0)
}

func TestKeysHoldInTheQueue(t *testing.T) {
	options := servers(1, 1, 1, 1)
	for i := range options {
		options[i].MaxConnections = 1
	}
	p := start(t, Options{Servers: options, Balance: SourceHash})
	key := Key{Client: netip.MustParseAddr("192.0.2.1")}
	wants := pick(t, p, key)
	for range 3 {
		pick(t, p, key)
	}
	w, err := p.Enter(key, nil, func() {})
	expectError(t, err, nil)
	p.mu.Lock()
	for _, s := range p.servers {
		s.connections = 0
	}
	p.grant()
	p.unlock()
	got, _ := w.Server()
	expect(t, "server", got, wants)
}
