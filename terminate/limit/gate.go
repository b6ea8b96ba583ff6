package limit

import (
	"net/netip"
	"sync"
	"sync/atomic"
)

// State is how far a ticket is.
type State uint32

// The states.
const (
	Out     State = iota // it has not entered, or has left
	Waiting              // in the queue
	Granted              // it holds a slot
	Refused              // the queue was full, or got so and the ticket's client had more in it than others
)

// Waker is who waits for a ticket, such as a socket.Strand. Wake must not wait, and may come late.
type Waker interface{ Wake() }

// Ticket is one's place at a Gate. The zero value is ready. It is not copied, and enters again only when it has left.
type Ticket struct {
	state atomic.Uint32
	waker Waker
	place place // while it waits; the Gate's lock guards it
}

// State returns how far the ticket is. Once it is Granted or Refused it stays so until it leaves.
func (t *Ticket) State() State { return State(t.state.Load()) }

func (t *Ticket) set(state State) { t.state.Store(uint32(state)) }

// Gate lets a number of tickets in at once. Others wait, and those that leave make room for the clients that wait in
// turn, one of each: whoever has a thousand waiting delays another's first no longer than whoever has one. In a full queue
// too the room is shared: a ticket of a client with fewer there takes the place of the latest of the client that has
// most. All methods may be called by anyone at any time.
type Gate struct {
	mutex             sync.Mutex // held for moments
	slots, room, open int
	queue             queue
}

// NewGate returns a Gate for a number of slots, behind which room tickets can wait. With no slots none is let in.
func NewGate(slots, room int) *Gate {
	return &Gate{slots: slots, room: room, queue: newQueue()}
}

// Resize changes the numbers. Tickets that hold a slot or wait keep what they have.
func (g *Gate) Resize(slots, room int) {
	g.mutex.Lock()
	g.slots, g.room = slots, room
	g.mutex.Unlock()
	for waker := g.admit(); waker != nil; waker = g.admit() {
		waker.Wake()
	}
}

// Enter asks for a slot: the ticket is Granted, Waiting or Refused. The waker is woken when one that waits no longer
// does. Leave must be called for every ticket that entered, whatever became of it.
func (g *Gate) Enter(t *Ticket, client netip.Addr, waker Waker) State {
	g.mutex.Lock()
	if g.open < g.slots {
		g.open++
		t.set(Granted)
		g.mutex.Unlock()
		return Granted
	}
	pushedOut := g.wait(t, client, waker)
	state := t.State()
	g.mutex.Unlock()
	if pushedOut != nil {
		pushedOut.Wake()
	}
	return state
}

// wait puts a ticket into the queue, or refuses it. It returns who waits for the ticket that had to make room, if any.
func (g *Gate) wait(t *Ticket, client netip.Addr, waker Waker) (pushedOut Waker) {
	key, _ := clientKey(client)
	if g.queue.count >= g.room {
		last := g.queue.lastOfMost(key)
		if last == nil {
			t.set(Refused)
			return nil
		}
		g.queue.remove(last)
		last.set(Refused)
		pushedOut, last.waker = last.waker, nil
	}
	t.waker = waker
	t.set(Waiting)
	g.queue.push(t, key)
	return pushedOut
}

// Leave gives the ticket's slot or place up. It does nothing for one that is out.
func (g *Gate) Leave(t *Ticket) {
	g.mutex.Lock()
	var next Waker
	switch t.State() {
	case Granted:
		g.open--
		next = g.next()
	case Waiting:
		g.queue.remove(t)
		t.waker = nil
	}
	t.set(Out)
	g.mutex.Unlock()
	if next != nil {
		next.Wake()
	}
}

// admit grants a slot to the next that waits, if there is one of each, and returns whom to wake.
func (g *Gate) admit() Waker {
	g.mutex.Lock()
	defer g.mutex.Unlock()
	return g.next()
}

func (g *Gate) next() (waker Waker) {
	if g.open >= g.slots || g.queue.count == 0 {
		return nil
	}
	t := g.queue.pop()
	g.open++
	t.set(Granted)
	waker, t.waker = t.waker, nil
	return waker
}

// Open returns how many hold a slot.
func (g *Gate) Open() int {
	g.mutex.Lock()
	defer g.mutex.Unlock()
	return g.open
}

// Waiting returns how many are in the queue.
func (g *Gate) Waiting() int {
	g.mutex.Lock()
	defer g.mutex.Unlock()
	return g.queue.count
}
