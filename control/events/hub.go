package events

import (
	"context"
	"errors"
	"iter"
	"sync"
	"sync/atomic"
	"time"

	"hellogate/sni"
)

const (
	// maxSubscribers is how many may listen at once.
	maxSubscribers = 16
	// queueBytes bounds what waits for one of them: some thousand events.
	queueBytes = 1 << 20
)

var errTooMany = errors.New("too many listen to events already")

// Hub hands events on. It is safe for concurrent use.
type Hub struct {
	also  []func(Event)
	count atomic.Int32 // of subscriptions, so that nothing is locked while nobody listens

	writeTimeout time.Duration

	mu            sync.Mutex // held while events are queued, never while any is written
	subscriptions map[*Subscription]bool
}

// NewHub returns a Hub that calls also, in turn, with each event that is published. They must not wait: see
// [Command.Publish].
func NewHub(also ...func(Event)) *Hub {
	return &Hub{also: also, writeTimeout: writeTimeout, subscriptions: make(map[*Subscription]bool)}
}

// Publish hands an event to all who listen. It never waits for them. More names than 1,000 are cut off, and counted in More.
func (h *Hub) Publish(event Event) {
	if len(h.also) == 0 && h.count.Load() == 0 {
		return
	}
	event = event.finished(time.Now())
	for _, each := range h.also {
		each(event)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	for each := range h.subscriptions {
		each.add(event)
	}
}

// Filter chooses events. The zero value chooses all.
type Filter struct {
	// Events are the kinds wanted; empty: all.
	Events []string
	// Names are wanted if they match one of these; empty: all. An event with several names is wanted, whole, if any is.
	Names []sni.Pattern
}

// Subscription is a queue of events for one who listens. Close it.
type Subscription struct {
	hub    *Hub
	filter Filter
	wake   chan struct{} // holds one: there is something to take

	mu    sync.Mutex
	queue []Event
	bytes int
	lost  int // since the queue was full
}

// Subscribe queues the events that are published from now on and that filter chooses. It is an error when too many listen.
func (h *Hub) Subscribe(filter Filter) (*Subscription, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.subscriptions) >= maxSubscribers {
		return nil, errTooMany
	}
	s := &Subscription{hub: h, filter: filter, wake: make(chan struct{}, 1)}
	h.subscriptions[s] = true
	h.count.Store(int32(len(h.subscriptions)))
	return s, nil
}

// Close ends the queue. Whoever waits in Events goes on to wait for its context.
func (s *Subscription) Close() {
	s.hub.mu.Lock()
	defer s.hub.mu.Unlock()
	delete(s.hub.subscriptions, s)
	s.hub.count.Store(int32(len(s.hub.subscriptions)))
}

// Events yields events as they come, until ctx is done. Where some were lost because too many were waiting, one of the
// kind Dropped counts them.
func (s *Subscription) Events(ctx context.Context) iter.Seq[Event] {
	return func(yield func(Event) bool) {
		for {
			select {
			case <-ctx.Done():
				return
			case <-s.wake:
			}
			for _, event := range s.take() {
				if ctx.Err() != nil || !yield(event) {
					return
				}
			}
		}
	}
}

func (s *Subscription) add(event Event) {
	if !s.filter.takes(event) {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if cost := event.cost(); s.lost == 0 && s.bytes+cost <= queueBytes {
		s.queue = append(s.queue, event)
		s.bytes += cost
	} else {
		s.lost++ // and so are those after it, until the queue is taken: it stays in order
	}
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// take empties the queue.
func (s *Subscription) take() []Event {
	s.mu.Lock()
	defer s.mu.Unlock()
	taken := s.queue
	if s.lost > 0 {
		taken = append(taken, Event{Event: Dropped, Count: s.lost}.finished(time.Now()))
	}
	s.queue, s.bytes, s.lost = nil, 0, 0
	return taken
}
