package pool

import (
	"container/list"
	"errors"
	"fmt"
	"time"
)

// ErrQueueFull: as many connections wait already as may.
var ErrQueueFull = errors.New("too many connections wait for a server")

// Ticket is a connection's place in the queue of its pool.
type Ticket struct {
	pool     *Pool
	key      Key
	tried    []*Server
	wake     func()
	deadline time.Time

	// The pool's lock guards the rest.
	place  *list.Element // nil: it waits no more
	server *Server       // granted, and not taken yet
	err    error
}

// Enter waits in line for what Pick would return: a server that was full has room, or a name is looked up. wake is called
// when the ticket's Server has something to say, by anyone, and must not block; a strand's Wake is meant. Enter fails as
// Pick does, or with ErrQueueFull. The caller leaves the tried servers as they are, and calls Leave in the end:
//
//	ticket, err := p.Enter(key, tried, strand.Wake)
//	if err != nil {
//		return nil, err
//	}
//	defer ticket.Leave()
//	strand.SetDeadline(ticket.Deadline())
//	for {
//		if server, err := ticket.Server(); server != nil || err != nil {
//			return server, err
//		}
//		if err := strand.Wait(); err != nil {
//			return nil, err
//		}
//	}
func (p *Pool) Enter(key Key, tried []*Server, wake func()) (*Ticket, error) {
	p.mu.Lock()
	defer p.unlock()
	p.grant()
	t := &Ticket{pool: p, key: key, tried: tried, wake: wake, deadline: time.Now().Add(p.options.Queue.Timeout)}
	s, err := p.pick(key, tried)
	switch {
	case err == nil:
		t.server = s
	case !MayWait(err):
		return nil, p.explain(err)
	case p.waiting.Len() >= p.options.Queue.Length:
		return nil, fmt.Errorf("%w: %w", p.explain(err), ErrQueueFull)
	default:
		t.place = p.waiting.PushBack(t)
	}
	return t, nil
}

// Server returns the server that was granted, which is then the caller's to Release, or why there will be none, or
// neither while the ticket waits.
func (t *Ticket) Server() (*Server, error) {
	t.pool.mu.Lock()
	defer t.pool.mu.Unlock()
	s := t.server
	t.server = nil
	return s, t.err
}

// Deadline is when the pool's owner has the wait end. The pool itself does nothing then.
func (t *Ticket) Deadline() time.Time { return t.deadline }

// Leave gives up the place, and the server that was granted if nobody took it. It may be called more than once.
func (t *Ticket) Leave() {
	p := t.pool
	p.mu.Lock()
	s := t.server
	t.server = nil
	if t.place != nil {
		p.waiting.Remove(t.place)
		t.place = nil
	}
	p.unlock()
	if s != nil {
		s.Release()
	}
}

// grant gives what can be had to those that wait, in their order. One that may have any server and gets none ends it: the
// others may have no more. It is called whenever something has changed.
func (p *Pool) grant() {
	for place := p.waiting.Front(); place != nil; {
		t := place.Value.(*Ticket)
		place = place.Next()
		s, err := p.pick(t.key, t.tried)
		switch {
		case err == nil:
			t.server = s
		case !MayWait(err):
			t.err = p.explain(err)
		case len(t.tried) == 0:
			return
		default:
			continue
		}
		p.waiting.Remove(t.place)
		t.place = nil
		p.later = append(p.later, t.wake)
	}
}
