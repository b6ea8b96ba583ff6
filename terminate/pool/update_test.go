package pool

import (
	"context"
	"fmt"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"
)

func TestAReloadLosesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dns := &names{}
		dns.set("db.internal", "10.0.0.7", "10.0.0.8")
		options := Options{Servers: servers(1, 1, 1, 1, 1, 1, 1), Resolver: dns, Ejection: Ejection{MaxEjected: 100}}
		options.Servers[6] = ServerOptions{Address: "db.internal:80", Weight: 1}
		p := start(t, options)
		synctest.Wait()
		before, _ := p.Watch()
		for range 16 {
			pick(t, p, Key{})
		}
		before[1].SetHealth(false, "timeout", time.Second)
		fail(before[2], 5)
		_ = p.SetAdmin(address(3), Drain)
		_ = p.SetAdmin(address(4), Disabled)
		_ = p.SetWeight(address(5), 7)
		want := found(p)
		expect(t, "before", want, "1:9000 c2, 2:9000 down c2, 3:9000 ejected c2, 4:9000 drain c2, 5:9000 disabled c2, 6:9000 w7 c2, 7:80 c2, 8:80 c2")

		dns.setHang(true)
		options.Balance = LeastConnections
		expectError(t, p.Update(options), nil)
		expect(t, "after", found(p), want)
		after, _ := p.Watch()
		for i, s := range after {
			expect(t, "server", s, before[i])
		}
		expect(t, "reason", p.Status().Servers[1].Reason, "timeout")
		expect(t, "balance", p.Status().Balance, LeastConnections)

		bad := options
		bad.Servers = nil
		if p.Update(bad) == nil {
			t.Error("a pool without servers was taken")
		}
		expect(t, "after an error", found(p), want)
	})
}

func TestServersComeAndGoInAReload(t *testing.T) {
	p := start(t, Options{Servers: servers(1, 1, 1)})
	a, b, c := pick(t, p, Key{}), pick(t, p, Key{}), pick(t, p, Key{})
	c.Release()
	_, changed := p.Watch()
	expectError(t, p.Update(Options{Servers: append(servers(1), ServerOptions{Address: address(3), Weight: 2})}), nil)
	expect(t, "servers", found(p), "1:9000 c1, 4:9000 w2, 2:9000 drain c1")
	expect(t, "reason", p.Status().Servers[2].Reason, "no longer configured")
	expect(t, "picks", letters(t, p, 3), "bab")
	select {
	case <-changed:
	default:
		t.Error("nobody was told of the change")
	}
	expectError(t, p.SetAdmin(b.Address(), Drain), ErrUnknownServer)
	expectError(t, p.Update(Options{Servers: servers(1, 1)}), nil)
	expect(t, "when it is back", found(p), "1:9000 c1, 2:9000 c1")
	expect(t, "the same server", at(p, 1), b)
	expectError(t, p.Update(Options{Servers: servers(1)}), nil)
	b.Release()
	expect(t, "when it has ended", found(p), "1:9000 c1")
	a.Release()
}

func TestAReloadChangesServers(t *testing.T) {
	p := start(t, Options{Servers: servers(1, 1)})
	_ = p.SetWeight(address(0), 5)
	_ = p.SetWeight(address(1), 5)
	changed := servers(3, 1)
	changed[1].Backup, changed[1].MaxConnections = true, 9
	expectError(t, p.Update(Options{Servers: changed}), nil)
	expect(t, "servers", found(p), "1:9000 w3, 2:9000 b w5")
	expect(t, "places", p.Status().Servers[1].MaxConnections, 9)
}

func TestAReloadFollowsNames(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dns := &names{}
		for i, host := range []string{"a", "b", "c"} {
			dns.set(host, fmt.Sprintf("10.0.0.%d", i+1))
		}
		p := start(t, named(dns, "a:80", "b:80"))
		synctest.Wait()
		expectError(t, p.Update(named(dns, "b:80", "c:80")), nil)
		synctest.Wait()
		expect(t, "after", found(p), "2:80, 3:80")
		dns.mu.Lock()
		dns.asked = 0
		dns.mu.Unlock()
		time.Sleep(100 * time.Second)
		dns.mu.Lock()
		if dns.asked < 16 || dns.asked > 24 {
			t.Errorf("two names were asked for %d times in ten intervals", dns.asked)
		}
		dns.mu.Unlock()
	})
}

func TestAClosedPoolStillPicks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dns := &names{}
		dns.set("a", "10.0.0.1")
		p := start(t, named(dns, "a:80", "10.0.0.2:80", "nowhere:80"))
		synctest.Wait()
		fail(at(p, 0), 5)
		expect(t, "before", found(p), "1:80 ejected, 2:80, down")
		began := time.Now()
		p.Close()
		p.Close()
		expect(t, "Close took", time.Since(began), 0)
		expect(t, "after", found(p), "1:80, 2:80, down")
		fail(at(p, 0), 50)
		expect(t, "picks", letters(t, p, 2), "ab")
		expectError(t, p.Update(named(dns, "b:80", "10.0.0.2:80")), nil)
		expect(t, "an update", found(p), "down, 2:80")
	})
}

// slow is a resolver that takes a second to give up.
type slow struct{ names }

func (s *slow) LookupNetIP(ctx context.Context, _, _ string) ([]netip.Addr, error) {
	<-ctx.Done()
	time.Sleep(time.Second)
	return nil, ctx.Err()
}

func TestCloseWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := start(t, named(&slow{}, "a:80"))
		synctest.Wait()
		began := time.Now()
		p.Close()
		expect(t, "Close took", time.Since(began), time.Second)
	})
}
