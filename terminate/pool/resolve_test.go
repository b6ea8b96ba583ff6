package pool

import (
	"fmt"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// found says what status has of the servers: endpoint, b for a backup, weight unless it is 1, state unless it is up,
// connections unless there are none.
func found(p *Pool) string {
	var all []string
	for _, s := range p.Status().Servers {
		text := strings.TrimPrefix(s.Endpoint, "10.0.0.")
		if s.Backup {
			text += " b"
		}
		if s.Weight != 1 {
			text += fmt.Sprint(" w", s.Weight)
		}
		if s.State != StateUp {
			text += " " + s.State.String()
		}
		if s.Connections != 0 {
			text += fmt.Sprint(" c", s.Connections)
		}
		all = append(all, strings.TrimSpace(text))
	}
	return strings.Join(all, ", ")
}

func named(resolver Resolver, addresses ...string) Options {
	options := Options{Resolver: resolver}
	for _, address := range addresses {
		options.Servers = append(options.Servers, ServerOptions{Address: address, Weight: 1})
	}
	return options
}

func TestANameStandsForAllItsAddresses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dns := &names{}
		dns.set("db.internal", "10.0.0.2", "10.0.0.1", "::ffff:10.0.0.2", "2001:db8::1")
		options := named(dns, "db.internal:80", "10.0.0.9:80")
		options.Servers[0].MaxConnections = 1
		p := start(t, options)
		synctest.Wait()
		expect(t, "servers", found(p), "1:80, 2:80, [2001:db8::1]:80, 9:80")
		expect(t, "picks", letters(t, p, 4), "abcd")
		for range 6 {
			pick(t, p, Key{})
		}
		expect(t, "each has its limit", found(p), "1:80 c1, 2:80 c1, [2001:db8::1]:80 c1, 9:80 c3")
		for _, s := range p.Status().Servers[:3] {
			expect(t, "address", s.Address, "db.internal:80")
		}
	})
}

func TestNamesAreFollowed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dns := &names{}
		dns.set("db.internal", "10.0.0.1", "10.0.0.2")
		p := start(t, named(dns, "db.internal:80"))
		synctest.Wait()
		_, changed := p.Watch()
		time.Sleep(time.Minute)
		select {
		case <-changed:
			t.Error("nothing has changed")
		default:
		}
		a, b := pick(t, p, Key{}), pick(t, p, Key{})

		dns.set("db.internal", "10.0.0.2", "10.0.0.3")
		time.Sleep(12 * time.Second)
		expect(t, "after it", found(p), "2:80 c1, 3:80, 1:80 drain c1")
		select {
		case <-changed:
		default:
			t.Error("nobody was told of the change")
		}
		expect(t, "picks", letters(t, p, 4), "abab")

		dns.set("db.internal")
		time.Sleep(time.Minute)
		expect(t, "when lookups fail", found(p), "2:80 c1, 3:80, 1:80 drain c1")

		dns.set("db.internal", "10.0.0.1", "10.0.0.2")
		time.Sleep(12 * time.Second)
		expect(t, "when it is back", found(p), "1:80 c1, 2:80 c1")
		expect(t, "the same server", at(p, 0), a)
		a.Release()
		b.Release()
		expect(t, "in the end", found(p), "1:80, 2:80")

		dns.set("db.internal", "10.0.0.3")
		time.Sleep(12 * time.Second)
		expect(t, "without connections none stays", found(p), "3:80")
	})
}

func TestConnectionsWaitForTheFirstAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dns := &names{hang: true}
		dns.set("db.internal", "10.0.0.1")
		p := start(t, named(dns, "db.internal:80"))
		_, err := p.Pick(Key{}, nil)
		expectError(t, err, ErrUnresolved)
		expect(t, "may wait", MayWait(err), true)
		expect(t, "reason", p.Status().Servers[0].Reason, "its name is not looked up yet")
		w := enter(t, p)
		expect(t, "before", w.has(p), "waits")
		time.Sleep(lookupTimeout + time.Millisecond)
		expect(t, "woken", w.woken.Load(), 1)
		expect(t, "heard", w.has(p), "backend mail: no server can be used (1 down, look up db.internal: context deadline exceeded)")
		_, err = p.Pick(Key{}, nil)
		expectError(t, err, ErrDown)
		dns.setHang(false)
		time.Sleep(2 * time.Second)
		expect(t, "after a second", found(p), "1:80")
	})
	synctest.Test(t, func(t *testing.T) {
		dns := &names{}
		dns.set("db.internal", "10.0.0.1")
		p, err := New(named(dns, "db.internal:80"))
		expectError(t, err, nil)
		w := enter(t, p)
		p.Start(t.Context())
		defer p.Close()
		synctest.Wait()
		expect(t, "with an answer", w.has(p), "a")
	})
}

func TestLookupsThatFailBackOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dns, log := &names{}, &lines{}
		options := named(dns, "db.internal:80", "10.0.0.9:80")
		options.Log = log.logger()
		p := start(t, options)
		time.Sleep(time.Minute) // at about 0, 1, 3, 7, 15, 25, 35, 45, 55 s
		dns.mu.Lock()
		asked := dns.asked
		dns.mu.Unlock()
		if asked < 8 || asked > 10 {
			t.Errorf("asked %d times in a minute", asked)
		}
		expect(t, "servers", found(p), "down, 9:80")
		expect(t, "reason", p.Status().Servers[0].Reason, "look up db.internal: lookup db.internal: no such host")
		expect(t, "picks", letters(t, p, 2), "aa")
		expect(t, "warnings", strings.Count(log.String(), "lookup failed"), 1)
		dns.set("db.internal", "10.0.0.1")
		time.Sleep(12 * time.Second)
		expect(t, "servers", found(p), "1:80, 9:80")
		expect(t, "relief", strings.Count(log.String(), "lookup succeeded"), 1)
		expect(t, "found", strings.Count(log.String(), `"endpoint":"10.0.0.1:80","reason":"found in DNS"`), 1)
	})
}

func record(target string, port, priority, weight uint16) *net.SRV {
	return &net.SRV{Target: target, Port: port, Priority: priority, Weight: weight}
}

func TestSRV(t *testing.T) {
	const name = "_imap._tcp.example.com"
	for _, test := range []struct {
		name    string
		records []*net.SRV
		want    string
	}{
		{"weights", []*net.SRV{record("a.", 80, 1, 10), record("b.", 81, 1, 30), record("c.", 82, 1, 0)}, "1:80 w10, 2:81 w30, 2:82, 3:82"},
		{"large weights", []*net.SRV{record("a.", 80, 1, 65535), record("b.", 81, 1, 32768), record("c.", 82, 1, 1)}, "1:80 w256, 2:81 w128, 2:82, 3:82"},
		{"no weights", []*net.SRV{record("a.", 80, 1, 0), record("b.", 81, 1, 0)}, "1:80, 2:81"},
		{"priorities", []*net.SRV{record("b.", 80, 20, 0), record("a.", 81, 10, 0), record("c.", 80, 30, 5)}, "1:81, 2:80 b, 3:80 b w5"},
		{"two ports of a host", []*net.SRV{record("a.", 80, 1, 0), record("a.", 81, 1, 0)}, "1:80, 1:81"},
		{"a host that is unknown", []*net.SRV{record("a.", 80, 1, 0), record("x.", 81, 1, 0)}, "1:80"},
		{"no such service", []*net.SRV{record(".", 0, 0, 0)}, "down"},
	} {
		synctest.Test(t, func(t *testing.T) {
			dns := &names{}
			dns.set("a.", "10.0.0.1")
			dns.set("b.", "10.0.0.2")
			dns.set("c.", "10.0.0.3", "10.0.0.2")
			dns.setSRV(name, test.records...)
			p := start(t, named(dns, "srv://"+name))
			synctest.Wait()
			expect(t, test.name, found(p), test.want)
		})
	}
}

