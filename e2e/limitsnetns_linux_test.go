package e2e

import (
	"io"
	"net"
	"testing"
	"time"
)

// An IPv6 client is a /64, of which everybody has as many addresses as they like.
func TestLimitPerClientIPv6(t *testing.T) {
	t.Parallel()
	n := newNetwork(t)
	for _, address := range []string{"2001:db8:0:1::1", "2001:db8:0:1::2", "2001:db8:0:1:ffff::3", "2001:db8:0:2::1"} {
		n.ip("address add " + address + "/128 dev lo nodad")
	}
	n.echoes("127.0.0.1:9000")
	g := n.start(usesBackend("127.0.0.1:9000"), `listeners: [{address: "[::]:443"}]`, "limits: {connections_per_ip: 2}")
	for _, source := range []string{"2001:db8:0:1::1", "2001:db8:0:1::2", "2001:db8:0:2::1"} {
		c, err := n.client(source, "[2001:db8:0:1::1]:443", "a.example")
		if err != nil {
			t.Fatalf("from %s: %v", source, err)
		}
		defer c.wire.Close()
		c.wantTold(t)
	}
	if c, err := n.client("2001:db8:0:1:ffff::3", "[2001:db8:0:1::1]:443", "a.example"); err == nil {
		c.wire.Close()
		t.Error("a third connection of a /64 was served")
	}
	if refused := g.refusals("client_connections"); refused != 1 {
		t.Errorf("%d are counted, want 1", refused)
	}
}

// vanished is a client that was connected and is gone without a word: no packet goes to it or comes from it any more.
func vanished(t *testing.T, n *network, g *gate) *client {
	t.Helper()
	c, err := n.client("127.0.6.1", g.address, "a.example")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.wire.Close() })
	c.wantTold(t)
	time.Sleep(200 * time.Millisecond) // all that was sent is acknowledged
	n.filter("ip saddr 127.0.6.1 drop", "ip daddr 127.0.6.1 drop")
	return c
}

// A client that vanished while its connection was idle is found out by keepalives.
func TestLimitKeepalive(t *testing.T) {
	t.Parallel()
	n := newNetwork(t)
	n.echoes("127.0.0.1:9000")
	g := n.start(usesBackend("127.0.0.1:9000"), "limits: {tcp_keepalive: 1s, tcp_user_timeout: 2s}")
	most := 8 * time.Second
	if buildTags != "" {
		most = 14 * time.Second // Go's own sockets know no user timeout: it takes nine questions
	}
	began := time.Now()
	c := vanished(t, n, g)
	e := g.accessOf(c)
	if took := time.Since(began); e.text("reason") != "client_reset" || took < time.Second || took > most {
		t.Errorf("after %v: %v", took, e)
	}
	g.eventually("nothing is left", func() bool { return g.status().Connections.Active == 0 })
}

// A client that vanished while bytes were on their way to it is given up after tcp_user_timeout. Without that the kernel
// goes on sending for a quarter of an hour.
func TestLimitUserTimeout(t *testing.T) {
	t.Parallel()
	if buildTags != "" {
		t.Skip("Go's own sockets know no user timeout")
	}
	n := newNetwork(t)
	listener, err := n.listen("127.0.0.1:9000")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	servers := make(chan net.Conn, 1)
	go func() {
		conn, err := listener.Accept()
		if err != nil {
			return
		}
		readProxyHeader(conn)
		io.WriteString(conn, "here\n")
		servers <- conn
	}()
	g := n.start(usesBackend("127.0.0.1:9000"), "limits: {tcp_keepalive: 0s, tcp_user_timeout: 1s}")
	c := vanished(t, n, g)
	server := <-servers
	defer server.Close()
	began := time.Now()
	server.SetDeadline(began.Add(patience))
	io.WriteString(server, "lost")
	if _, err := server.Read(make([]byte, 1)); !isReset(err) {
		t.Errorf("the server got %v, want a reset", err)
	}
	e := g.accessOf(c)
	if took := time.Since(began); e.text("reason") != "client_reset" || took < 800*time.Millisecond || took > 6*time.Second {
		t.Errorf("after %v: %v", took, e)
	}
}

// A server that vanished while its connection was idle is found out by keepalives, too: its client is reset.
func TestLimitKeepaliveOfServer(t *testing.T) {
	t.Parallel()
	if buildTags != "" {
		t.Skip("Go's own sockets know no user timeout: it takes nine questions, which begin after 5s")
	}
	n := newNetwork(t)
	n.echoes("127.0.1.1:9000")
	g := n.start(usesBackend("127.0.1.1:9000"), "limits: {tcp_keepalive: 1s, tcp_user_timeout: 2s}")
	c, err := n.client("127.0.0.1", g.address, "a.example")
	if err != nil {
		t.Fatal(err)
	}
	defer c.wire.Close()
	c.wantTold(t)
	time.Sleep(200 * time.Millisecond) // all that was sent is acknowledged
	n.filter("ip saddr 127.0.1.1 drop", "ip daddr 127.0.1.1 drop")
	if _, err := c.told(); !isReset(err) {
		t.Errorf("got %v, want a reset", err)
	}
	if e := g.accessOf(c); e.text("reason") != "server_reset" {
		t.Errorf("logged %v", e)
	}
}
