package handover

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"
)

// What goes wrong before the new process is ready leaves the old one as it was, and no process behind.
func TestUpgradeFails(t *testing.T) {
	short := func(b *bench) { b.options.Timeout = 300 * time.Millisecond }
	for _, c := range []struct {
		role     string
		change   func(*bench)
		released bool
		want     string
	}{
		{role: "exits", want: "as it starts: it has ended: exit status 3"},
		{role: "panics", want: "as it starts: it has ended: exit status 2"},
		{role: "hangs", change: short, want: "not done within 300ms"},
		{role: "deaf", want: "it has ended: signal: killed"},
		{role: "garbage", want: "a message of 1414811695 bytes"},
		{role: "huge", want: "a message of 4294967295 bytes"},
		{role: "stranger", want: "does not speak version 1"},
		{role: "hasty", want: `a message of kind 'r' in place of 'a'`},
		{role: "refuses", want: `as it starts: listeners[0].address: "x": no such thing`},
		{role: "refuses and hangs", want: "as it starts: no"},
		{role: "refuses late", released: true, want: "as it takes over: cache.dir: in use"},
		{role: "exits late", released: true, want: "as it takes over: it has ended: exit status 4"},
		{role: "hangs late", change: short, released: true, want: "not done within 300ms"},
		{
			role: "good", released: true, want: "let go of what",
			change: func(b *bench) {
				b.options.Release = func(context.Context) (State, error) {
					b.released.Add(1)
					return State{}, errors.New("the disk is stuck")
				}
			},
		},
		{
			role: "good", released: true, want: "has no descriptor",
			change: func(b *bench) { b.front = struct{ net.Listener }{b.front} },
		},
		{
			role: "good", released: true, want: "where 67108864 may be",
			change: func(b *bench) { b.state.Sections = map[string][]byte{"big": make([]byte, MaxState+1)} },
		},
		{
			role: "good", want: "start /nowhere/hellogate: ",
			change: func(b *bench) { b.options.Program.Path = "/nowhere/hellogate" },
		},
	} {
		t.Run(c.role+" "+c.want, func(t *testing.T) {
			t.Parallel()
			b := newBench(t, c.role, c.change)
			upgrader := NewUpgrader(b.options)
			_, err := upgrader.Upgrade(t.Context())
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Fatalf("error %v, want one with %q", err, c.want)
			}
			if pid := pidIn(err); pid != 0 && alive(pid) {
				t.Errorf("process %d lives on", pid)
			}
			want := int32(0)
			if c.released {
				want = 1
			}
			if released, resumed := b.released.Load(), b.resumed.Load(); released != want || resumed != want {
				t.Errorf("released %d times and resumed %d times, want %d", released, resumed, want)
			}
			acceptsHere(t, b)
		})
	}
}

// pidIn is the process id that an error names.
func pidIn(err error) (pid int) {
	_, after, _ := strings.Cut(err.Error(), "new process ")
	fmt.Sscan(strings.TrimRight(strings.Fields(after + " 0")[0], ",:"), &pid)
	return pid
}

// acceptsHere checks that connections come to this process.
func acceptsHere(t *testing.T, b *bench) {
	t.Helper()
	conn, err := net.Dial("tcp", b.address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	accepted, err := b.front.Accept()
	if err != nil {
		t.Fatal(err)
	}
	accepted.Close()
}
