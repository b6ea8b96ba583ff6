package limit

import (
	"math/rand/v2"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// waiter is who waits for one ticket.
type waiter struct {
	Ticket
	name  string
	woken chan struct{}
}

func newWaiter(name string) *waiter { return &waiter{name: name, woken: make(chan struct{}, 1)} }

func (w *waiter) Wake() { w.woken <- struct{}{} }

func (w *waiter) enter(g *Gate, client string) State { return g.Enter(&w.Ticket, addr(client), w) }

// wantWoken fails unless the waiter was woken and its ticket is in the state.
func (w *waiter) wantWoken(t *testing.T, want State) {
	t.Helper()
	select {
	case <-w.woken:
	default:
		t.Fatalf("%s was not woken", w.name)
	}
	if w.State() != want {
		t.Fatalf("%s: state %v, not %v", w.name, w.State(), want)
	}
}

// Those that wait are let in one of each client in turn.
func TestTurns(t *testing.T) {
	tests := []struct {
		name         string
		waiting      []string // clients in the order they come
		order        []int    // in which they are let in
		leavingEarly []int
	}{
		{"one client", []string{"192.0.2.1", "192.0.2.1", "192.0.2.1"}, []int{0, 1, 2}, nil},
		{"a crowd and one", []string{"192.0.2.1", "192.0.2.1", "192.0.2.1", "192.0.2.2"}, []int{0, 3, 1, 2}, nil},
		{"two and two", []string{"192.0.2.1", "192.0.2.1", "192.0.2.2", "192.0.2.2"}, []int{0, 2, 1, 3}, nil},
		{"a crowd in one /64", []string{"2001:db8::1", "2001:db8::2", "2001:db8::3", "2001:db8:1::1"}, []int{0, 3, 1, 2}, nil},
		{"one gave up", []string{"192.0.2.1", "192.0.2.1", "192.0.2.2"}, []int{1, 2}, []int{0}},
		{"a client gave up", []string{"192.0.2.1", "192.0.2.2", "192.0.2.3"}, []int{0, 2}, []int{1}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			g := NewGate(1, 10)
			inside := newWaiter("inside")
			if got := inside.enter(g, "192.0.2.9"); got != Granted {
				t.Fatal(got)
			}
			var waiters []*waiter
			for _, client := range test.waiting {
				w := newWaiter(client)
				if got := w.enter(g, client); got != Waiting {
					t.Fatalf("%s: %v", client, got)
				}
				waiters = append(waiters, w)
			}
			for _, i := range test.leavingEarly {
				g.Leave(&waiters[i].Ticket)
			}
			for _, i := range test.order {
				g.Leave(&inside.Ticket)
				inside = waiters[i]
				inside.wantWoken(t, Granted)
			}
			if g.Open() != 1 || g.Waiting() != 0 {
				t.Errorf("%d inside, %d wait", g.Open(), g.Waiting())
			}
		})
	}
}

// A full queue is shared among clients.
func TestFullQueue(t *testing.T) {
	g := NewGate(1, 4)
	newWaiter("inside").enter(g, "192.0.2.9")
	var crowd []*waiter
	for i := range 5 {
		w := newWaiter("crowd")
		want := Waiting
		if i == 4 {
			want = Refused
		}
		if got := w.enter(g, "192.0.2.1"); got != want {
			t.Fatalf("number %d of the crowd: %v", i, got)
		}
		crowd = append(crowd, w)
	}
	second, third := newWaiter("second"), newWaiter("third")
	if got := second.enter(g, "192.0.2.2"); got != Waiting {
		t.Fatalf("another client: %v", got)
	}
	crowd[3].wantWoken(t, Refused)
	if got := third.enter(g, "192.0.2.2"); got != Waiting {
		t.Fatalf("its second: %v", got)
	}
	crowd[2].wantWoken(t, Refused)
	if got := newWaiter("fourth").enter(g, "192.0.2.2"); got != Refused {
		t.Errorf("one more than its share: %v", got)
	}
	if g.Waiting() != 4 {
		t.Errorf("%d wait", g.Waiting())
	}
	for _, w := range crowd {
		g.Leave(&w.Ticket) // whatever its state
	}
	if g.Waiting() != 2 || g.Open() != 1 {
		t.Errorf("%d wait, %d inside", g.Waiting(), g.Open())
	}
}

// A ticket leaves once, whatever it is.
func TestLeave(t *testing.T) {
	g := NewGate(2, 0)
	var never, left Ticket
	g.Leave(&never)
	g.Enter(&left, netip.Addr{}, nil)
	for range 3 {
		g.Leave(&left)
	}
	if g.Open() != 0 || left.State() != Out {
		t.Errorf("%d inside, state %v", g.Open(), left.State())
	}
}

