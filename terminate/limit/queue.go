package limit

import (
	"container/heap"
	"container/list"
)

// queue is where tickets wait for their turn: one of each client in turn.
type queue struct {
	lines   map[uint64]*line
	turns   list.List // of *line, the next first
	lengths byLength
	count   int // of tickets
}

// line is what one client has waiting, in the order it came.
type line struct {
	client  uint64
	tickets list.List // of *Ticket
	turn    *list.Element
	rank    int // in lengths
}

// place is where a ticket waits. The zero value is nowhere.
type place struct {
	line *line
	at   *list.Element
}

func newQueue() queue { return queue{lines: map[uint64]*line{}} }

func (q *queue) push(t *Ticket, client uint64) {
	l := q.lines[client]
	if l == nil {
		l = &line{client: client}
		l.turn = q.turns.PushBack(l)
		q.lines[client] = l
		heap.Push(&q.lengths, l)
	}
	t.place = place{l, l.tickets.PushBack(t)}
	heap.Fix(&q.lengths, l.rank)
	q.count++
}

// pop takes out the ticket whose turn it is. There must be one.
func (q *queue) pop() *Ticket {
	turn := q.turns.Front()
	q.turns.MoveToBack(turn)
	t := turn.Value.(*line).tickets.Front().Value.(*Ticket)
	q.remove(t)
	return t
}

// remove takes out a ticket.
func (q *queue) remove(t *Ticket) {
	l := t.place.line
	l.tickets.Remove(t.place.at)
	heap.Fix(&q.lengths, l.rank)
	if l.tickets.Len() == 0 {
		heap.Remove(&q.lengths, l.rank)
		q.turns.Remove(l.turn)
		delete(q.lines, l.client)
	}
	t.place = place{}
	q.count--
}

// lastOfMost is the latest ticket of the client that has most, nil where a client with one more than it has would have
// as many: then there is nobody to make room.
func (q *queue) lastOfMost(client uint64) *Ticket {
	own := 0
	if l := q.lines[client]; l != nil {
		own = l.tickets.Len()
	}
	if len(q.lengths) == 0 || q.lengths[0].tickets.Len() < own+2 {
		return nil
	}
	return q.lengths[0].tickets.Back().Value.(*Ticket)
}

// byLength is a heap of lines, a longest first.
type byLength []*line

func (b byLength) Len() int           { return len(b) }
func (b byLength) Less(i, j int) bool { return b[i].tickets.Len() > b[j].tickets.Len() }

func (b byLength) Swap(i, j int) {
	b[i], b[j] = b[j], b[i]
	b[i].rank, b[j].rank = i, j
}

// Push is heap.Interface's.
func (b *byLength) Push(l any) {
	l.(*line).rank = len(*b)
	*b = append(*b, l.(*line))
}

// Pop is heap.Interface's.
func (b *byLength) Pop() any {
	last := len(*b) - 1
	l := (*b)[last]
	(*b)[last] = nil
	*b = (*b)[:last]
	return l
}
