package e2e

import (
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// oracle is a server that answers checks as told. Clients' connections it echoes.
type oracle struct {
	address string
	mu      sync.Mutex
	answer  func() string
}

// newOracle starts one that answers each check with what answer gives.
func newOracle(t testing.TB, answer func() string) *oracle {
	t.Helper()
	o := &oracle{answer: answer}
	b := newBackend(t, func(p *peer) {
		if !p.header.Local {
			tellsItself(p)
			return
		}
		defer p.Close()
		question := make([]byte, 4)
		if _, err := io.ReadFull(p, question); err != nil || string(question) != "ask\n" {
			t.Errorf("a check asked %q: %v", question, err)
		}
		o.mu.Lock()
		defer o.mu.Unlock()
		io.WriteString(p, o.answer())
	})
	o.address = b.address
	return o
}

// says sets the answer from now on.
func (o *oracle) says(text string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.answer = func() string { return text }
}

func well() string { return "all is well\n" }

// asksOracle is YAML for checks that ask an oracle.
func asksOracle(more string) string {
	return `backends: {main: {health: {interval: 50ms, timeout: 500ms, send: "ask\n", expect: "is well", ` + more + "}}}"
}

// A server that does not take connections is down until it does; it gets none meanwhile.
func TestHealthTCP(t *testing.T) {
	t.Parallel()
	servers := newBackends(t, 2)
	g := start(t, usesStore(newStore(t)), serversOf(servers), checked)
	servers[0].stop()
	g.awaitState("down", servers[0].address)
	down := g.serverAt(servers[0].address)
	if !strings.Contains(down.Reason, "connection refused") || down.CheckError == "" {
		t.Errorf("down without the reason: %+v", down)
	}
	for range 6 {
		if got := g.reached("a.example"); got != servers[1].address {
			t.Errorf("got to %s", got)
		}
	}
	if after := g.serverAt(servers[0].address); after.Total != down.Total {
		t.Errorf("a server that is down was tried %d times", after.Total-down.Total)
	}
	servers[0].start()
	g.awaitState("up", servers[0].address)
	g.eventually("it is used again", func() bool { return g.reached("a.example") == servers[0].address })
}

// Three bad checks in a row take a server out and two good ones bring it back, not one fewer.
func TestHealthRiseAndFall(t *testing.T) {
	t.Parallel()
	answers := strings.Split("+ - - + - - - + - + +", " ")
	want := strings.Split("up up up up up up up down down down down up", " ") // before each of them, and after the last
	var gate *gate
	var states []string
	ready, done := make(chan struct{}), make(chan struct{})
	o := newOracle(t, nil)
	o.answer = func() string {
		<-ready
		if len(states) < len(want) {
			states = append(states, gate.serverAt(o.address).State)
		}
		switch n := len(states) - 1; {
		case n == len(answers):
			select {
			case <-done:
			default:
				close(done)
			}
		case answers[n] == "-":
			return "not now\n"
		}
		return well()
	}
	slow := "backends: {main: {health: {timeout: 10s}}}" // the oracle asks for the state before it answers
	gate = start(t, usesStore(newStore(t)), usesBackend(o.address), asksOracle("rise: 2, fall: 3"), slow)
	close(ready)
	select {
	case <-done:
	case <-time.After(patience):
		t.Fatal("there were too few checks")
	}
	if !slices.Equal(states, want) {
		t.Errorf("after the answers %v the server was\n%v, want\n%v", answers, states, want)
	}
}

// A server that takes connections but gives another answer is down, and the reason quotes it. What is sent and expected
// may be binary.
func TestHealthSendExpect(t *testing.T) {
	t.Parallel()
	for name, check := range map[string]string{
		"text": `send: "ask\n", expect: "is well"`,
		"hex":  "send: hex:61736b0a, expect: hex:69732077656c6c",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := newOracle(t, well)
			g := start(t, usesStore(newStore(t)), usesBackend(o.address),
				inMain("health: {interval: 50ms, timeout: 500ms, rise: 1, fall: 1, "+check+"}"))
			g.eventually("a check has succeeded", func() bool { return g.lastCheck(o.address) == "" })
			g.awaitState("up", o.address)
			o.says("-LOADING\x1b[2J\n")
			g.awaitState("down", o.address)
			if reason := g.serverAt(o.address).Reason; !strings.Contains(reason, "LOADING") || strings.Contains(reason, "\x1b") {
				t.Errorf("the reason is %q", reason)
			}
			o.says(well())
			g.awaitState("up", o.address)
		})
	}
}

// lastCheck is what the last check of a server failed with, "none" before there was one.
func (g *gate) lastCheck(address string) string {
	g.t.Helper()
	var all struct {
		Backends []struct {
			Servers []struct {
				Address   string     `json:"address"`
				CheckedAt *time.Time `json:"checked_at"`
				Error     string     `json:"check_error"`
			} `json:"servers"`
		} `json:"backends"`
	}
	g.get("/backends", &all)
	for _, server := range all.Backends[0].Servers {
		if server.Address == address && server.CheckedAt != nil {
			return server.Error
		}
	}
	return "none"
}

