package cache

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"hellogate/store"
)

// leave is a Permission that says what a test sets by name, yes unless it does, and remembers it.
type leave struct {
	answers map[string]error
	known   map[string]bool
	asked   int
}

func (l *leave) Ask(_ context.Context, name string) error {
	l.asked++
	err := l.answers[name]
	if err == nil || errors.Is(err, store.ErrUnknown) {
		l.known[name] = err == nil
	}
	return err
}

func (l *leave) Recall(name string) (permitted, known bool) {
	permitted, known = l.known[name]
	return permitted, known
}

func (l *leave) ForgetFunc(takes func(string) bool) (forgotten []string) {
	for name := range l.known {
		if takes(name) {
			delete(l.known, name)
			forgotten = append(forgotten, name)
		}
	}
	return forgotten
}

// A name gets no further than its permission does; what has a certificate needs none.
func TestPermission(t *testing.T) {
	denied, down := fmt.Errorf("denied: %w", store.ErrUnknown), errors.New("endpoint is down")
	permission := &leave{answers: map[string]error{"denied.example": denied, "down.example": down}, known: map[string]bool{}}
	run(t, func(o *Options) { o.Permission = permission }, func(t *testing.T, l *lab) {
		fine := l.stock("fine.example")
		l.stock("denied.example")
		l.stock("down.example")
		l.explained("fine.example", Step{"permission", "would be asked"}, Step{"store", "would be asked"})
		l.serves("fine.example", fine, Miss)
		permission.answers["fine.example"] = denied
		l.serves("fine.example", fine, Hit)
		l.refuses("denied.example", store.ErrUnknown)
		l.explained("denied.example", Step{"permission", "no, as remembered"})
		l.refuses("down.example", down)
		if permission.asked != 3 {
			t.Errorf("permission was asked %d times, want 3", permission.asked)
		}
		l.asked("denied.example", 0)
		l.asked("down.example", 0)
		l.sleep(l.options.NegativeTTL)
		l.explained("denied.example", Step{"fetch under way", "no"}, Step{"permission", "no, as remembered"})
		if flushed, _ := l.Flush("fine.example", "denied.example"); !slices.Equal(flushed, []string{"denied.example", "fine.example"}) || len(permission.known) > 0 {
			t.Errorf("flushed %q, and %v is still known", flushed, permission.known)
		}
	})
}

// explained fails the test unless the explanation of a name ends with steps.
func (l *lab) explained(name string, want ...Step) {
	l.t.Helper()
	if got := l.Explain(name); len(got) < len(want) || !slices.Equal(got[len(got)-len(want):], want) {
		l.t.Errorf("%s: explained by %v, want %v at the end", name, got, want)
	}
}

// remembering is a leave that asks nobody what it knows.
type remembering struct{ *leave }

func (r remembering) Ask(ctx context.Context, name string) error {
	if permitted, known := r.Recall(name); known && !permitted {
		return fmt.Errorf("denied before: %w", store.ErrUnknown)
	}
	return r.leave.Ask(ctx, name)
}

// A name that is fetched ahead gets its permission asked for anew: this is how a new customer is brought in.
func TestPrefetchAsksForPermissionAnew(t *testing.T) {
	permission := remembering{&leave{answers: map[string]error{}, known: map[string]bool{"new.example": false}}}
	run(t, func(o *Options) { o.Permission = permission }, func(t *testing.T, l *lab) {
		l.stock("new.example")
		if result, reason := l.Prefetch(t.Context(), "new.example"); result != "fetched" {
			t.Fatal(result, reason)
		}
		if permission.asked != 1 {
			t.Errorf("permission was asked %d times, want 1", permission.asked)
		}
	})
}

// While permission can't be asked that is logged once a minute, whatever is asked for.
func TestPermissionOutageIsLoggedOnceAMinute(t *testing.T) {
	permission := &leave{answers: map[string]error{}, known: map[string]bool{}}
	run(t, func(o *Options) { o.Permission = permission }, func(t *testing.T, l *lab) {
		for i := range 300 {
			permission.answers[nameOf(i)] = errDown
		}
		for minute := range 3 {
			for i := range 100 {
				l.refuses(nameOf(100*minute+i), errDown)
			}
			l.logged(minute+1, `"level":"warn"`, "fetch failed", "permission could not be asked")
			l.logged(0, `"level":"error"`)
			l.sleep(time.Minute + time.Second)
		}
		l.asked("", 0)
		l.shelf.set("down.example", failing(errDown))
		l.refuses("down.example", errDown)
		l.logged(1, `"level":"warn"`, "fetch failed", "down.example") // which permission has nothing to do with
	})
}
