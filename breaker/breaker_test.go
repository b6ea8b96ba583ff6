package breaker

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rs/zerolog"
	"go.uber.org/goleak"

	"hellogate/store"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var (
	errBroken      = &store.Failure{Err: errors.New("500 Internal Server Error")}
	errUnreachable = &store.Failure{Err: errors.New("connection refused"), Unreachable: true}
	errTooMany     = &store.Failure{Err: errors.New("429 Too Many Requests"), Exempt: true, RetryAfter: time.Second}
	errNo          = fmt.Errorf("store test: %w", store.ErrUnknown)
)

// fake answers each name as told, with a bundle when told nothing.
type fake struct {
	mu    sync.Mutex
	errs  map[string]error
	all   error                    // for names not in errs
	hold  map[string]chan struct{} // names whose answer waits
	asked []string
}

func (f *fake) Fetch(ctx context.Context, request store.Request) (*store.Bundle, error) {
	f.mu.Lock()
	f.asked = append(f.asked, request.Name)
	hold := f.hold[request.Name]
	f.mu.Unlock()
	if hold != nil {
		select {
		case <-hold:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	err, told := f.errs[request.Name]
	if !told {
		err = f.all
	}
	if err != nil {
		return nil, err
	}
	return &store.Bundle{Store: request.Name}, nil
}

func (f *fake) say(err error, names ...string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.errs == nil {
		f.errs = make(map[string]error)
	}
	for _, name := range names {
		f.errs[name] = err
	}
}

func (f *fake) count() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.asked)
}

func get(b *Breaker, name string) error {
	bundle, err := b.Fetch(context.Background(), store.Request{Name: name})
	if (bundle == nil) == (err == nil) {
		panic("a bundle and an error, or neither")
	}
	return err
}

func cutOff(err error) *store.Failure {
	if failure, ok := errors.AsType[*store.Failure](err); ok && failure.CutOff {
		return failure
	}
	return nil
}

func wantState(t *testing.T, b *Breaker, want State) {
	t.Helper()
	if got := b.Status().State; got != want {
		t.Fatalf("state %s, want %s", got, want)
	}
}

// opened returns a breaker that the failures of a, b and c opened just now.
func opened(t *testing.T) (*Breaker, *fake) {
	t.Helper()
	next := &fake{}
	next.say(errBroken, "a", "b", "c")
	b := New("test", next, Options{Log: zerolog.Nop()})
	for _, name := range []string{"a", "b", "c", "a", "b"} {
		get(b, name)
	}
	wantState(t, b, Open)
	return b, next
}

