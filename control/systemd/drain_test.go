package systemd

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

func TestDrain(t *testing.T) {
	m := newManager(t, false)
	n := m.notifier()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 2*drainTick+time.Second)
		defer cancel()
		left := 3
		n.Drain(ctx, func() string { left--; return fmt.Sprintf("%d connections", left) }, func(err error) { t.Error(err) })
	})
	for left := 2; left >= 0; left-- {
		want := []string{"STOPPING=1", "EXTEND_TIMEOUT_USEC=20000000", fmt.Sprintf("STATUS=%d connections", left)}
		if got := lines(m.next(time.Second, true)); !slices.Equal(got, want) {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	if got := m.next(10*time.Millisecond, true); got != "" {
		t.Errorf("and then %q", got)
	}
}
