package systemd

import (
	"context"
	"fmt"
	"time"
)

// Watch tells the service manager twice as often as it wants to hear it that the service is well, whenever well says so, until
// ctx is done. It returns at once where nobody watches. Failed gets the error of each message that can't be sent.
//
// What well asks should be what could hang. While it hangs, nothing is told.
func (n *Notifier) Watch(ctx context.Context, well func() bool, failed func(error)) {
	if n == nil || n.watchdog == 0 {
		return
	}
	every(ctx, n.watchdog/2, func() {
		if !well() {
			return
		}
		if err := n.send("WATCHDOG=1"); err != nil {
			failed(err)
		}
	})
}

const (
	drainTick = 5 * time.Second
	// drainMore is what is asked for at each tick, which may come late.
	drainMore = 20 * time.Second
)

// Drain says that the service has begun to end, and asks for more time to do so again and again until ctx is done, with a
// status that says what is waited for. Ctx should have a deadline: a service that hangs as it ends is to be killed. Failed gets
// the error of each message that can't be sent.
func (n *Notifier) Drain(ctx context.Context, status func() string, failed func(error)) {
	if n == nil {
		return
	}
	every(ctx, drainTick, func() {
		more := fmt.Sprintf("EXTEND_TIMEOUT_USEC=%d", drainMore.Microseconds())
		if err := n.send("STOPPING=1", more, statusLine(status())); err != nil {
			failed(err)
		}
	})
}

// every calls do at once and then at each tick, until ctx is done.
func every(ctx context.Context, tick time.Duration, do func()) {
	ticker := time.NewTicker(tick)
	defer ticker.Stop()
	for ctx.Err() == nil {
		do()
		select {
		case <-ticker.C:
		case <-ctx.Done():
		}
	}
}
