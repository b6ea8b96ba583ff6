package e2e

import (
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"
)

// isRefusal tells whether a line of the log is about connections refused at once, for a reason.
func isRefusal(reason string) func(entry) bool {
	return func(e entry) bool {
		return strings.Contains(e.text("message"), "limit is reached") && e.text("reason") == reason
	}
}

// wantResetAtAccept makes a connection from an address and checks that it is reset before anything is said.
func (g *gate) wantResetAtAccept(source string) {
	g.t.Helper()
	dialer := net.Dialer{Timeout: patience, LocalAddr: &net.TCPAddr{IP: net.ParseIP(source)}}
	conn, err := dialer.Dial("tcp", g.address)
	if err == nil {
		defer conn.Close()
		conn.SetDeadline(time.Now().Add(patience))
		_, err = conn.Read(make([]byte, 1))
	}
	if !isReset(err) {
		g.t.Errorf("from %s: %v, want a reset", source, err)
	}
}

// A listener takes no more than it may; another goes on, and so does this one when a connection ends.
func TestLimitPerListener(t *testing.T) {
	t.Parallel()
	first, second := freeAddress(t), freeAddress(t)
	w := newWorld(t, fmt.Sprintf("listeners: [{address: %q, limits: {connections: 2}}, {address: %q}]", first, second))
	w.address = first
	open := []*client{w.dial("a.example"), w.dial("a.example")}
	w.wantResetAtAccept("127.0.0.1")
	w.address = second
	for range 4 {
		w.dial("a.example").wantEcho(t, "another listener")
	}
	w.address = first
	open[0].wantEcho(t, "still here")
	if n := w.refusals("limited"); n != 1 {
		t.Errorf("%d are counted, want 1", n)
	}
	w.await("line about the limit", isRefusal("limited"))
	open[0].Close()
	w.eventually("the next one is served", func() bool { return w.serves("a.example") })
}

// A route takes no more than it may, counted when its clients have said what they want: they get an alert.
func TestLimitPerRoute(t *testing.T) {
	t.Parallel()
	w := newWorld(t, `routes:
      - {match: {names: [few.example]}, backend: main, limits: {connections: 2, connections_per_ip: 0}}
      - {match: {names: [each.example]}, backend: main, limits: {connections_per_ip: 1}}
      - {backend: main}`)
	open := []*client{w.dial("few.example"), w.dial("few.example")}
	w.refused("few.example", alertInternalError)
	w.dial("other.example").wantEcho(t, "another route")
	if e := w.access("reason", "limited"); e.text("name") != "few.example" || e.text("route") != "few.example" {
		t.Errorf("logged %v", e)
	}
	open[1].Close()
	w.eventually("the next one is served", func() bool { return w.serves("few.example") })

	w.dial("each.example").wantEcho(t, "the first of this client")
	w.refused("each.example", alertInternalError)
	w.access("reason", "client_connections")
	other, err := dialFrom("127.0.4.1", w.address, "each.example")
	if err != nil {
		t.Fatalf("another client is refused: %v", err)
	}
	defer other.wire.Close()
	other.wantEcho(t, "the first of another client")
}

// A client has no more connections than it may; others are not touched, and it has the next when one ends.
func TestLimitPerClient(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "limits: {connections_per_ip: 2}")
	open := []*client{w.dial("a.example"), w.dial("a.example")}
	w.wantResetAtAccept("127.0.0.1")
	other, err := dialFrom("127.0.4.1", w.address, "a.example")
	if err != nil {
		t.Fatalf("another client is refused: %v", err)
	}
	defer other.wire.Close()
	if n := w.refusals("client_connections"); n != 1 {
		t.Errorf("%d are counted, want 1", n)
	}
	open[0].Close()
	w.eventually("the next one is served", func() bool { return w.serves("a.example") })
}

// A client begins no more connections a second than it may, after a burst.
func TestLimitRate(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "limits: {rate_per_ip: 2, burst_per_ip: 3}")
	for range 3 {
		w.visit("a.example")
	}
	began := time.Now()
	w.wantResetAtAccept("127.0.0.1")
	if c, err := dialFrom("127.0.4.1", w.address, "a.example"); err != nil {
		t.Errorf("another client is refused: %v", err)
	} else {
		c.wire.Close()
	}
	if n := w.refusals("client_rate"); n != 1 {
		t.Errorf("%d are counted, want 1", n)
	}
	w.await("line about the limit", isRefusal("client_rate"))
	w.within(2*time.Second, "it may again", func() bool { return w.serves("a.example") })
	if took := time.Since(began); took < 250*time.Millisecond {
		t.Errorf("after %v", took)
	}
}

