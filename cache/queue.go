package cache

import (
	"container/list"
	"net/netip"
)

// queue is where fetches wait for their turn: one of each client address in turn, so that nobody who asks for many names
// delays somebody who asks for one. Whoever uses it holds Cache.mu.
type queue struct {
	clients map[netip.Prefix]*line
	turns   *list.List // of *line, the next first
	count   int        // of flights
}

// line is what one client waits for, in the order it was asked.
type line struct {
	client  netip.Prefix
	flights list.List // of *flight
	turn    *list.Element
}

func newQueue() queue {
	return queue{clients: make(map[netip.Prefix]*line), turns: list.New()}
}

// sender is what counts as one client: an IPv4 address or a /64 of IPv6, of which anybody has as many addresses as they
// like. The zero Prefix is for what no client asked.
func sender(client netip.Addr) netip.Prefix {
	client = client.Unmap()
	width := client.BitLen()
	if client.Is6() {
		width = 64
	}
	prefix, err := client.Prefix(width)
	if err != nil {
		return netip.Prefix{}
	}
	return prefix
}

func (q *queue) push(f *flight) {
	client := sender(f.client)
	waiting := q.clients[client]
	if waiting == nil {
		waiting = &line{client: client}
		waiting.turn = q.turns.PushBack(waiting)
		q.clients[client] = waiting
	}
	f.line, f.turn = waiting, waiting.flights.PushBack(f)
	q.count++
}

// join lets a flight that waits have the turn of a client more, if that comes sooner: a name that somebody asked for among
// thousands must not keep others who ask for it waiting.
func (q *queue) join(f *flight, client netip.Addr) {
	// One that is next in its line would lose its turn, again and again, to whoever asks for the same name.
	if f.line == nil || f.turn.Prev() == nil {
		return
	}
	if own := q.clients[sender(client)]; own == nil || own.flights.Len() < f.line.flights.Len() {
		q.remove(f)
		f.client = client
		q.push(f)
	}
}

// pop takes the flight whose turn it is, nil when none waits.
func (q *queue) pop() *flight {
	next := q.turns.Front()
	if next == nil {
		return nil
	}
	q.turns.MoveToBack(next)
	popped := next.Value.(*line).flights.Front().Value.(*flight)
	q.remove(popped)
	return popped
}

// remove takes a flight that waits out.
func (q *queue) remove(f *flight) {
	f.line.flights.Remove(f.turn)
	if f.line.flights.Len() == 0 {
		q.turns.Remove(f.line.turn)
		delete(q.clients, f.line.client)
	}
	f.line, f.turn = nil, nil
	q.count--
}

// drain takes all out.
func (q *queue) drain() []*flight {
	var all []*flight
	for next := q.pop(); next != nil; next = q.pop() {
		all = append(all, next)
	}
	return all
}
