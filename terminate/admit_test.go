package terminate

import (
	"bytes"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"hellogate/terminate/limit"
	"hellogate/terminate/proxyproto"
	"hellogate/terminate/socket"
)

func countOf(most int) *limit.Count {
	count := new(limit.Count)
	count.SetLimit(most)
	return count
}

// Every limit lets in so many and no more, says why in a counter of its own, and lets in the next when one has gone.
func TestLimitsOfConnections(t *testing.T) {
	for _, test := range []struct {
		name   string
		change func(*setup)
		reason Reason
		alert  bool // the client is told, because it was known only with its hello
	}{
		{"of all", func(o *setup) { o.Limits.Connections = 2 }, ReasonLimited, false},
		{"of the listener", func(o *setup) { o.Listeners[0].Connections = countOf(2) }, ReasonLimited, false},
		{"of a client", func(o *setup) { o.Limits.Client = limit.Rules{Connections: 2} }, ReasonClientConnections, false},
		{"of the route", func(o *setup) { o.Route.Connections = countOf(2) }, ReasonLimited, true},
		{"of a client on the route", func(o *setup) { o.Route.Clients = limit.NewClients(limit.Rules{Connections: 2}) }, ReasonClientConnections, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			log := &events{}
			b := startServer(t, func(o *setup) { test.change(o); o.Log = zerolog.New(log) })
			first, backend := b.pair()
			b.pair()
			for range 3 {
				_, err := b.dial("a.test", nil)
				if test.alert {
					wantAlert(t, err, AlertInternalError)
					b.wantReason(test.reason)
				} else if err == nil {
					t.Error("a third connection was served")
				}
			}
			b.want("they are counted by reason", func() bool { return b.server.Stats().Refused[string(test.reason)] == 3 })
			if said := log.count("refused"); !test.alert && said != 1 {
				t.Errorf("it was said %d times", said)
			}
			first.Close()
			backend.Close()
			b.wantReason(ReasonOK)
			b.want("there is room", func() bool { return b.server.Stats().Active == 1 })
			b.pair()
			if err := b.stop(); err == nil {
				t.Error("two were open")
			}
			b.wantNothingCounted()
		})
	}
}

// events are the lines of a log.
type events struct {
	mutex sync.Mutex
	bytes.Buffer
}

func (e *events) Write(p []byte) (int, error) {
	e.mutex.Lock()
	defer e.mutex.Unlock()
	return e.Buffer.Write(p)
}

func (e *events) count(text string) int {
	e.mutex.Lock()
	defer e.mutex.Unlock()
	return strings.Count(e.String(), text)
}

// How fast a client may come is limited whether its connections stay or go.
func TestLimitOfRate(t *testing.T) {
	b := startServer(t, func(o *setup) { o.Limits.Client = limit.Rules{Rate: 0.01, Burst: 3} })
	for range 3 {
		client, backend := b.pair()
		client.Close()
		backend.Close()
		b.wantReason(ReasonOK)
	}
	if _, err := b.dial("a.test", nil); err == nil {
		t.Error("a fourth was served")
	}
	b.want("it is counted", func() bool { return b.server.Stats().Refused[string(ReasonClientRate)] == 1 })
	b.wantNothingCounted()
}

// Who is refused at once is reset, and not told anything.
func TestRefusedAtOnce(t *testing.T) {
	b := startServer(t, func(o *setup) { o.Limits.Client = limit.Rules{Rate: 0.01, Burst: 1} })
	b.pair()
	raw, err := net.Dial("tcp", b.address)
	if errors.Is(err, syscall.ECONNRESET) {
		return // already
	}
	defer raw.Close()
	_ = raw.SetDeadline(time.Now().Add(10 * time.Second))
	if got, err := io.ReadAll(raw); len(got) > 0 || !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("%x: %v", got, err)
	}
}