// A flood of connections that a limit refuses is counted whole, and is one line a second in the log, which says how many
// it stands for. None of them has a line of its own in the access log.
func TestLimitIsLoggedOnceASecond(t *testing.T) {
	t.Parallel()
	const flood = 300
	w := newWorld(t, "limits: {connections_per_ip: 1}")
	held := w.dial("a.example")
	began := time.Now()
	for range flood {
		if w.wantResetAtAccept("127.0.0.1"); t.Failed() {
			return
		}
	}
	took := time.Since(began)
	time.Sleep(1100 * time.Millisecond)
	w.wantResetAtAccept("127.0.0.1")
	if n := w.refusals("client_connections"); n != flood+1 {
		t.Errorf("%d are counted, want %d", n, flood+1)
	}
	var lines, told int
	w.eventually("the log tells of all of them", func() bool {
		lines, told = 0, 0
		entries, _ := w.log.all()
		for _, e := range entries {
			if isRefusal("client_connections")(e) {
				lines++
				told += 1 + int(e.number("repeated"))
			}
		}
		return told >= flood+1
	})
	if most := int(took/time.Second) + 2; lines < 2 || lines > most || told != flood+1 {
		t.Errorf("%d lines about %d refusals in %v, want at most %d about %d", lines, told, took, most, flood+1)
	}
	if n := w.lines(func(e entry) bool { return e.isAccess() && e.text("reason") == "client_connections" }); n != 0 {
		t.Errorf("%d lines in the access log", n)
	}
	held.wantEcho(t, "still here")
}

// A client behind a trusted proxy is counted by the address that the proxy tells, not by the proxy's.
func TestLimitBehindProxy(t *testing.T) {
	t.Parallel()
	address := freeAddress(t)
	w := newWorld(t, fmt.Sprintf("listeners: [{address: %q, accept_proxy: {from: [127.0.0.1/32]}}]", address), "limits: {connections_per_ip: 1}")
	w.address = address
	connect := func(from string) (*client, error) {
		header := fmt.Sprintf("PROXY TCP4 %s 192.0.2.1 1000 443\r\n", from)
		return handshake(address, "a.example", rewriting(func(to io.Writer, raw []byte) error {
			_, err := to.Write(append([]byte(header), raw...))
			return err
		}))
	}
	for _, from := range []string{"198.51.100.1", "198.51.100.2"} {
		c, err := connect(from)
		if err != nil {
			t.Fatalf("%s: %v", from, err)
		}
		defer c.wire.Close()
	}
	c, err := connect("198.51.100.1")
	if err == nil {
		t.Error("a second connection of one client was served")
	}
	c.wire.Close()
	if e := w.access("reason", "client_connections"); !strings.HasPrefix(e.text("client"), "198.51.100.1:") {
		t.Errorf("logged %v", e)
	}
}

// Each stage has its time, and its reason in the log.
func TestLimitTimeouts(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		limits        string
		stall         func(w *world) *client
		reason, stage string
		least, most   float64 // milliseconds
	}{
		"hello": {
			limits: "hello_timeout: 400ms",
			stall: func(w *world) *client {
				conn := must(net.Dial("tcp", w.address))
				conn.Write([]byte{recordHandshake, 3, 1, 1, 0})
				return &client{wire: &wire{TCPConn: conn.(*net.TCPConn)}}
			},
			reason: "timeout", stage: "hello", least: 350, most: 2000,
		},
		"handshake": {
			limits: "handshake_timeout: 400ms",
			stall:  func(w *world) *client { return &client{wire: stalled(w.t, w.address, "127.0.0.1")} },
			reason: "timeout", stage: "handshake", least: 350, most: 2000,
		},
		"idle": {
			limits: "idle_timeout: 1s",
			stall:  func(w *world) *client { return w.dial("a.example") },
			reason: "idle", stage: "splice", least: 950, most: 3000,
		},
		"half-close": {
			limits: "half_close_timeout: 400ms",
			stall: func(w *world) *client {
				w.backend.does(leave)
				c := w.dial("a.example")
				c.CloseWrite()
				return c
			},
			reason: "idle", stage: "splice", least: 350, most: 2000,
		},
		"life": {
			limits: "life_timeout: 1s, life_jitter: 0%",
			stall: func(w *world) *client {
				c := w.dial("a.example")
				go func() {
					for {
						if _, err := io.WriteString(c, "busy"); err != nil {
							return
						}
						time.Sleep(50 * time.Millisecond)
					}
				}()
				return c
			},
			reason: "lifetime", stage: "splice", least: 950, most: 2500,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, "limits: {"+test.limits+"}")
			c := test.stall(w)
			defer c.wire.Close()
			e := w.access("client", c.wire.LocalAddr().String())
			took := e.number("total_ms")
			if e.text("reason") != test.reason || e.text("stage") != test.stage || took < test.least || took > test.most {
				t.Errorf("ended after %v ms: %v", took, e)
			}
			if n := w.refusals(test.reason); n != 1 {
				t.Errorf("%d are counted for %s, want 1", n, test.reason)
			}
		})
	}
}

// A route's own time-outs hold for its connections, those of the top level for others.
func TestLimitTimeoutsOfRoute(t *testing.T) {
	t.Parallel()
	w := newWorld(t, `routes:
      - {match: {names: [short.example]}, backend: main, limits: {idle_timeout: 1s}}
      - {backend: main}`)
	long, short := w.dial("long.example"), w.dial("short.example")
	if _, err := io.ReadAll(short); !isReset(err) {
		t.Errorf("got %v, want a reset", err)
	}
	if e := w.accessOf(short); e.text("reason") != "idle" {
		t.Errorf("logged %v", e)
	}
	long.wantEcho(t, "still here")
}

