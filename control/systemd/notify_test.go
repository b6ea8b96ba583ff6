package systemd

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestMessages(t *testing.T) {
	m := newManager(t, false)
	n := m.notifier()
	for _, c := range []struct {
		name string
		send func() error
		want string
	}{
		{"ready", func() error { return n.Ready("2 listeners") }, "READY=1\nSTATUS=2 listeners"},
		{"status of one line", func() error { return n.Status("a\nSTOPPING=1\r\nb\xff") }, "STATUS=a STOPPING=1  b?"},
		{"stopping", func() error { return n.Stopping("3 connections") }, "STOPPING=1\nSTATUS=3 connections"},
		{"more time", func() error { return n.ExtendTimeout(1500 * time.Millisecond) }, "EXTEND_TIMEOUT_USEC=1500000"},
		{"taking over", func() error { return n.TakeOver("on") }, fmt.Sprintf("MAINPID=%d\nREADY=1\nSTATUS=on", os.Getpid())},
	} {
		if err := c.send(); err != nil {
			t.Errorf("%s: %v", c.name, err)
		}
		if got := m.next(time.Second, true); got != c.want {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
}

// The time of a reload is the kernel's, not the wall clock's, and in the same message.
func TestReloading(t *testing.T) {
	m := newManager(t, false)
	var before, after unix.Timespec
	unix.ClockGettime(unix.CLOCK_MONOTONIC, &before)
	if err := m.notifier().Reloading(); err != nil {
		t.Fatal(err)
	}
	unix.ClockGettime(unix.CLOCK_MONOTONIC, &after)
	text := m.next(time.Second, true)
	number, found := strings.CutPrefix(text, "RELOADING=1\nMONOTONIC_USEC=")
	at, err := strconv.ParseInt(number, 10, 64)
	if !found || err != nil || at < before.Nano()/1000 || at > after.Nano()/1000 {
		t.Errorf("%q, where the time is %d to %d", text, before.Nano()/1000, after.Nano()/1000)
	}
}

func TestNewNotifier(t *testing.T) {
	own := strconv.Itoa(os.Getpid())
	for _, c := range []struct {
		name, socket, interval, pid string
		watchdog                    time.Duration
		want                        string // of the error
		none                        bool
	}{
		{name: "no manager", none: true},
		{name: "no manager, but a watchdog", interval: "1000", none: true},
		{name: "path", socket: "/run/x"},
		{name: "abstract", socket: "@x"},
		{name: "relative", socket: "x", none: true, want: "no address"},
		{name: "virtual machine", socket: "vsock:2:1", none: true, want: "no address"},
		{name: "only an at", socket: "@", none: true, want: "no address"},
		{name: "watchdog", socket: "/x", interval: "30000000", watchdog: 30 * time.Second},
		{name: "watchdog of this process", socket: "/x", interval: "1000000", pid: own, watchdog: time.Second},
		{name: "watchdog of another", socket: "/x", interval: "1000000", pid: "1"},
		{name: "no interval", socket: "/x", interval: "soon", want: "no number of microseconds"},
		{name: "zero", socket: "/x", interval: "0", want: "no number of microseconds"},
		{name: "negative", socket: "/x", interval: "-1", want: "no number of microseconds"},
		{name: "too long", socket: "/x", interval: "9223372036854775807", want: "no number of microseconds"},
	} {
		t.Run(c.name, func(t *testing.T) {
			for variable, value := range map[string]string{socketVariable: c.socket, watchdogVariable: c.interval, watchdogPIDVariable: c.pid} {
				t.Setenv(variable, value)
			}
			n, err := NewNotifier()
			if (n == nil) != c.none || (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
				t.Fatalf("%v, %v", n, err)
			}
			if n != nil && n.watchdog != c.watchdog {
				t.Errorf("watchdog %s, want %s", n.watchdog, c.watchdog)
			}
			for _, variable := range []string{socketVariable, watchdogVariable, watchdogPIDVariable} {
				if _, left := os.LookupEnv(variable); left {
					t.Errorf("%s is left", variable)
				}
			}
		})
	}
}

// What a process gives to the one that takes over makes a Notifier like its own there.
func TestEnvironment(t *testing.T) {
	m := newManager(t, false)
	t.Setenv(watchdogVariable, "5000000")
	t.Setenv(watchdogPIDVariable, strconv.Itoa(os.Getpid()))
	environment := m.notifier().Environment()
	if want := []string{socketVariable + "=" + m.name, watchdogVariable + "=5000000"}; !slices.Equal(environment, want) {
		t.Errorf("%q, want %q", environment, want)
	}
}

func TestHandOver(t *testing.T) {
	m := newManager(t, false)
	n := m.notifier()
	done := make(chan error, 1)
	go func() { done <- n.HandOver(4711) }()
	if got := m.next(time.Second, true); got != "MAINPID=4711" {
		t.Errorf("first message %q", got)
	}
	select {
	case err := <-done:
		t.Fatalf("did not wait for the manager: %v", err)
	case <-time.After(20 * time.Millisecond):
	}
	if got := m.next(time.Second, true); got != "BARRIER=1" {
		t.Errorf("second message %q", got)
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
	for _, err := range []error{n.Ready("x"), n.Stopping("x"), n.Status("x"), n.Reloading(), n.ExtendTimeout(1)} {
		if err != nil {
			t.Error(err)
		}
	}
	if got := m.next(20*time.Millisecond, true); got != "" {
		t.Errorf("said %q after it had handed over", got)
	}
}

// A manager that keeps the descriptor of the barrier, or takes no message, is not waited for without end.
func TestManagerHangs(t *testing.T) {
	m := newManager(t, false)
	n := m.notifier()
	go func() {
		m.next(time.Second, false)
		m.next(time.Second, false)
	}()
	start := time.Now()
	if err := n.HandOver(4711); err == nil || !strings.Contains(err.Error(), "does not say") {
		t.Errorf("barrier: %v", err)
	}
	n = &Notifier{address: n.address}
	var err error
	for range 2000 { // until its queue is full
		if err = n.Status("x"); err != nil {
			break
		}
	}
	if !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("full: %v", err)
	}
	if took := time.Since(start); took > 3*sendTimeout {
		t.Errorf("took %s", took)
	}
}

func TestManagerIsGone(t *testing.T) {
	m := newManager(t, false)
	n := m.notifier()
	m.conn.Close()
	for _, err := range []error{n.Ready("x"), n.Status("x"), n.HandOver(1)} {
		if err == nil || !strings.Contains(err.Error(), "tell the service manager") {
			t.Errorf("error %v", err)
		}
	}
}

func TestNoManager(t *testing.T) {
	var n *Notifier
	for _, err := range []error{n.Ready("x"), n.Stopping("x"), n.Status("x"), n.Reloading(), n.ExtendTimeout(1), n.TakeOver("x"), n.HandOver(1)} {
		if err != nil {
			t.Error(err)
		}
	}
	if n.Environment() != nil {
		t.Error("an environment")
	}
	n.Watch(t.Context(), func() bool { t.Error("asked"); return true }, nil)
	n.Drain(t.Context(), func() string { t.Error("asked"); return "" }, nil)
}

func TestWatch(t *testing.T) {
	m := newManager(t, false)
	n := m.notifier()
	n.watchdog = 20 * time.Millisecond
	var well atomic.Bool
	var asked atomic.Int32
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		n.Watch(ctx, func() bool { asked.Add(1); return well.Load() }, func(err error) { t.Error(err) })
	}()
	for asked.Load() < 3 {
		time.Sleep(time.Millisecond)
	}
	if got := m.next(50*time.Millisecond, true); got != "" {
		t.Errorf("said %q of a service that is not well", got)
	}
	well.Store(true)
	for range 3 {
		if got := m.next(time.Second, true); got != "WATCHDOG=1" {
			t.Errorf("said %q", got)
		}
	}
	cancel()
	<-ended
}

// A sign of life that can't be given is told of, and the next one tried.
func TestWatchGoesOn(t *testing.T) {
	m := newManager(t, false)
	n := m.notifier()
	n.watchdog = 2 * time.Millisecond
	m.conn.Close()
	ctx, cancel := context.WithCancel(t.Context())
	failures := 0
	n.Watch(ctx, func() bool { return true }, func(error) {
		if failures++; failures == 3 {
			cancel()
		}
	})
	if failures != 3 {
		t.Errorf("%d failures", failures)
	}
}