func TestWhatOpens(t *testing.T) {
	repeat := func(n int, names ...string) (all []string) {
		for i := range n {
			all = append(all, names[i%len(names)])
		}
		return all
	}
	tests := []struct {
		name  string
		errs  map[string]error
		asked []string
		want  State
	}{
		{"one name failing 1,000 times", map[string]error{"a": errBroken}, repeat(1000, "a"), Closed},
		{"two names failing 1,000 times", map[string]error{"a": errBroken, "b": errBroken}, repeat(1000, "a", "b"), Closed},
		{"5 failures of 3 names", map[string]error{"a": errBroken, "b": errBroken, "c": errBroken}, repeat(5, "a", "b", "c"), Open},
		{"4 failures of 3 names", map[string]error{"a": errBroken, "b": errBroken, "c": errBroken}, repeat(4, "a", "b", "c"), Closed},
		{
			"many failures of one name, then two others",
			map[string]error{"a": errBroken, "b": errBroken, "c": errBroken},
			append(repeat(100, "a"), "b", "c"), Open,
		},
		{"5 time-outs of 5 names", map[string]error{
			"a": context.DeadlineExceeded, "b": context.DeadlineExceeded,
			"c": context.DeadlineExceeded, "d": context.DeadlineExceeded, "e": context.DeadlineExceeded,
		}, repeat(5, "a", "b", "c", "d", "e"), Open},
		{"5 failures to connect for one name", map[string]error{"a": errUnreachable}, repeat(5, "a"), Open},
		{"4 failures to connect for one name", map[string]error{"a": errUnreachable}, repeat(4, "a"), Closed},
		{
			"failures to connect not in a row",
			map[string]error{"a": errUnreachable, "b": errBroken},
			append(append(repeat(4, "a"), "b"), repeat(4, "a")...), Closed,
		},
		{
			"a no between",
			map[string]error{"a": errBroken, "b": errBroken, "c": errBroken, "no": errNo},
			[]string{"a", "b", "c", "a", "no", "b", "c", "a", "b"},
			Closed,
		},
		{
			"an answer between",
			map[string]error{"a": errBroken, "b": errBroken, "c": errBroken},
			[]string{"a", "b", "c", "a", "good", "b", "c", "a", "b"},
			Closed,
		},
		{
			"an answer between makes the names be counted anew",
			map[string]error{"a": errBroken, "b": errBroken, "c": errBroken},
			[]string{"a", "b", "c", "good", "a", "b", "a", "b", "a", "b", "a", "b"},
			Closed,
		},
		{"nos alone", map[string]error{"a": errNo, "b": errNo, "c": errNo}, repeat(100, "a", "b", "c"), Closed},
		{"429 alone", map[string]error{"a": errTooMany, "b": errTooMany, "c": errTooMany}, repeat(100, "a", "b", "c"), Closed},
		{
			"429 between resets nothing",
			map[string]error{"a": errBroken, "b": errBroken, "c": errBroken, "many": errTooMany},
			[]string{"a", "b", "many", "c", "a", "many", "b"},
			Open,
		},
		{"cancelled alone", map[string]error{"a": context.Canceled, "b": context.Canceled, "c": context.Canceled}, repeat(100, "a", "b", "c"), Closed},
		{
			"cancelled between resets nothing",
			map[string]error{"a": errBroken, "b": errBroken, "c": errBroken, "gone": context.Canceled},
			[]string{"a", "b", "gone", "c", "a", "gone", "b"},
			Open,
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			next := &fake{}
			for name, err := range test.errs {
				next.say(err, name)
			}
			b := New("test", next, Options{Log: zerolog.Nop()})
			for _, name := range test.asked {
				get(b, name)
			}
			if next.count() != len(test.asked) {
				t.Errorf("the store was asked %d times, want %d", next.count(), len(test.asked))
			}
			wantState(t, b, test.want)
		})
	}
}

func TestErrorsAndBundlesArePassedOn(t *testing.T) {
	next := &fake{}
	next.say(errNo, "no")
	next.say(errTooMany, "many")
	b := New("test", next, Options{})
	if bundle, err := b.Fetch(t.Context(), store.Request{Name: "good"}); err != nil || bundle.Store != "good" {
		t.Errorf("got %v, %v", bundle, err)
	}
	if err := get(b, "no"); !errors.Is(err, store.ErrUnknown) {
		t.Errorf("got %v, want the store's no", err)
	}
	if err := get(b, "many"); err != error(errTooMany) {
		t.Errorf("got %v, want the store's failure", err)
	}
}

func TestOpenAsksNothingAndSaysWhenItWill(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, next := opened(t)
		asked := next.count()
		time.Sleep(12 * time.Second)
		failure := cutOff(get(b, "good"))
		if failure == nil || failure.RetryAfter != 18*time.Second {
			t.Fatalf("got %+v, want cut off for 18s", failure)
		}
		if want := "store test: breaker open after 5 failures, not asked"; failure.Error() != want {
			t.Errorf("got %q, want %q", failure, want)
		}
		if next.count() != asked {
			t.Error("the store was asked")
		}
		status := b.Status()
		if status.RetryIn != 18*time.Second || status.CutOff != 1 {
			t.Errorf("status %+v, want to retry in 18s and 1 cut off", status)
		}
	})
}

func TestRetryAfterIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := New("test", &fake{all: errUnreachable}, Options{Failures: 1, Reset: time.Hour})
		get(b, "a")
		if failure := cutOff(get(b, "a")); failure == nil || failure.RetryAfter != store.MaxRetryAfter {
			t.Errorf("got %+v, want cut off for %s", failure, store.MaxRetryAfter)
		}
		if in := b.Status().RetryIn; in != time.Hour {
			t.Errorf("retry in %s, want 1h", in)
		}
	})
}

func TestProbeCloses(t *testing.T) {
	for _, answer := range []error{nil, errNo} {
		synctest.Test(t, func(t *testing.T) {
			b, next := opened(t)
			next.say(answer, "d")
			time.Sleep(30 * time.Second)
			wantState(t, b, HalfOpen)
			if err := get(b, "d"); cutOff(err) != nil {
				t.Fatal(err)
			}
			wantState(t, b, Closed)
			if status := b.Status(); status.Failures != 0 || status.RetryIn != 0 {
				t.Errorf("status %+v, want no failures", status)
			}
			for _, name := range []string{"a", "b", "c", "a"} {
				get(b, name)
			}
			wantState(t, b, Closed)
			get(b, "b")
			wantState(t, b, Open)
		})
	}
}

func TestFailedProbeOpensAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, next := opened(t)
		next.say(errBroken, "d")
		time.Sleep(30 * time.Second)
		get(b, "d")
		wantState(t, b, Open)
		if status := b.Status(); status.RetryIn != 30*time.Second || status.Failures != 6 {
			t.Errorf("status %+v, want 6 failures and to retry in 30s", status)
		}
		if cutOff(get(b, "e")) == nil {
			t.Error("let through after the probe failed")
		}
	})
}

func TestHalfOpenAdmitsExactlyOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, next := opened(t)
		release := make(chan struct{})
		next.hold = map[string]chan struct{}{}
		for i := range 100 {
			next.hold[fmt.Sprint("new", i)] = release
		}
		asked := next.count()
		time.Sleep(30 * time.Second)
		var wait sync.WaitGroup
		var refused atomic.Int32
		for i := range 100 {
			wait.Go(func() {
				if failure := cutOff(get(b, fmt.Sprint("new", i))); failure != nil {
					refused.Add(1)
				}
			})
		}
		synctest.Wait()
		if got := next.count() - asked; got != 1 || refused.Load() != 99 {
			t.Errorf("%d asked and %d cut off, want 1 and 99", got, refused.Load())
		}
		close(release)
		wait.Wait()
		wantState(t, b, Closed)
	})
}

func TestProbeGoesToANameThatWasNotFailing(t *testing.T) {
	tests := []struct {
		name       string
		whileOpen  []string
		after      time.Duration // since it opened
		asks       string
		wantCutOff time.Duration // 0: takes the probe
	}{
		{"other name, at once", nil, 30 * time.Second, "d", 0},
		{"failing name, another was asked for", []string{"a", "d"}, 30 * time.Second, "a", time.Second},
		{"failing name, another was asked for, in the grace", []string{"d"}, 30*time.Second + 900*time.Millisecond, "a", 100 * time.Millisecond},
		{"failing name, another was asked for, after the grace", []string{"d"}, 31 * time.Second, "a", 0},
		{"failing name, only such were asked for", []string{"a", "b", "c"}, 30 * time.Second, "a", 0},
		{"failing name, nothing was asked for", nil, 30 * time.Second, "a", 0},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b, _ := opened(t)
				time.Sleep(time.Second)
				for _, name := range test.whileOpen {
					if cutOff(get(b, name)) == nil {
						t.Fatalf("%s let through an open breaker", name)
					}
				}
				time.Sleep(test.after - time.Second)
				failure := cutOff(get(b, test.asks))
				if test.wantCutOff == 0 && failure != nil {
					t.Fatalf("cut off: %v", failure)
				}
				if test.wantCutOff != 0 && (failure == nil || failure.RetryAfter != test.wantCutOff) {
					t.Fatalf("got %+v, want cut off for %s", failure, test.wantCutOff)
				}
			})
		})
	}
}

func TestEachOpeningCountsTheNamesAskedForAnew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, next := opened(t)
		get(b, "d") // cut off
		next.say(errBroken, "d")
		time.Sleep(30 * time.Second)
		get(b, "d") // the probe, which fails
		wantState(t, b, Open)
		time.Sleep(30 * time.Second)
		if failure := cutOff(get(b, "a")); failure != nil {
			t.Errorf("nobody else was asked for since it opened again: %v", failure)
		}
	})
}

func TestProbeThatEndsUndecidedLeavesTheNextToProbe(t *testing.T) {
	for _, end := range []error{errTooMany, context.Canceled, &store.Failure{Err: errors.New("inner breaker"), CutOff: true}} {
		synctest.Test(t, func(t *testing.T) {
			b, next := opened(t)
			next.say(end, "d")
			time.Sleep(30 * time.Second)
			get(b, "d")
			wantState(t, b, HalfOpen)
			if err := get(b, "e"); err != nil {
				t.Errorf("after a probe that ended in %v: %v", end, err)
			}
			wantState(t, b, Closed)
		})
	}
}

func TestProbeThatNeverReturnsIsGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, next := opened(t)
		next.hold = map[string]chan struct{}{"hung": make(chan struct{})}
		time.Sleep(30 * time.Second)
		ctx, cancel := context.WithCancel(t.Context())
		var wait sync.WaitGroup
		wait.Go(func() { b.Fetch(ctx, store.Request{Name: "hung"}) })
		synctest.Wait()
		time.Sleep(probeLimit - time.Millisecond)
		if cutOff(get(b, "d")) == nil {
			t.Error("a second probe while the first may still return")
		}
		time.Sleep(time.Millisecond)
		if err := get(b, "d"); err != nil {
			t.Error(err)
		}
		wantState(t, b, Closed)
		cancel()
		wait.Wait()
		wantState(t, b, Closed)
	})
}

// Fetches that were under way when the breaker opened end late: their failures
// are old news, an answer is not.
func TestLateEnds(t *testing.T) {
	slow := []string{"s0", "s1", "s2", "s3", "s4", "s5", "s6", "s7"}
	start := func(t *testing.T) (*Breaker, *fake, chan struct{}, *sync.WaitGroup) {
		next := &fake{hold: map[string]chan struct{}{}}
		release := make(chan struct{})
		for _, name := range slow {
			next.hold[name] = release
		}
		next.say(errBroken, append([]string{"a", "b", "c"}, slow...)...)
		b := New("test", next, Options{})
		wait := &sync.WaitGroup{}
		for _, name := range slow {
			wait.Go(func() { get(b, name) })
		}
		synctest.Wait()
		for _, name := range []string{"a", "b", "c", "a", "b"} {
			get(b, name)
		}
		wantState(t, b, Open)
		return b, next, release, wait
	}
	t.Run("failures while open do not put off the probe", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			b, _, release, wait := start(t)
			time.Sleep(20 * time.Second)
			close(release)
			wait.Wait()
			if status := b.Status(); status.RetryIn != 10*time.Second || status.Failures != 5 {
				t.Errorf("status %+v, want 5 failures and to retry in 10s", status)
			}
		})
	})
	t.Run("failures while half open are not the probe's", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			b, _, release, wait := start(t)
			time.Sleep(30 * time.Second)
			wantState(t, b, HalfOpen)
			close(release)
			wait.Wait()
			wantState(t, b, HalfOpen)
		})
	})
	t.Run("failures after it closed do not open it", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			b, _, release, wait := start(t)
			time.Sleep(30 * time.Second)
			if err := get(b, "good"); err != nil {
				t.Fatal(err)
			}
			close(release)
			wait.Wait()
			wantState(t, b, Closed)
			if failures := b.Status().Failures; failures != 0 {
				t.Errorf("%d failures, want 0", failures)
			}
		})
	})
	t.Run("failures after it closed name nobody as failing", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			b, _, release, wait := start(t)
			time.Sleep(30 * time.Second)
			get(b, "good")
			close(release)
			wait.Wait()
			for range 100 {
				get(b, "a")
			}
			wantState(t, b, Closed)
		})
	})
	t.Run("a 429 while half open does not end the probe", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			b, next, release, wait := start(t)
			next.say(errTooMany, slow...)
			probe := make(chan struct{})
			next.hold["probe"] = probe
			time.Sleep(30 * time.Second)
			wait.Go(func() { get(b, "probe") })
			synctest.Wait()
			close(release)
			synctest.Wait()
			if cutOff(get(b, "good")) == nil {
				t.Error("a second probe beside the first")
			}
			close(probe)
			wait.Wait()
			wantState(t, b, Closed)
		})
	})
	t.Run("an answer closes it", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			b, next, release, wait := start(t)
			next.say(errNo, slow...)
			close(release)
			wait.Wait()
			wantState(t, b, Closed)
		})
	})
}

func TestFailingNamesAreBounded(t *testing.T) {
	b := New("test", &fake{all: errBroken}, Options{Failures: 1_000_000})
	for i := range 2 * maxFailing {
		get(b, fmt.Sprint("n", i))
	}
	if len(b.failing) != maxFailing {
		t.Errorf("%d names held, want %d", len(b.failing), maxFailing)
	}
}

func TestStatusCounts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		next := &fake{}
		next.say(errNo, "no")
		next.say(errTooMany, "many")
		next.say(context.Canceled, "gone")
		next.say(errUnreachable, "down")
		b := New("test", next, Options{Failures: 2})
		for _, name := range []string{"good", "no", "no", "many", "gone", "down", "down", "good", "good"} {
			get(b, name)
		}
		want := Status{
			Name: "test", State: Open, Failures: 2, RetryIn: 30 * time.Second,
			Requests: 8, Unknown: 2, Failed: 3, CutOff: 2,
			LastError: "connection refused", LastErrorAt: time.Now(),
		}
		if got := b.Status(); got != want {
			t.Errorf("got  %+v\nwant %+v", got, want)
		}
	})
}

func TestLogsChangesOfStateAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		next := &fake{all: errBroken}
		next.say(nil, "good")
		b := New("test", next, Options{Log: zerolog.New(&out)})
		for i := range 10 {
			get(b, fmt.Sprint("n", i))
		}
		time.Sleep(30 * time.Second)
		get(b, "n10") // fails: open again
		time.Sleep(30 * time.Second)
		get(b, "good")
		get(b, "good")

		var got []string
		for line := range strings.Lines(out.String()) {
			var event struct {
				Level, Store, From, To, Error string
				Failures, Names               int
				RetryIn                       float64 `json:"retry_in_seconds"`
			}
			if err := json.Unmarshal([]byte(line), &event); err != nil {
				t.Fatal(err)
			}
			got = append(got, fmt.Sprint(event))
		}
		want := []string{
			"{error test closed open 500 Internal Server Error 5 5 30}",
			"{info test open half_open  0 0 0}",
			"{error test half_open open 500 Internal Server Error 6 6 30}",
			"{info test open half_open  0 0 0}",
			"{info test half_open closed  0 0 0}",
		}
		if strings.Join(got, "\n") != strings.Join(want, "\n") {
			t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
	})
}

func TestStateString(t *testing.T) {
	for state, want := range map[State]string{Closed: "closed", Open: "open", HalfOpen: "half_open", 7: "State(7)"} {
		if got := state.String(); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

func TestConcurrentUse(t *testing.T) {
	next := &fake{all: errBroken}
	b := New("test", next, Options{Reset: time.Microsecond})
	var wait sync.WaitGroup
	for i := range 8 {
		wait.Go(func() {
			for j := range 500 {
				get(b, fmt.Sprint("n", (i+j)%5))
				b.Status()
			}
		})
	}
	wait.Wait()
	status := b.Status()
	if status.Requests != 4000 || status.Failed+status.CutOff != 4000 || int(status.Failed) != next.count() {
		t.Errorf("status %+v does not add up with %d asked", status, next.count())
	}
}

// What is no store is cut off alike, and errors and log lines say what it is.
func TestDo(t *testing.T) {
	var out bytes.Buffer
	b := New("https://ask.example", nil, Options{Failures: 2, Names: 1, Kind: "permission", Log: zerolog.New(&out)})
	asked := 0
	ask := func() error { asked++; return errBroken }
	for range 2 {
		if err := b.Do("a", ask); !errors.Is(err, errBroken) {
			t.Fatal(err)
		}
	}
	err := b.Do("b", ask)
	if cutOff(err) == nil || asked != 2 || err.Error() != "permission https://ask.example: breaker open after 2 failures, not asked" {
		t.Errorf("asked %d times, %v", asked, err)
	}
	b.mu.Lock()
	b.reopens = time.Now()
	b.mu.Unlock()
	wantState(t, b, HalfOpen)
	if text := out.String(); strings.Count(text, `"permission":"https://ask.example"`) != 2 || strings.Contains(text, `"store"`) {
		t.Errorf("log: %s", text)
	}
}

// Other limits leave the state as it is: an open breaker stays open as long as it was to.
func TestLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := New("test", &fake{all: errUnreachable}, Options{Failures: 2, Reset: time.Minute})
		fetch := func() { b.Fetch(t.Context(), store.Request{Name: "a.example"}) }
		fetch()
		b.Limit(3, 10*time.Second)
		fetch()
		if got := b.Status().State; got != Closed {
			t.Fatalf("%s after 2 failures of 3", got)
		}
		fetch()
		if got := b.Status(); got.State != Open || got.RetryIn != 10*time.Second {
			t.Fatalf("%+v", got)
		}
		b.Limit(0, 0)
		time.Sleep(9 * time.Second)
		if got := b.Status(); got.State != Open || got.RetryIn != time.Second || got.Failures != 3 {
			t.Fatalf("%+v", got)
		}
		time.Sleep(2 * time.Second)
		fetch()
		if got := b.Status(); got.State != Open || got.RetryIn != defaultReset {
			t.Fatalf("%+v", got)
		}
	})
}