// A client that comes once has its turn next to the first of another's crowd.
func TestGateIsFair(t *testing.T) {
	b := behindProxy(t, func(o *setup) { o.Limits.Handshakes = 1 })
	var mutex sync.Mutex
	var order []string
	var group sync.WaitGroup
	wait := func(source string) {
		raw := b.raw()
		mustWrite(t, raw, headerOf(t, proxyproto.V2, source))
		group.Go(func() {
			if _, err := b.handshake(raw, &tls.Config{ServerName: "a.test"}); err != nil {
				t.Error(err)
			}
			mutex.Lock()
			defer mutex.Unlock()
			order = append(order, source)
		})
	}
	stalled := b.raw()
	mustWrite(t, stalled, append(headerOf(t, proxyproto.V2, "192.0.2.9:1"), helloFor("a.test", nil)...))
	b.want("the gate is taken", func() bool { return b.server.Stats().Handshaking == 1 })
	const crowd = 8
	for n := range crowd {
		wait("192.0.2.1:1")
		b.want("one more waits", func() bool { return b.server.Stats().Waiting == int64(n+1) })
	}
	wait("192.0.2.2:1")
	b.want("it waits, too", func() bool { return b.server.Stats().Waiting == crowd+1 })
	stalled.Close()
	group.Wait()
	if at := slices.Index(order, "192.0.2.2:1"); at > 3 { // the second to have its turn, but who notes it first is chance
		t.Errorf("it came after %d others", at)
	}
	b.server.Kill(all)
	b.wantNothingCounted()
}

// A client whose turn does not come in time is told so; one that goes away meanwhile takes nobody's.
func TestGateTimeout(t *testing.T) {
	b := startServer(t, func(o *setup) {
		o.Limits.Handshakes, o.Timeouts.Handshake = 1, 2*time.Second
		hasty := *o.Route
		hasty.Timeouts.Handshake = 300 * time.Millisecond
		o.Plan.Routes = routesOf(t, map[string]*Route{"a.test": o.Route, "b.test": &hasty})
	})
	stalled := b.raw()
	mustWrite(t, stalled, helloFor("a.test", nil))
	b.want("the gate is taken", func() bool { return b.server.Stats().Handshaking == 1 })
	_, err := b.dial("b.test", nil)
	wantAlert(t, err, AlertInternalError)
	if line := b.line(); line["reason"] != "timeout" || line["stage"] != "handshake" {
		t.Errorf("line %v", line)
	}
	gone := b.raw()
	mustWrite(t, gone, helloFor("a.test", nil))
	b.want("one waits", func() bool { return b.server.Stats().Waiting == 1 })
	abort(t, gone)
	b.wantReason(ReasonClientReset)
	stalled.Close()
	b.line()
	b.wantNothingCounted()
}

// The life of a connection ends whatever moves, by a reset on both sides.
func TestLifetime(t *testing.T) {
	b := startServer(t, func(o *setup) { o.Timeouts.Life, o.Timeouts.LifeJitter = 600*time.Millisecond, 0.5 })
	client, backend := b.pair()
	began := time.Now()
	go func() { _, _ = io.Copy(backend, backend) }()
	go func() {
		for {
			if _, err := client.Write([]byte(".")); err != nil {
				return
			}
			time.Sleep(10 * time.Millisecond)
		}
	}()
	if _, err := io.Copy(io.Discard, client); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("ended with %v", err)
	}
	if took := time.Since(began); took < 200*time.Millisecond || took > 5*time.Second {
		t.Errorf("it lived for %v", took)
	}
	b.wantReason(ReasonLifetime)
	b.wantNothingCounted()
}

// reset is a connection that is only told to go.
type reset struct {
	socket.Conn
	aborted int
}

func (*reset) Remote() netip.AddrPort { return netip.MustParseAddrPort("192.0.2.1:1") }
func (r *reset) Abort()               { r.aborted++ }

// A flood costs no memory: nothing is made for those who are refused at once.
func TestRefusalAllocatesNothing(t *testing.T) {
	plan := &Plan{Limits: Limits{Connections: 10, Client: limit.Rules{Connections: 1}}}
	s := New(Options{Log: zerolog.New(io.Discard)}, plan)
	in, conn := &entrance{plan, &Listener{Name: "front"}}, &reset{}
	if why := s.clients.Take(conn.Remote().Addr()); why != limit.Pass {
		t.Fatal(why)
	}
	if n := testing.AllocsPerRun(1000, func() { s.take(in, conn) }); n > 0 || conn.aborted != 1001 {
		t.Errorf("%v allocations, %d aborted", n, conn.aborted)
	}
	if refused := s.Stats().Refused[string(ReasonClientConnections)]; refused != 1001 || s.Stats().Active != 0 {
		t.Errorf("%d refused, %d open", refused, s.Stats().Active)
	}
}

// What a flood costs besides the system calls.
func BenchmarkRefusal(b *testing.B) {
	plan := &Plan{Limits: Limits{Connections: 10, Client: limit.Rules{Connections: 1}}}
	s := New(Options{Log: zerolog.New(io.Discard)}, plan)
	in, conn := &entrance{plan, &Listener{Name: "front"}}, &reset{}
	s.clients.Take(conn.Remote().Addr())
	b.ReportAllocs()
	for b.Loop() {
		s.take(in, conn)
	}
}