func TestSRVIsFollowed(t *testing.T) {
	const name = "_imap._tcp.example.com"
	synctest.Test(t, func(t *testing.T) {
		dns := &names{}
		dns.set("a.", "10.0.0.1")
		dns.set("b.", "10.0.0.2")
		dns.setSRV(name, record("a.", 80, 1, 1), record("b.", 80, 1, 1))
		p := start(t, named(dns, "srv://"+name))
		synctest.Wait()
		expect(t, "first", found(p), "1:80, 2:80")
		a := at(p, 0)
		dns.setSRV(name, record("a.", 80, 2, 1), record("b.", 80, 1, 4))
		dns.set("b.")
		time.Sleep(12 * time.Second)
		expect(t, "changed, with a host that fails", found(p), "1:80 b, 2:80 w4")
		expect(t, "the same server", at(p, 0), a)
		dns.setSRV("other")
		time.Sleep(time.Minute)
		expect(t, "when lookups fail", found(p), "1:80 b, 2:80 w4")
		dns.setSRV(name, record(".", 0, 0, 0))
		time.Sleep(12 * time.Second)
		expect(t, "when the service has ended", p.Status().Servers[0].Reason, "DNS has no address for it")
		_, err := p.Pick(Key{}, nil)
		expectError(t, err, ErrDown)
	})
}

func TestWeightsThatOutweighSRV(t *testing.T) {
	const name = "_imap._tcp.example.com"
	synctest.Test(t, func(t *testing.T) {
		dns := &names{}
		dns.set("a.", "10.0.0.1")
		dns.set("b.", "10.0.0.2")
		dns.setSRV(name, record("a.", 80, 1, 10), record("b.", 80, 1, 20))
		options := named(dns, "srv://"+name)
		p := start(t, options)
		synctest.Wait()
		expect(t, "the records'", found(p), "1:80 w10, 2:80 w20")
		expectError(t, p.SetWeight("srv://"+name, 5), nil)
		expect(t, "the operator's", found(p), "1:80 w5, 2:80 w5")
		expectError(t, p.SetWeight("srv://"+name, -1), nil)
		expect(t, "the records' again", found(p), "1:80 w10, 2:80 w20")
		options.Servers[0].Weight = 0
		expectError(t, p.Update(options), nil)
		expect(t, "none in a reload", found(p), "1:80 w0 drain, 2:80 w0 drain")
	})
}

func TestNamesWithoutAddressesHaveAState(t *testing.T) {
	p, err := New(named(&names{}, "db.internal:80"))
	expectError(t, err, nil)
	for _, step := range []struct {
		admin  Admin
		weight int
		want   string
	}{
		{Enabled, -1, "down its name is not looked up yet"}, {Drain, -1, "drain "}, {Disabled, -1, "disabled "}, {Enabled, 0, "drain "},
	} {
		expectError(t, p.SetAdmin("db.internal:80", step.admin), nil)
		expectError(t, p.SetWeight("db.internal:80", step.weight), nil)
		s := p.Status().Servers[0]
		expect(t, "state", s.State.String()+" "+s.Reason, step.want)
	}
}

func TestANameHasBoundedAddresses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dns := &names{}
		var addresses []string
		for n := range 2 * maxEndpoints {
			addresses = append(addresses, strings.TrimSuffix(address(n), ":9000"))
		}
		dns.set("db.internal", addresses...)
		p := start(t, named(dns, "db.internal:80"))
		synctest.Wait()
		all, _ := p.Watch()
		expect(t, "servers", len(all), maxEndpoints)
	})
}

func TestServersThatJoinStartSlowly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dns := &names{}
		dns.set("db.internal", "10.0.0.1")
		options := named(dns, "db.internal:80")
		options.SlowStart, options.Servers[0].Weight = time.Minute, 100
		p := start(t, options)
		synctest.Wait()
		expect(t, "at the start", found(p), "1:80 w100")
		dns.set("db.internal", "10.0.0.1", "10.0.0.2")
		time.Sleep(12 * time.Second)
		if w := p.Status().Servers[1].Weight; w >= 50 {
			t.Errorf("a server that joined has weight %d of 100 at once", w)
		}
		time.Sleep(time.Minute)
		expect(t, "later", found(p), "1:80 w100, 2:80 w100")
	})
}

func TestTheSystemsResolver(t *testing.T) {
	p := start(t, named(nil, "localhost:80"))
	for end := time.Now().Add(5 * time.Second); time.Now().Before(end); time.Sleep(time.Millisecond) {
		if all, _ := p.Watch(); len(all) > 0 {
			if !all[0].AddrPort().Addr().IsLoopback() || all[0].AddrPort().Port() != 80 {
				t.Errorf("localhost is at %s", all[0].Endpoint())
			}
			return
		}
	}
	t.Errorf("no address for localhost: %s", p.Status().Servers[0].Reason)
}
