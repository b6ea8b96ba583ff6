package health

import (
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// fate dials servers that do as they are told, by a letter a check: o for one that answers, f for one that refuses, h for
// one that is silent. Past the last letter they do as it says.
type fate struct {
	mu     sync.Mutex
	script string
	dials  []time.Time
	open   atomic.Int64
}

func (f *fate) dial(context.Context, string, string) (net.Conn, error) {
	f.mu.Lock()
	f.dials = append(f.dials, time.Now())
	does := f.script[min(len(f.dials), len(f.script))-1]
	f.mu.Unlock()
	if does == 'f' {
		return nil, errors.New("refused")
	}
	ours, theirs := net.Pipe()
	f.open.Add(1)
	go func() {
		defer theirs.Close()
		if does == 'o' {
			_, _ = io.WriteString(theirs, "220 ready")
		}
		_, _ = io.Copy(io.Discard, theirs)
		f.open.Add(-1)
	}()
	return ours, nil
}

func (f *fate) times() []time.Time {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.dials
}

// fixed is a set of targets that never changes.
func fixed(targets ...*target) func() ([]*target, <-chan struct{}) {
	return func() ([]*target, <-chan struct{}) { return targets, nil }
}

// run runs checks for so long.
func run(t *testing.T, options Options, lasts time.Duration, watch func() ([]*target, <-chan struct{})) {
	ctx, cancel := context.WithTimeout(t.Context(), lasts)
	defer cancel()
	Run(ctx, options, watch)
}

func TestRiseAndFall(t *testing.T) {
	for _, test := range []struct {
		name        string
		down, known bool
		script      string
		rise, fall  int
		want        string
	}{
		{"well", false, false, "ooo", 2, 3, "uuu"},
		{"three fail", false, true, "fffooo", 2, 3, "uudduu"},
		{"two fail, twice", false, true, "ffoffo", 2, 3, "uuuuuu"},
		{"silence is failure", false, true, "hhho", 2, 3, "uudd"},
		{"the first fails", false, false, "ffoo", 2, 3, "dddu"},
		{"the first succeeds", false, false, "offf", 2, 3, "uuud"},
		{"down from before", true, true, "oo", 2, 3, "du"},
		{"up from before", false, true, "ff", 2, 3, "uu"},
		{"at once", false, true, "fofo", 1, 1, "dudu"},
		{"nearly up again", false, true, "fffofoo", 2, 3, "uudddd" + "u"},
	} {
		synctest.Test(t, func(t *testing.T) {
			f := &fate{script: test.script}
			server := &target{down: test.down, known: test.known}
			options := Options{Rise: test.rise, Fall: test.fall, Expect: []byte("220"), Dial: f.dial}
			run(t, options, time.Duration(len(test.script))*2*time.Second+2*time.Second, fixed(server))
			if got := server.ups(); !strings.HasPrefix(got, test.want) {
				t.Errorf("%s: got %s, want %s", test.name, got, test.want)
			}
			synctest.Wait()
			expect(t, "connections left open", f.open.Load(), 0)
		})
	}
}

func TestReports(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := &target{}
		run(t, Options{Expect: []byte("220"), Dial: (&fate{script: "ofh"}).dial, Timeout: 700 * time.Millisecond}, 6*time.Second, fixed(server))
		seen := server.seen()
		if len(seen) < 3 {
			t.Fatalf("%d checks in 6 s", len(seen))
		}
		expect(t, "success", seen[0].reason, "")
		expect(t, "refusal", seen[1].reason, "refused")
		expect(t, "silence", seen[2].reason, `expect "220": read pipe: i/o timeout after nothing`)
		expect(t, "its latency", seen[2].latency, 700*time.Millisecond)
	})
}

func TestIntervals(t *testing.T) {
	for _, test := range []struct {
		name     string
		script   string
		timeout  time.Duration
		min, max time.Duration // between two checks
	}{
		{"well", "o", time.Second, 1800 * time.Millisecond, 2200 * time.Millisecond},
		{"down for good", "f", time.Second, 1800 * time.Millisecond, 2200 * time.Millisecond},
		{"silent", "h", time.Second, 1800 * time.Millisecond, 2200 * time.Millisecond},
		{"silent for longer than the interval", "h", 5 * time.Second, 5200 * time.Millisecond, 5200 * time.Millisecond},
	} {
		synctest.Test(t, func(t *testing.T) {
			f := &fate{script: test.script}
			run(t, Options{Expect: []byte("220"), Dial: f.dial, Timeout: test.timeout, FastInterval: time.Second}, time.Minute, fixed(&target{}))
			distinct := make(map[time.Duration]bool)
			times := f.times()
			for i, at := range times[1:] {
				between := at.Sub(times[i])
				distinct[between] = true
				if between < test.min || between > test.max {
					t.Errorf("%s: %v between two checks", test.name, between)
				}
			}
			if test.min != test.max && len(distinct) < 10 {
				t.Errorf("%s: checks are in step", test.name)
			}
		})
	}
}