// A server that never answers is down when the time for a check is over.
func TestHealthTimeout(t *testing.T) {
	t.Parallel()
	servers := newBackends(t, 1)
	silent := newBackend(t, func(p *peer) { io.Copy(io.Discard, p); p.Close() })
	g := start(t, usesStore(newStore(t)), usesBackend(silent.address, servers[0].address),
		inMain(`health: {interval: 50ms, timeout: 200ms, rise: 1, fall: 2, send: "ask\n", expect: "127.0.0.1"}`))
	g.awaitState("down", silent.address)
	g.awaitState("up", servers[0].address)
	if reason := g.serverAt(silent.address).Reason; !strings.Contains(reason, "timeout") {
		t.Errorf("the reason is %q", reason)
	}
}

// Redis is asked what Redis understands.
func TestHealthRedis(t *testing.T) {
	t.Parallel()
	path, address := program(t, "redis-server"), freeAddress(t)
	_, port, _ := net.SplitHostPort(address)
	startPeer(t, address, path, "--port", port, "--bind", "127.0.0.1", "--save", "", "--dir", shortFolder(t))
	silent := newBackends(t, 1)[0]
	silent.expectsNoHeader()
	g := start(t, usesStore(newStore(t)), usesBackend(address, silent.address),
		inMain(`send_proxy: off, health: {interval: 50ms, timeout: 500ms, rise: 1, fall: 1, send: "PING\r\n", expect: "+PONG"}`))
	g.awaitState("down", silent.address)
	g.awaitState("up", address)
	c := g.dial("redis.example")
	io.WriteString(c, "ECHO hello\r\n")
	answer := make([]byte, len("$5\r\nhello\r\n"))
	if _, err := io.ReadFull(c, answer); err != nil || string(answer) != "$5\r\nhello\r\n" {
		t.Errorf("Redis answered %q: %v", answer, err)
	}
}

// A check goes the way that connections go: behind a PROXY header, and over TLS. HAProxy takes neither without the other
// here, and would not answer.
func TestHealthHAProxy(t *testing.T) {
	t.Parallel()
	folder := shortFolder(t)
	cert, key := ca().issue([]string{"backend.example"}).write(t, folder, "backend")
	foreignCert, foreignKey := stranger().issue([]string{"backend.example"}).write(t, folder, "foreign")
	good, foreign := startHAProxyTLS(t, cert, key), startHAProxyTLS(t, foreignCert, foreignKey)
	settings := func(proxy string) string {
		return inMain(fmt.Sprintf(`send_proxy: %s, tls: {ca_file: %q, server_name: backend.example},
			health: {interval: 50ms, timeout: 1s, rise: 1, fall: 1, send: "GET / HTTP/1.0\r\n\r\n", expect: " 200 "}`, proxy, ca().rootFile(t)))
	}
	g := start(t, usesStore(newStore(t)), usesBackend(foreign, good), settings("v2"))
	g.awaitState("down", foreign)
	g.eventually("a check has succeeded", func() bool { return g.lastCheck(good) == "" })
	g.awaitState("up", good)
	if reason := g.serverAt(foreign).Reason; !strings.Contains(reason, "certificate") {
		t.Errorf("the reason for the one with a foreign certificate is %q", reason)
	}
	c := g.dial("a.example")
	fmt.Fprint(c, "GET / HTTP/1.0\r\n\r\n")
	if page, err := io.ReadAll(c); err != nil || !strings.Contains(string(page), "from 127.0.0.1") {
		t.Errorf("HAProxy answered %q: %v", page, err)
	}
	bare := start(t, usesStore(newStore(t)), usesBackend(good), settings("off"))
	bare.awaitState("down", good) // HAProxy is a judge: it takes no TLS without the header
}

// startHAProxyTLS runs an HAProxy that takes TLS behind a PROXY header.
func startHAProxyTLS(t testing.TB, cert, key string) string {
	t.Helper()
	path, address, folder := program(t, "haproxy"), freeAddress(t), shortFolder(t)
	both := filepath.Join(folder, "both.pem")
	writeFile(t, both, string(must(os.ReadFile(cert)))+string(must(os.ReadFile(key))))
	config := filepath.Join(folder, "haproxy.cfg")
	writeFile(t, config, fmt.Sprintf(`
global
    maxconn 100
defaults
    mode http
    timeout client 10s
    timeout server 10s
    timeout connect 1s
frontend judge
    bind %s accept-proxy ssl crt %s
    http-request return status 200 content-type text/plain lf-string "from %%[src]\n"
`, address, both))
	startPeer(t, address, path, "-db", "-f", config)
	return address
}

