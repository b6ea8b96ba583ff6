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

// poolStatus is what the control plane says of a backend.
type poolStatus struct {
	Name    string       `json:"name"`
	Balance string       `json:"balance"`
	Queued  int          `json:"queued"`
	Panic   bool         `json:"panic"`
	Servers []poolServer `json:"servers"`
}

// poolServer is one server in it.
type poolServer struct {
	Address      string    `json:"address"`
	Endpoint     string    `json:"endpoint"`
	State        string    `json:"state"`
	Reason       string    `json:"reason"`
	Backup       bool      `json:"backup"`
	Weight       int       `json:"weight"`
	Connections  int       `json:"connections"`
	Total        int       `json:"total"`
	Failures     int       `json:"failures"`
	EarlyResets  int       `json:"early_resets"`
	CheckError   string    `json:"check_error"`
	EjectedUntil time.Time `json:"ejected_until"`
}

// pool is the backend main.
func (g *gate) pool() poolStatus {
	g.t.Helper()
	var all struct {
		Backends []poolStatus `json:"backends"`
	}
	g.get("/backends", &all)
	for _, p := range all.Backends {
		if p.Name == "main" {
			return p
		}
	}
	g.t.Fatalf("no backend main in %+v", all)
	return poolStatus{}
}

// serverAt is the server of the pool with this address, and one that is missing where it has none.
func (g *gate) serverAt(address string) poolServer {
	g.t.Helper()
	for _, s := range g.pool().Servers {
		if s.Address == address {
			return s
		}
	}
	return poolServer{State: "missing"}
}

// awaitState waits until the servers at the addresses are in a state.
func (g *gate) awaitState(state string, addresses ...string) {
	g.t.Helper()
	for _, address := range addresses {
		g.eventually(fmt.Sprintf("%s is %s", address, state), func() bool { return g.serverAt(address).State == state })
	}
}

// refusals is how many connections did not end well, for a reason.
func (g *gate) refusals(reason string) int {
	g.t.Helper()
	var status struct {
		Connections struct {
			Refused map[string]int `json:"refused"`
		} `json:"connections"`
	}
	g.get("/status", &status)
	return status.Connections.Refused[reason]
}

// lines is how many lines of the log match.
func (g *gate) lines(match func(entry) bool) (n int) {
	entries, _ := g.log.all()
	for _, e := range entries {
		if match(e) {
			n++
		}
	}
	return n
}

// tellsItself sends the address of the backend, then echoes.
func tellsItself(p *peer) {
	fmt.Fprintln(p, p.LocalAddr())
	echo(p)
}

// newBackends starts backends that tell themselves.
func newBackends(t testing.TB, n int) []*backend {
	t.Helper()
	backends := make([]*backend, n)
	for i := range backends {
		backends[i] = newBackend(t, tellsItself)
	}
	return backends
}

// serversOf is the YAML of servers at the addresses of backends; more, where there is some, is said of each in turn.
func serversOf(backends []*backend, more ...string) string {
	var servers []string
	for i, b := range backends {
		text := fmt.Sprintf("{address: %q", b.address)
		if i < len(more) && more[i] != "" {
			text += ", " + more[i]
		}
		servers = append(servers, text+"}")
	}
	return fmt.Sprintf("backends: {main: {servers: [%s]}}", strings.Join(servers, ", "))
}

// inMain is YAML for the backend main.
func inMain(text string) string { return "backends: {main: {" + text + "}}" }

// checked is YAML for health checks that notice at once.
const checked = "backends: {main: {health: {interval: 50ms, timeout: 500ms, rise: 1, fall: 1}}}"

// dialFrom is handshake from a certain address of the client's.
func dialFrom(source, address, name string, options ...option) (*client, error) {
	dialer := net.Dialer{Timeout: patience, LocalAddr: &net.TCPAddr{IP: net.ParseIP(source)}}
	conn, err := dialer.Dial("tcp", address)
	if err != nil {
		return nil, err
	}
	return overConn(conn.(*net.TCPConn), name, options...)
}

// overConn makes a TLS connection over a TCP one; when that fails the latter is closed.
func overConn(conn *net.TCPConn, name string, options ...option) (*client, error) {
	w := &wire{TCPConn: conn}
	w.SetDeadline(time.Now().Add(patience))
	config := &tls.Config{RootCAs: ca().pool, ServerName: name}
	for _, set := range options {
		set(config, w)
	}
	c := &client{Conn: tls.Client(w, config), wire: w}
	if err := c.Handshake(); err != nil {
		w.Close()
		return c, err
	}
	return c, nil
}

// told reads which backend it is that a connection got to.
func (c *client) told() (string, error) {
	var line []byte
	for b := make([]byte, 1); ; line = append(line, b[0]) {
		if _, err := io.ReadFull(c, b); err != nil {
			return string(line), err
		}
		if b[0] == '\n' {
			return string(line), nil
		}
	}
}

// wantTold is told for a connection that must get to a backend.
func (c *client) wantTold(t testing.TB) string {
	t.Helper()
	server, err := c.told()
	if err != nil {
		t.Fatalf("no backend told itself: %v after %q", err, server)
	}
	return server
}

// reached makes a connection for a name and tells which backend it got to.
func (g *gate) reached(name string) string { g.t.Helper(); return g.reachedFrom("127.0.0.1", name) }

// reachedFrom does so from an address of the client's.
func (g *gate) reachedFrom(source, name string) string {
	g.t.Helper()
	c, err := dialFrom(source, g.address, name)
	if err != nil {
		g.t.Fatalf("handshake for %q from %s: %v", name, source, err)
	}
	defer c.wire.Close()
	server := c.wantTold(g.t)
	c.Close()
	return server
}

// holdTo makes connections that stay open until the test's end, and counts them by backend.
func (g *gate) holdTo(n int) (clients map[string][]*client) {
	g.t.Helper()
	clients = map[string][]*client{}
	for range n {
		c := g.dial("a.example")
		server := c.wantTold(g.t)
		clients[server] = append(clients[server], c)
	}
	return clients
}
