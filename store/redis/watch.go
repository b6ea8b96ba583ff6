package redis

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"hellogate/sni"
	"hellogate/store"
)

const (
	leastPause = 100 * time.Millisecond
	mostPause  = 5 * time.Second
	// restless is how long a connection has to hold for the next pause to be the least again.
	restless = 10 * time.Second
	// topologyEvery is how often sentinels and clusters are asked whether there is another master.
	topologyEvery = 2 * time.Second
	// allEvery is how often a change of an id may be told as a change of all.
	allEvery = time.Second
	// checkWithin bounds the look whether an id's value changed at all.
	checkWithin = 500 * time.Millisecond
)

// Watch tells what changes in Redis, names included that were never read, until ctx is done. It needs Redis 6 and a user
// that may CLIENT TRACKING. Changes of other databases are told too.
func (r *Redis) Watch(ctx context.Context, changed func(store.Change)) {
	pause := leastPause
	said := ""
	for {
		begun := time.Now()
		session := session{redis: r, changed: changed, pending: newPending()}
		err := session.run(ctx)
		if ctx.Err() != nil {
			return
		}
		r.unseen.Store(&err)
		if session.told || err.Error() != said {
			said = err.Error()
			r.log.Warn().Str("store", r.name).Err(err).Msg("changes in the store can't be seen")
		}
		if time.Since(begun) > restless {
			pause = leastPause
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(pause + rand.N(pause/4)):
		}
		pause = min(2*pause, mostPause)
	}
}

// WatchProblem says why changes can't be seen; nil: they can, or Watch was not called yet.
func (r *Redis) WatchProblem() error {
	if problem := r.unseen.Load(); problem != nil {
		return *problem
	}
	return nil
}

// session is the time in which changes can be seen: from when the last of the masters is connected until the first of them
// is lost, or is no longer one.
type session struct {
	redis   *Redis
	changed func(store.Change)
	pending *pending
	told    bool // that changes can be seen

	all  <-chan time.Time // when all is to be told
	next time.Time        // when it may be told again
}

// run returns when changes can't be seen, or not any longer. Its error says why; that it told already.
func (s *session) run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	servers := s.redis.servers
	limited, done := context.WithTimeout(ctx, s.redis.timeout)
	routes, err := servers.renew(limited)
	done()
	if err != nil {
		cancel()
		return failure(err)
	}
	ended := make(chan error, 2*len(routes.masters)+1)
	var work sync.WaitGroup
	defer work.Wait()
	defer cancel()
	for _, tracker := range s.connect(ctx, routes.masters, ended) {
		defer tracker.close()
		work.Go(func() { ended <- tracker.keep(ctx) })
	}
	select {
	case err := <-ended:
		return err
	default:
	}
	if !servers.fixed() {
		work.Go(func() { ended <- servers.stay(ctx, routes.masters) })
	}
	s.told = true
	s.redis.unseen.Store(nil)
	s.redis.log.Info().Str("store", s.redis.name).Msg("changes in the store are seen")
	s.tellAll()
	err = s.follow(ctx, ended)
	if ctx.Err() == nil {
		s.changed(store.Change{Lost: true})
	}
	return err
}

// connect connects to all masters at once. What can't be connected to is said to ended.
func (s *session) connect(ctx context.Context, masters []string, ended chan<- error) []*tracker {
	trackers := make([]*tracker, len(masters))
	var work sync.WaitGroup
	for i, address := range masters {
		work.Go(func() {
			var err error
			trackers[i], err = s.redis.servers.track(ctx, address, s.redis.layout.prefixes(), s.pending.add)
			if err != nil {
				ended <- fmt.Errorf("%s: %w", address, failure(err))
			}
		})
	}
	work.Wait()
	return slices.DeleteFunc(trackers, func(t *tracker) bool { return t == nil })
}

// follow tells what changes until the session ends.
func (s *session) follow(ctx context.Context, ended <-chan error) error {
	var settled <-chan time.Time
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case err := <-ended:
			return err
		case <-s.all:
			s.tellAll()
		case <-s.pending.signal:
			if settled == nil {
				settled = time.After(s.redis.layout.settle())
			}
		case <-settled:
			settled = nil
			keys, all := s.pending.take()
			if all {
				s.tellAll()
				continue
			}
			s.tell(ctx, keys)
		}
	}
}

func (s *session) tellAll() {
	s.all, s.next = nil, time.Now().Add(allEvery)
	s.changed(store.Change{All: true})
}

// tell tells what was written under keys.
func (s *session) tell(ctx context.Context, keys []string) {
	var names []sni.Pattern
	var ids []string
	for _, key := range keys {
		whose, isID := s.redis.layout.changed(key)
		if isID {
			ids = append(ids, key)
		} else if whose != (sni.Pattern{}) {
			names = append(names, whose)
		}
	}
	s.tellNames(names)
	if prime1, found := s.redis.layout.(*prime1); found && len(ids) > 0 {
		s.tellIDs(ctx, prime1, ids)
	}
}

func (s *session) tellNames(names []sni.Pattern) {
	if len(names) > 0 {
		s.changed(store.Change{Names: names})
	}
}

// tellIDs tells of the ids whose value changed: the names that they were read for, and all, because a name that another
// process read, or this one before it began anew, may use them too. All is told at once the first time, and then not more
// often than allEvery.
func (s *session) tellIDs(ctx context.Context, prime1 *prime1, ids []string) {
	limited, cancel := context.WithTimeout(ctx, checkWithin)
	same := prime1.unchanged(limited, s.redis.servers, ids)
	cancel()
	ids = slices.DeleteFunc(ids, func(key string) bool { return same[key] })
	if len(ids) == 0 {
		return
	}
	if s.all == nil && !time.Now().Before(s.next) {
		s.tellAll()
		return
	}
	if s.all == nil {
		s.all = time.After(time.Until(s.next))
	}
	var names []sni.Pattern
	for _, key := range ids {
		for _, name := range prime1.ids.names(key) {
			names = append(names, pattern(name))
		}
	}
	s.tellNames(names)
}

var errMoved = errors.New("the masters are others now")

// stay returns when there are other masters.
func (s *servers) stay(ctx context.Context, masters []string) error {
	tick := time.NewTicker(topologyEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
		limited, cancel := context.WithTimeout(ctx, s.timeout)
		// Who can't say where the master is does not say that it is another.
		routes, err := s.renew(limited)
		cancel()
		if err == nil && !slices.Equal(routes.masters, masters) {
			return errMoved
		}
	}
}