func TestDoubtsAreResolvedFast(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fate{script: "offfoo"}
		run(t, Options{Expect: []byte("220"), Dial: f.dial, Interval: 100 * time.Second, FastInterval: time.Second}, 10*time.Minute, fixed(&target{}))
		times := f.times()
		for i, slow := range []bool{true, false, false, true, false, true} {
			between := times[i+1].Sub(times[i])
			if slow != (between > 50*time.Second) {
				t.Errorf("after check %d: %v", i, between)
			}
		}
	})
}

func TestTargetsAreFollowed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := &target{}, &target{}
		var mu sync.Mutex
		targets, changed := []*target{a}, make(chan struct{})
		watch := func() ([]*target, <-chan struct{}) {
			mu.Lock()
			defer mu.Unlock()
			return targets, changed
		}
		change := func(to ...*target) {
			mu.Lock()
			defer mu.Unlock()
			close(changed)
			targets, changed = to, make(chan struct{})
		}
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			Run(ctx, Options{Dial: (&fate{script: "o"}).dial}, watch)
		}()
		time.Sleep(time.Minute)
		change(a, b)
		time.Sleep(time.Minute)
		beforeA := len(a.seen())
		change(b)
		time.Sleep(time.Minute)
		expect(t, "checks of one that is gone", len(a.seen()), beforeA)
		if n := len(a.seen()); n < 50 || n > 70 {
			t.Errorf("%d checks in two minutes", n)
		}
		if n := len(b.seen()); n < 50 || n > 70 {
			t.Errorf("%d checks of the one that came, in two minutes", n)
		}
		change(a, b)
		time.Sleep(time.Minute)
		if n := len(a.seen()) - beforeA; n < 25 {
			t.Errorf("%d checks of one that is back, in a minute", n)
		}
		cancel()
		<-ended
		last := len(b.seen())
		time.Sleep(time.Minute)
		expect(t, "checks after the end", len(b.seen()), last)
	})
}

// What a check finds that is cut short says nothing about the server.
func TestACheckThatIsCutShortIsNotReported(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fate{script: "h"}
		server := &target{}
		began := time.Now()
		run(t, Options{Expect: []byte("220"), Dial: f.dial, Timeout: time.Hour}, 10*time.Second, fixed(server))
		expect(t, "Run took", time.Since(began), 10*time.Second)
		expect(t, "reports", len(server.seen()), 0)
		synctest.Wait()
		expect(t, "connections left open", f.open.Load(), 0)
	})
}

func TestRunWaitsForItsChecks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		slow := func(context.Context, string, string) (net.Conn, error) {
			time.Sleep(time.Minute)
			return nil, errors.New("refused")
		}
		began := time.Now()
		run(t, Options{Dial: slow}, time.Second, fixed(&target{}))
		if took := time.Since(began); took < time.Minute {
			t.Errorf("Run returned after %v, with a check under way", took)
		}
	})
}

// Many servers under real checks at once, that come and go meanwhile.
func TestManyServers(t *testing.T) {
	var all []*target
	answer := says("PING", "+PONG")
	for range 8 {
		all = append(all, listen(t, "tcp", "127.0.0.1:0", func(conn net.Conn) bool {
			answer(conn)
			_, _ = io.Copy(io.Discard, conn) // one that is cut short is reset
			return false
		}))
	}
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	watch := func() ([]*target, <-chan struct{}) {
		changed := make(chan struct{})
		time.AfterFunc(time.Duration(rand.IntN(50))*time.Millisecond, func() { close(changed) })
		return all[:1+rand.IntN(len(all))], changed
	}
	Run(ctx, Options{Interval: 10 * time.Millisecond, Timeout: 5 * time.Second, Send: []byte("PING"), Expect: []byte("+PONG")}, watch)
	if n := len(all[0].seen()); n == 0 {
		t.Error("the first server was never checked")
	}
	for _, server := range all {
		for _, c := range server.seen() {
			if !c.up {
				t.Errorf("%s: %s", server.endpoint, c.reason)
			}
		}
	}
}