// New numbers let in who waits, and throw nobody out.
func TestResize(t *testing.T) {
	g := NewGate(1, 2)
	inside, first, second := newWaiter("inside"), newWaiter("first"), newWaiter("second")
	inside.enter(g, "192.0.2.1")
	first.enter(g, "192.0.2.2")
	second.enter(g, "192.0.2.3")
	g.Resize(3, 0)
	first.wantWoken(t, Granted)
	second.wantWoken(t, Granted)
	g.Resize(1, 1)
	last := newWaiter("last")
	if got := last.enter(g, "192.0.2.4"); got != Waiting {
		t.Fatal(got)
	}
	g.Leave(&inside.Ticket)
	g.Leave(&first.Ticket)
	if last.State() != Waiting {
		t.Error("let in above the limit")
	}
	g.Leave(&second.Ticket)
	last.wantWoken(t, Granted)
}

// Entering and leaving an open gate allocates nothing.
func TestGateAllocates(t *testing.T) {
	g, w, client := NewGate(1, 1), newWaiter("only"), addr("192.0.2.1")
	if n := testing.AllocsPerRun(100, func() {
		g.Enter(&w.Ticket, client, w)
		g.Leave(&w.Ticket)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// Many at once, some of whom give up: never more than the slots are inside, and nobody is forgotten.
func TestGateAtOnce(t *testing.T) {
	const slots = 3
	g := NewGate(slots, 20)
	var inside, passed, refused atomic.Int64
	var group sync.WaitGroup
	for i := range 32 {
		random := rand.New(rand.NewPCG(1, uint64(i)))
		client := netip.AddrFrom4([4]byte{192, 0, 2, byte(i % 8)})
		group.Go(func() {
			for range 300 {
				w := newWaiter("one of many")
				state := g.Enter(&w.Ticket, client, w)
				if state == Waiting && random.IntN(4) > 0 {
					select {
					case <-w.woken:
						state = w.State()
					case <-time.After(10 * time.Second):
						t.Error("never woken")
					}
				}
				switch state {
				case Granted:
					if n := inside.Add(1); n > slots {
						t.Errorf("%d inside", n)
					}
					time.Sleep(time.Duration(random.IntN(20)) * time.Microsecond)
					inside.Add(-1)
					passed.Add(1)
				case Refused:
					refused.Add(1)
				}
				g.Leave(&w.Ticket)
			}
		})
	}
	group.Wait()
	if g.Open() != 0 || g.Waiting() != 0 || passed.Load() == 0 || refused.Load() == 0 {
		t.Errorf("%d inside, %d wait, %d passed, %d refused", g.Open(), g.Waiting(), passed.Load(), refused.Load())
	}
}

// The queue agrees with one that looks at everything.
func TestQueueModel(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	q := newQueue()
	var turns []uint64                // clients, the next first
	waiting := map[uint64][]*Ticket{} // of each, in order
	drop := func(client uint64, ticket *Ticket) {
		waiting[client] = slices.DeleteFunc(waiting[client], func(o *Ticket) bool { return o == ticket })
		if len(waiting[client]) == 0 {
			turns = slices.DeleteFunc(turns, func(c uint64) bool { return c == client })
		}
	}
	for step := range 20_000 {
		client := random.Uint64N(6)
		switch action := random.IntN(20); {
		case action < 10:
			ticket := new(Ticket)
			if len(waiting[client]) == 0 {
				turns = append(turns, client)
			}
			waiting[client] = append(waiting[client], ticket)
			q.push(ticket, client)
		case action < 14 && len(turns) > 0:
			next := turns[0]
			want := waiting[next][0]
			turns = append(turns[1:], next)
			drop(next, want)
			if q.pop() != want {
				t.Fatalf("step %d: another's turn", step)
			}
		case action < 19 && len(waiting[client]) > 0:
			ticket := waiting[client][random.IntN(len(waiting[client]))]
			drop(client, ticket)
			q.remove(ticket)
		}
		most := 0
		for _, tickets := range waiting {
			most = max(most, len(tickets))
		}
		last := q.lastOfMost(client)
		switch want := most >= len(waiting[client])+2; {
		case want != (last != nil):
			t.Fatalf("step %d: room %v with %d of at most %d", step, last != nil, len(waiting[client]), most)
		case want && (len(waiting[last.place.line.client]) != most || waiting[last.place.line.client][most-1] != last):
			t.Fatalf("step %d: not the latest of the longest", step)
		}
	}
	if len(turns) != len(q.lines) || q.turns.Len() != len(turns) || len(q.lengths) != len(turns) {
		t.Errorf("%d clients, kept %d, %d, %d", len(turns), len(q.lines), q.turns.Len(), len(q.lengths))
	}
}

func BenchmarkGate(b *testing.B) {
	g, w, client := NewGate(100, 100), newWaiter("only"), addr("192.0.2.1")
	for b.Loop() {
		g.Enter(&w.Ticket, client, w)
		g.Leave(&w.Ticket)
	}
}
