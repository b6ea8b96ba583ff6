package e2e

import (
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

// nameServer answers what it is told to, for every name it knows; of others it says that there are none.
type nameServer struct {
	mu      sync.Mutex
	records map[string][]dnsmessage.ResourceBody
	code    dnsmessage.RCode // of every answer; success: as the records are
	ttl     uint32
	asked   map[string]int
}

// newNameServer starts one at the address that programs in the network ask.
func newNameServer(n *network) *nameServer {
	n.t.Helper()
	n.resolvesBy("timeout:1 attempts:1")
	s := &nameServer{records: map[string][]dnsmessage.ResourceBody{}, asked: map[string]int{}, ttl: 1}
	var socket net.PacketConn
	err := n.in(func() (err error) { socket, err = net.ListenPacket("udp", "127.0.0.1:53"); return err })
	if err != nil {
		n.t.Fatal(err)
	}
	n.t.Cleanup(func() { socket.Close() })
	go s.serve(socket)
	return s
}

func (s *nameServer) serve(socket net.PacketConn) {
	packet := make([]byte, 1500)
	for {
		size, from, err := socket.ReadFrom(packet)
		if err != nil {
			return
		}
		var question dnsmessage.Message
		if question.Unpack(packet[:size]) == nil && len(question.Questions) == 1 {
			socket.WriteTo(s.answer(question), from)
		}
	}
}

func (s *nameServer) answer(to dnsmessage.Message) []byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	question := to.Questions[0]
	name := strings.TrimSuffix(question.Name.String(), ".")
	s.asked[name]++
	answer := dnsmessage.Message{
		Header:    dnsmessage.Header{ID: to.ID, Response: true, Authoritative: true, RCode: s.code},
		Questions: to.Questions,
	}
	records, known := s.records[name]
	if s.code == dnsmessage.RCodeSuccess && !known {
		answer.RCode = dnsmessage.RCodeNameError
	}
	for _, body := range records {
		if s.code == dnsmessage.RCodeSuccess && kindOf(body) == question.Type {
			header := dnsmessage.ResourceHeader{Name: question.Name, Class: dnsmessage.ClassINET, TTL: s.ttl}
			answer.Answers = append(answer.Answers, dnsmessage.Resource{Header: header, Body: body})
		}
	}
	return must(answer.Pack())
}

func kindOf(body dnsmessage.ResourceBody) dnsmessage.Type {
	switch body.(type) {
	case *dnsmessage.AResource:
		return dnsmessage.TypeA
	case *dnsmessage.AAAAResource:
		return dnsmessage.TypeAAAA
	}
	return dnsmessage.TypeSRV
}

// has sets what it knows of a name: addresses.
func (s *nameServer) has(name string, addresses ...string) {
	var records []dnsmessage.ResourceBody
	for _, text := range addresses {
		if address := netip.MustParseAddr(text); address.Is4() {
			records = append(records, &dnsmessage.AResource{A: address.As4()})
		} else {
			records = append(records, &dnsmessage.AAAAResource{AAAA: address.As16()})
		}
	}
	s.set(name, records...)
}

func (s *nameServer) set(name string, records ...dnsmessage.ResourceBody) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.records[name] = records
}

// fails makes every answer one of this kind; success: none.
func (s *nameServer) fails(code dnsmessage.RCode) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.code = code
}

func (s *nameServer) lives(seconds uint32) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ttl = seconds
}

func (s *nameServer) questions(name string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.asked[name]
}

func service(target string, port, priority, weight uint16) dnsmessage.ResourceBody {
	return &dnsmessage.SRVResource{Target: dnsmessage.MustNewName(target + "."), Port: port, Priority: priority, Weight: weight}
}

// endpoints are what the pool connects to, of servers that are up or down, in order.
func (g *gate) endpoints() (found []string) {
	g.t.Helper()
	for _, s := range g.pool().Servers {
		if s.Endpoint != "" && s.State != "drain" {
			found = append(found, s.Endpoint)
		}
	}
	slices.Sort(found)
	return found
}

func (g *gate) awaitEndpoints(want ...string) {
	g.t.Helper()
	g.eventually("the servers are "+strings.Join(want, " "), func() bool { return slices.Equal(g.endpoints(), want) })
}

// A name stands for all of its addresses, of both families. When they change the servers do, and who is connected to one
// that went stays. When the name can't be looked up any more, or does not exist, what was found before is kept.
func TestPoolDNS(t *testing.T) {
	t.Parallel()
	n := newNetwork(t)
	dns := newNameServer(n)
	n.echoes("127.0.1.1:9000", "127.0.1.2:9000", "[::1]:9000")
	dns.has("app.test", "127.0.1.1", "::1")
	g := n.start(usesBackend("app.test:9000"), inMain("resolve_interval: 1s"))
	g.awaitEndpoints("127.0.1.1:9000", "[::1]:9000")
	wantReached(n, g, "127.0.1.1:9000", "[::1]:9000")

	held := holdAt(n, g, "127.0.1.1:9000")
	dns.has("app.test", "127.0.1.2")
	g.awaitEndpoints("127.0.1.2:9000")
	wantReached(n, g, "127.0.1.2:9000")
	held.wantEcho(t, "still here")

	for _, code := range []dnsmessage.RCode{dnsmessage.RCodeServerFailure, dnsmessage.RCodeNameError} {
		before := dns.questions("app.test")
		dns.fails(code)
		g.eventually("it was asked in vain", func() bool { return dns.questions("app.test") >= before+4 })
		g.awaitEndpoints("127.0.1.2:9000")
		wantReached(n, g, "127.0.1.2:9000")
	}
	g.await("line about the name", func(e entry) bool {
		return e.text("server") == "app.test:9000" && strings.Contains(e.text("message"), "lookup failed")
	})
	dns.has("app.test", "127.0.1.1", "127.0.1.2")
	dns.fails(dnsmessage.RCodeSuccess)
	g.awaitEndpoints("127.0.1.1:9000", "127.0.1.2:9000")
}

