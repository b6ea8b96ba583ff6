package socket

import (
	"errors"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// A strand that runs, or waits, learns of what happens, once.
func TestWakeOfOwner(t *testing.T) {
	s := own(t, startGroup(t))
	t.Run("while it runs", func(t *testing.T) {
		for range 3 {
			s.Wake()
		}
		if err := s.Wait(); err != nil {
			t.Error(err)
		}
		nothingFor(t, s, settled)
	})
	t.Run("while it waits", func(t *testing.T) {
		time.AfterFunc(settled, s.Wake)
		s.SetDeadline(time.Now().Add(patience))
		began := time.Now()
		if err := s.Wait(); err != nil || time.Since(began) < settled/2 {
			t.Errorf("waited %v: %v", time.Since(began), err)
		}
	})
}

// stepper is a strand whose steps the test sees and answers.
type stepper struct {
	Strand
	steps chan bool
	reply chan Progress
}

func newStepper(g *Group) *stepper {
	s := &stepper{steps: make(chan bool), reply: make(chan Progress)}
	g.Begin(&s.Strand, func(alone bool) Progress { s.steps <- alone; return <-s.reply })
	return s
}

// wantStep waits for a step.
func (s *stepper) wantStep(t *testing.T) (alone bool) {
	t.Helper()
	select {
	case alone = <-s.steps:
	case <-time.After(patience):
		t.Fatal("no step")
	}
	return alone
}

// wantRest checks that no step is made.
func (s *stepper) wantRest(t *testing.T) {
	t.Helper()
	select {
	case <-s.steps:
		t.Fatal("a step")
	case <-time.After(settled):
	}
}

// A strand that rests makes a step for what happens, one more for what happens meanwhile, and none when it is over.
func TestSteps(t *testing.T) {
	s := newStepper(startGroup(t))
	s.Rest()
	s.wantRest(t)
	s.Wake()
	s.wantStep(t)
	for range 3 {
		s.Wake() // while it runs
	}
	s.reply <- Pause
	s.wantStep(t)
	s.reply <- Pause
	s.wantRest(t)
	s.Wake()
	s.wantStep(t)
	s.reply <- More
	s.wantStep(t)
	s.reply <- Done
	s.wantRest(t)
	s.Wake()
	s.Cut()
	s.wantRest(t)
}

// What happened before a strand rests makes it go on at once.
func TestWakeBeforeRest(t *testing.T) {
	s := newStepper(startGroup(t))
	s.Wake()
	s.Rest()
	s.wantStep(t)
	s.reply <- Done
}

// What runs where others wait leaves as soon as there is more to do.
func TestMoreLeavesThePoller(t *testing.T) {
	s := newStepper(startGroup(t))
	left := make(chan struct{})
	go func() { s.run(false); close(left) }()
	if s.wantStep(t) {
		t.Error("alone")
	}
	s.reply <- More
	if !s.wantStep(t) {
		t.Error("not alone")
	}
	<-left
	s.reply <- Done
}

// A deadline ends a wait and wakes a strand that rests; it can be moved both ways, and taken away.
func TestDeadlines(t *testing.T) {
	const soon, late = 60 * time.Millisecond, 250 * time.Millisecond
	for _, test := range []struct {
		name       string
		first      time.Duration // a deadline that is armed; 0: none
		then, want time.Duration // the one that holds; 0: none
	}{
		{"passed", 0, -time.Hour, 0},
		{"to come", 0, soon, soon},
		{"moved to earlier", late, soon, soon},
		{"moved to later", soon, late, late},
		{"moved to the past", late, -time.Hour, 0},
		{"after one that passed", time.Nanosecond, soon, soon},
	} {
		t.Run(test.name+", while it waits", func(t *testing.T) {
			s := own(t, startGroup(t))
			now := time.Now()
			if test.first != 0 {
				s.SetDeadline(now.Add(test.first))
				s.Wake()
				_ = s.Wait() // arms it
			}
			s.SetDeadline(now.Add(test.then))
			var err error
			for err == nil {
				err = s.Wait()
			}
			if took := time.Since(now); !errors.Is(err, os.ErrDeadlineExceeded) || took < test.want || took > test.want+time.Second {
				t.Errorf("ended after %v: %v", took, err)
			}
		})
		t.Run(test.name+", while it rests", func(t *testing.T) {
			var s Strand
			now := time.Now()
			done := make(chan time.Duration)
			moved := test.first == 0
			g := startGroup(t)
			g.Begin(&s, func(bool) Progress {
				if !moved {
					s.SetDeadline(now.Add(test.then))
					moved = true
				}
				if !s.Expired(time.Now()) {
					return Pause
				}
				done <- time.Since(now)
				return Done
			})
			if s.SetDeadline(now.Add(test.then)); !moved {
				s.SetDeadline(now.Add(test.first))
			}
			s.Rest()
			s.Wake()
			if took := <-done; took < test.want || took > test.want+time.Second {
				t.Errorf("ended after %v", took)
			}
		})
	}
	t.Run("taken away", func(t *testing.T) {
		s := newStepper(startGroup(t))
		s.SetDeadline(time.Now().Add(soon))
		s.Rest()
		s.wantStep(t)
		s.SetDeadline(time.Time{})
		s.reply <- Pause
		s.wantRest(t)
		s.Wake()
		s.wantStep(t)
		s.reply <- Done
	})
}

// A strand that is cut learns of it in every state, and stays cut.
func TestCut(t *testing.T) {
	g := startGroup(t)
	wantCut := func(t *testing.T, s *Strand) {
		t.Helper()
		if s.SetDeadline(time.Now().Add(patience)); !s.IsCut() {
			t.Error("not cut")
		}
		for range 2 {
			if err := s.Wait(); !errors.Is(err, net.ErrClosed) {
				t.Errorf("waited: %v", err)
			}
		}
	}
	t.Run("while it runs", func(t *testing.T) {
		s := own(t, g)
		s.Cut()
		wantCut(t, s)
	})
	t.Run("while it waits", func(t *testing.T) {
		s := own(t, g)
		time.AfterFunc(settled, s.Cut)
		if err := s.Wait(); err != nil {
			t.Error(err)
		}
		wantCut(t, s)
	})
	t.Run("while it rests", func(t *testing.T) {
		s := newStepper(g)
		s.Rest()
		s.Cut()
		s.wantStep(t)
		if !s.IsCut() {
			t.Error("not cut")
		}
		s.reply <- Done
	})
	t.Run("when it is over", func(t *testing.T) {
		s := newStepper(g)
		s.Rest()
		s.Wake()
		s.wantStep(t)
		s.reply <- Done
		s.wantRest(t)
		s.Cut()
		s.wantRest(t)
	})
}

// However many wake a strand, in whatever state, nothing that happened before is left unseen.
func TestNoWakeIsLost(t *testing.T) {
	g := startGroup(t)
	const rounds, wakers = 3000, 4
	var strands sync.WaitGroup
	for kind := range 3 {
		var happened, seen atomic.Int64
		var s Strand
		over := make(chan struct{})
		steps := 0
		g.Begin(&s, func(alone bool) Progress {
			steps++
			if seen.Store(happened.Load()); seen.Load() == rounds*wakers {
				close(over)
				return Done
			}
			switch {
			case kind == 1 && !alone:
				return More
			case kind == 2 && steps%3 == 0 && alone:
				s.SetDeadline(time.Now().Add(patience))
				_ = s.Wait()
				return More
			}
			return Pause
		})
		s.Rest()
		strands.Go(func() {
			var group sync.WaitGroup
			for range wakers {
				group.Go(func() {
					for i := range rounds {
						if happened.Add(1); kind == 2 {
							s.Wake()
						} else if s.wake() { // as a poller has it
							s.run(false)
						}
						if i%64 == 0 {
							time.Sleep(time.Microsecond)
						}
					}
				})
			}
			group.Wait()
			select {
			case <-over:
			case <-time.After(patience):
				t.Errorf("kind %d: %d of %d were seen, in %d steps", kind, seen.Load(), rounds*wakers, steps)
				s.Cut()
			}
		})
	}
	strands.Wait()
}

// As many strands run at once as there are, more than there are workers that stay.
func TestWorkers(t *testing.T) {
	g := startGroup(t)
	for range 2 {
		const count = 100
		var together, over sync.WaitGroup
		together.Add(count)
		over.Add(count)
		strands := make([]Strand, count)
		for i := range strands {
			g.Begin(&strands[i], func(alone bool) Progress {
				if !alone {
					return More
				}
				together.Done()
				together.Wait()
				over.Done()
				return Done
			})
			strands[i].Rest()
		}
		for i := range strands {
			strands[i].Wake()
		}
		over.Wait()
	}
}