// Connections that began together end apart: each life is shorter than life_timeout by another part of life_jitter.
func TestLimitLifeJitter(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "limits: {life_timeout: 2s, life_jitter: 50%}")
	var lives []float64
	for range 8 {
		w.dial("a.example")
	}
	w.eventually("all are over", func() bool { return w.refusals("lifetime") == 8 })
	entries, _ := w.log.all()
	for _, e := range entries {
		if e.isAccess() {
			lives = append(lives, e.number("total_ms"))
		}
	}
	low, high := lives[0], lives[0]
	for _, life := range lives {
		low, high = min(low, life), max(high, life)
	}
	if low < 950 || high > 2800 || high-low < 100 {
		t.Errorf("lived for %.0f ms, want 1 to 2 s, and not all for as long", lives)
	}
}

// stalled begins a handshake for a.example from an address, and never ends it.
func stalled(t testing.TB, address, source string) *wire {
	t.Helper()
	dialer := net.Dialer{Timeout: patience, LocalAddr: &net.TCPAddr{IP: net.ParseIP(source)}}
	conn, err := dialer.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	conn.SetDeadline(time.Now().Add(patience))
	h := newHello("a.example")
	if _, err := conn.Write(h.records(16000)); err != nil {
		t.Fatal(err)
	}
	return &wire{TCPConn: conn.(*net.TCPConn)}
}

// handshaking is how many handshakes are under way.
func (g *gate) handshaking() int {
	g.t.Helper()
	var status struct {
		Connections struct {
			Handshaking int `json:"handshaking"`
		} `json:"connections"`
	}
	g.get("/status", &status)
	return status.Connections.Handshaking
}

// Handshakes beyond limits.handshakes wait for their turn, one of each client in turn: who has a crowd waiting does not
// keep another waiting behind it, nor out of a full queue.
func TestLimitHandshakesQueue(t *testing.T) {
	t.Parallel()
	const most = 4 // under way, and as many in the queue
	w := newWorld(t, fmt.Sprintf("limits: {handshakes: %d, handshake_timeout: 10s}", most))
	w.visit("a.example") // the certificate is there
	var blockers, crowd []*wire
	for range most {
		blockers = append(blockers, stalled(t, w.address, "127.0.5.1"))
	}
	w.eventually("the handshakes are under way", func() bool { return w.handshaking() == most })
	for range most {
		crowd = append(crowd, stalled(t, w.address, "127.0.5.2"))
		time.Sleep(20 * time.Millisecond) // they wait in their order
	}
	done := make(chan error, 1)
	go func() {
		c, err := dialFrom("127.0.5.3", w.address, "a.example")
		if err == nil {
			c.wire.Close()
		}
		done <- err
	}()
	if e := w.access("reason", "limited"); e.text("client") != crowd[most-1].LocalAddr().String() {
		t.Errorf("for the other client's sake %v was refused, want the latest of the crowd", e)
	}
	select {
	case err := <-done:
		t.Fatalf("served while there are as many handshakes as there may be: %v", err)
	case <-time.After(200 * time.Millisecond):
	}
	blockers[0].Close()
	if _, err := crowd[0].Read(make([]byte, 1)); err != nil {
		t.Errorf("the first of the crowd, whose turn it is: %v", err)
	}
	select {
	case err := <-done:
		t.Fatalf("served out of turn: %v", err)
	case <-time.After(100 * time.Millisecond):
	}
	blockers[1].Close()
	select {
	case err := <-done:
		if err != nil {
			t.Errorf("the other client: %v", err)
		}
	case <-time.After(5 * time.Second):
		t.Error("the other client waits behind the second of the crowd")
	}
}

// Who waits for a turn for too long is refused, and so is the latest of a full queue, at once.
func TestLimitHandshakesQueueIsBounded(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "limits: {handshakes: 1, handshake_timeout: 1s}")
	w.visit("a.example")
	stalled(t, w.address, "127.0.5.1")
	w.eventually("a handshake is under way", func() bool { return w.handshaking() == 1 })
	waits := stalled(t, w.address, "127.0.5.1") // the queue has room for as many as there may be handshakes
	time.Sleep(50 * time.Millisecond)
	if c, err := handshake(w.address, "a.example", maxVersion(tls.VersionTLS13)); err == nil || c.wire.alert() != alertInternalError {
		t.Errorf("the queue is full: %v, alert %d", err, c.wire.alert())
	}
	if e := w.access("reason", "limited"); e.text("stage") != "handshake" || !strings.Contains(e.text("error"), "too many handshakes") {
		t.Errorf("logged %v", e)
	}
	if e := w.access("client", waits.LocalAddr().String()); e.text("reason") != "timeout" || e.text("stage") != "handshake" {
		t.Errorf("logged %v", e)
	}
	w.eventually("all is well again", func() bool { return w.serves("a.example") })
}