// A server that checks find down loses its connections with on_down: reset and keeps them with keep, which is the default.
func TestHealthOnDown(t *testing.T) {
	t.Parallel()
	for name, reset := range map[string]bool{"keep": false, "reset": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o, other := newOracle(t, well), newOracle(t, well)
			g := start(t, usesStore(newStore(t)), usesBackend(o.address, other.address), asksOracle("rise: 1, fall: 1"), inMain("on_down: "+name))
			open := g.holdTo(4)
			if len(open[o.address]) != 2 {
				t.Fatalf("%d of 4 connections", len(open[o.address]))
			}
			o.says("ill\n")
			g.awaitState("down", o.address)
			for _, c := range open[o.address] {
				if !reset {
					c.wantEcho(t, "still here")
					continue
				}
				if _, err := io.ReadAll(c); !isReset(err) {
					t.Errorf("got %v, want a reset", err)
				}
				if e := g.accessOf(c); e.text("reason") != "server_down" || e.text("server") != o.address {
					t.Errorf("logged %v", e)
				}
			}
			for _, c := range open[other.address] {
				c.wantEcho(t, "still here")
			}
		})
	}
}

// With fewer servers left than panic_threshold says, all are used: they may be better than nothing, and one alone would
// not stand the load.
func TestHealthPanic(t *testing.T) {
	t.Parallel()
	oracles := make([]*oracle, 4)
	var addresses []string
	for i := range oracles {
		oracles[i] = newOracle(t, well)
		addresses = append(addresses, oracles[i].address)
	}
	g := start(t, usesStore(newStore(t)), usesBackend(addresses...), asksOracle("rise: 1, fall: 1"), inMain("panic_threshold: 50%"))
	spread := func() map[string]int {
		counts := map[string]int{}
		for range 8 {
			counts[g.reached("a.example")]++
		}
		return counts
	}
	for _, o := range oracles[:2] {
		o.says("ill\n")
	}
	g.awaitState("down", addresses[:2]...)
	if counts := spread(); len(counts) != 2 || g.pool().Panic {
		t.Errorf("half are left, and it went to %v; panic: %v", counts, g.pool().Panic)
	}
	oracles[2].says("ill\n")
	g.awaitState("down", addresses[2])
	if counts := spread(); len(counts) != 4 || !g.pool().Panic {
		t.Errorf("a quarter is left, and it went to %v; panic: %v", counts, g.pool().Panic)
	}
	oracles[2].says(well())
	g.awaitState("up", addresses[2])
	if counts := spread(); len(counts) != 2 || g.pool().Panic {
		t.Errorf("half are left again, and it went to %v; panic: %v", counts, g.pool().Panic)
	}
}

// Checks tell nothing of clients: a header of version 2 says LOCAL, and the connection that a check makes ends in order.
func TestHealthHeaderIsLocal(t *testing.T) {
	t.Parallel()
	seen, ends := make(chan proxyHeader, 100), make(chan error, 100)
	b := newBackend(t, func(p *peer) {
		defer p.Close()
		_, err := io.Copy(io.Discard, p)
		select {
		case seen <- p.header:
			ends <- err
		default:
		}
	})
	start(t, usesStore(newStore(t)), usesBackend(b.address), checked)
	for range 3 {
		if header, err := <-seen, <-ends; !header.Local || header.Version != 2 || err != nil {
			t.Errorf("header %+v; it ended with %v", header, err)
		}
	}
}

// Where servers are asked for by the client's name, a check has none: it verifies no certificate, connections do.
func TestHealthTLSWithoutServerName(t *testing.T) {
	t.Parallel()
	pair := ca().issue([]string{"*.tenant.example"})
	own := must(tls.X509KeyPair([]byte(pair.certPEM()), []byte(pair.keyPEM())))
	listener := must(tls.Listen("tcp", freeAddress(t), &tls.Config{Certificates: []tls.Certificate{own}}))
	t.Cleanup(func() { listener.Close() })
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go func() { defer conn.Close(); conn.SetDeadline(time.Now().Add(patience)); io.Copy(conn, conn) }()
		}
	}()
	address := listener.Addr().String()
	g := start(t, usesStore(newStore(t)), usesBackend(address), inMain(fmt.Sprintf("send_proxy: off, tls: {ca_file: %q}", ca().rootFile(t))), checked)
	g.eventually("it was checked", func() bool { return g.lastCheck(address) != "none" })
	g.awaitState("up", address)
	g.visit("one.tenant.example")
	if c := g.dial("one.other.example"); c.isServed() {
		t.Error("a certificate that is not for the client's name was taken")
	}
}

// isServed tells whether an echo comes back.
func (c *client) isServed() bool {
	io.WriteString(c, "x")
	_, err := io.ReadFull(c, make([]byte, 1))
	return err == nil
}