// wantReached checks that connections go to these servers, to each of them, and to no others.
func wantReached(n *network, g *gate, want ...string) {
	n.t.Helper()
	reached := map[string]bool{}
	for range 3 * len(want) {
		server, _ := n.reached(g)
		reached[server] = true
		if !slices.Contains(want, server) {
			n.t.Errorf("got to %s, want one of %v", server, want)
		}
	}
	if len(reached) != len(want) {
		n.t.Errorf("got to %v, want all of %v", reached, want)
	}
}

// holdAt makes a connection to a server that stays open until the test's end.
func holdAt(n *network, g *gate, server string) *client {
	n.t.Helper()
	for range 20 {
		c, err := n.client("127.0.0.1", g.address, "a.example")
		if err != nil {
			n.t.Fatal(err)
		}
		n.t.Cleanup(func() { c.wire.Close() })
		if c.wantTold(n.t) == server {
			return c
		}
	}
	n.t.Fatalf("none of 20 connections got to %s", server)
	return nil
}

// SRV records tell hosts and ports, shares, and which are backups.
func TestPoolDNSServices(t *testing.T) {
	t.Parallel()
	n := newNetwork(t)
	dns := newNameServer(n)
	n.echoes("127.0.1.1:9001", "127.0.1.2:9002", "127.0.1.3:9003")
	for name, address := range map[string]string{"one.test": "127.0.1.1", "two.test": "127.0.1.2", "spare.test": "127.0.1.3"} {
		dns.has(name, address)
	}
	const services = "_app._tcp.app.test"
	one, two, spare := service("one.test", 9001, 10, 3), service("two.test", 9002, 10, 1), service("spare.test", 9003, 20, 1)
	dns.set(services, one, two, spare)
	g := n.start(usesBackend("srv://"+services), inMain("resolve_interval: 1s"))
	g.awaitEndpoints("127.0.1.1:9001", "127.0.1.2:9002", "127.0.1.3:9003")
	counts := map[string]int{}
	for range 8 {
		server, _ := n.reached(g)
		counts[server]++
	}
	if counts["127.0.1.1:9001"] != 6 || counts["127.0.1.2:9002"] != 2 {
		t.Errorf("%v of 8 with weights 3 and 1 and a backup", counts)
	}
	dns.set(services, spare)
	g.awaitEndpoints("127.0.1.3:9003")
	wantReached(n, g, "127.0.1.3:9003")
}

// Who comes before DNS has answered for the first time waits for it.
func TestPoolDNSAtStart(t *testing.T) {
	t.Parallel()
	n := newNetwork(t)
	dns := newNameServer(n)
	n.echoes("127.0.1.1:9000")
	dns.fails(dnsmessage.RCodeServerFailure)
	g := n.start(usesBackend("app.test:9000"), inMain("resolve_interval: 1s"))
	g.eventually("the name can't be looked up", func() bool { return strings.Contains(g.pool().Servers[0].Reason, "app.test") })
	if got := g.pool().Servers[0]; got.State != "down" {
		t.Errorf("without an address it is %+v", got)
	}
	c, err := n.client("127.0.0.1", g.address, "a.example")
	if err != nil {
		t.Fatal(err)
	}
	defer c.wire.Close()
	if _, err := c.told(); !isReset(err) {
		t.Errorf("got %v, want a reset", err)
	}
	if e := g.accessOf(c); e.text("reason") != "no_backend" || !strings.Contains(e.text("error"), "app.test") {
		t.Errorf("logged %v", e)
	}
	dns.has("app.test", "127.0.1.1")
	dns.fails(dnsmessage.RCodeSuccess)
	g.awaitEndpoints("127.0.1.1:9000")
	wantReached(n, g, "127.0.1.1:9000")
}

// A name is looked up again when its answer's time to live is over, and not before.
func TestPoolDNSTimeToLive(t *testing.T) {
	t.Parallel()
	n := newNetwork(t)
	dns := newNameServer(n)
	n.echoes("127.0.1.1:9000", "127.0.1.2:9000")
	dns.has("app.test", "127.0.1.1")
	dns.lives(1)
	g := n.start(usesBackend("app.test:9000"))
	g.awaitEndpoints("127.0.1.1:9000")
	dns.has("app.test", "127.0.1.2")
	g.within(4*time.Second, "the new address is used", func() bool { return slices.Equal(g.endpoints(), []string{"127.0.1.2:9000"}) })
	dns.lives(600)
	before := dns.questions("app.test")
	g.eventually("it was asked again", func() bool { return dns.questions("app.test") >= before+2 })
	time.Sleep(2500 * time.Millisecond)
	if asked := dns.questions("app.test") - before; asked > 4 {
		t.Errorf("asked %d times for a name that lives for 10 minutes", asked)
	}
}
