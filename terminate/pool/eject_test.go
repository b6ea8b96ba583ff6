package pool

import (
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestFailuresInARowEject(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := &lines{}
		p := start(t, Options{Servers: servers(1, 1, 1), Log: log.logger()})
		a := at(p, 0)
		fail(a, 4)
		a.Succeeded()
		fail(a, 4)
		expect(t, "four in a row", states(p), "up up up")
		fail(a, 1)
		expect(t, "five in a row", states(p), "ejected up up")
		expect(t, "picks", letters(t, p, 4), "bcbc")
		status := p.Status().Servers[0]
		expect(t, "failures", status.Failures, 9)
		expect(t, "last error", status.LastError, errRefused.Error())
		if left := time.Until(status.EjectedUntil); left < 9*time.Second || left > 11*time.Second {
			t.Errorf("ejected for %v, want 10 s give or take one", left)
		}
		time.Sleep(8 * time.Second)
		expect(t, "after 8 s", states(p), "ejected up up")
		time.Sleep(4 * time.Second)
		synctest.Wait()
		expect(t, "after 12 s", states(p), "up up up")
		for _, line := range []string{
			`{"level":"warn","backend":"mail","server":"10.0.0.1:9000","reason":"5 failures to connect in a row, the last: connection refused","state":"ejected"`,
			`{"level":"info","backend":"mail","server":"10.0.0.1:9000","reason":"ejection is over","state":"up"`,
		} {
			expect(t, line, strings.Count(log.String(), line), 1)
		}
	})
}

// times ejects a server again and again, with a pause after each time, and returns how long that lasted each time.
func times(t *testing.T, pauses ...time.Duration) []time.Duration {
	var lasted []time.Duration
	synctest.Test(t, func(t *testing.T) {
		p := start(t, Options{Servers: servers(1, 1)})
		for _, pause := range pauses {
			began := time.Now()
			fail(at(p, 0), 5)
			for states(p) == "ejected up" {
				time.Sleep(time.Second / 10)
			}
			lasted = append(lasted, time.Since(began))
			at(p, 0).Succeeded()
			time.Sleep(pause)
		}
	})
	return lasted
}

func TestEjectionsGrow(t *testing.T) {
	want := 10 * time.Second
	for i, lasted := range times(t, slices.Repeat([]time.Duration{time.Second}, 9)...) {
		if lasted < want*89/100 || lasted > want*111/100 {
			t.Errorf("ejection %d lasted %v, want about %v", i+1, lasted, want)
		}
		want = min(2*want, 5*time.Minute)
	}
}

func TestEjectionsShrink(t *testing.T) {
	for i, lasted := range times(t, slices.Repeat([]time.Duration{10 * time.Minute}, 4)...) {
		if lasted > 12*time.Second {
			t.Errorf("ejection %d lasted %v, after ten minutes in peace", i+1, lasted)
		}
	}
	often := append(slices.Repeat([]time.Duration{time.Second}, 19), 20*time.Minute, 0)
	if lasted := times(t, often...)[20]; lasted > 12*time.Second {
		t.Errorf("after 20 ejections and 20 minutes in peace the next lasted %v", lasted)
	}
}

func TestAServerIsOnProbationAfterAnEjection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := start(t, Options{Servers: servers(1, 1)})
		fail(at(p, 0), 5)
		time.Sleep(12 * time.Second)
		synctest.Wait()
		fail(at(p, 0), 1)
		expect(t, "one failure", states(p), "ejected up")
		time.Sleep(24 * time.Second)
		synctest.Wait()
		at(p, 0).Succeeded()
		fail(at(p, 0), 4)
		expect(t, "four after a success", states(p), "up up")
	})
}

func TestEjectionsKeepToTheirShare(t *testing.T) {
	for _, test := range []struct {
		name   string
		weight []int
		share  int
		want   int // servers ejected
	}{
		{"half of four", []int{1, 1, 1, 1}, 0, 2},
		{"half of five", []int{1, 1, 1, 1, 1}, 50, 2},
		{"a tenth of five", []int{1, 1, 1, 1, 1}, 10, 0},
		{"all of three but one", []int{1, 1, 1}, 100, 2},
		{"the only one", []int{1}, 100, 0},
		{"none", []int{1, 1, 1}, -1, 0},
		{"what is drained does not count", []int{1, 1, 1, 0}, 50, 1},
	} {
		p := start(t, Options{Servers: servers(test.weight...), Ejection: Ejection{MaxEjected: test.share}})
		all, _ := p.Watch()
		for _, s := range all {
			fail(s, 20)
		}
		expect(t, test.name, strings.Count(states(p), "ejected"), test.want)
	}
}

func TestTheLastOneThatIsWellIsNotEjected(t *testing.T) {
	p := start(t, Options{Servers: servers(1, 1, 1, 1), Ejection: Ejection{MaxEjected: 75}})
	for i := range 3 {
		at(p, i).SetHealth(false, "refused", 0)
	}
	fail(at(p, 3), 20)
	expect(t, "states", states(p), "down down down up")
}

func TestEarlyResetsEject(t *testing.T) {
	clients := func(addresses ...string) (all []netip.Addr) {
		for _, address := range addresses {
			all = append(all, netip.MustParseAddr(address))
		}
		return all
	}
	for _, test := range []struct {
		name    string
		clients []netip.Addr
		options Ejection
		want    string
	}{
		{"five clients", clients("192.0.2.1", "192.0.2.2", "192.0.2.3", "192.0.2.4", "192.0.2.5"), Ejection{}, "ejected up"},
		{"too few resets", clients("192.0.2.1", "192.0.2.2", "192.0.2.3", "192.0.2.4"), Ejection{}, "up up"},
		{"two clients", clients("192.0.2.1", "192.0.2.2", "192.0.2.1", "::ffff:192.0.2.2", "192.0.2.1", "192.0.2.1"), Ejection{}, "up up"},
		{"one /64", clients("2001:db8::1", "2001:db8::2", "2001:db8::3", "2001:db8::4", "2001:db8::5"), Ejection{}, "up up"},
		{"three /64", clients("2001:db8:0:1::", "2001:db8:0:2::", "2001:db8:0:3::", "2001:db8::4", "2001:db8::5"), Ejection{}, "ejected up"},
		{"one is enough", clients("192.0.2.1", "192.0.2.1"), Ejection{Resets: 2, ResetClients: 1}, "ejected up"},
		{"off", clients("192.0.2.1", "192.0.2.2", "192.0.2.3", "192.0.2.4", "192.0.2.5"), Ejection{Resets: -1}, "up up"},
	} {
		p := start(t, Options{Servers: servers(1, 1), Ejection: test.options})
		for _, client := range test.clients {
			at(p, 0).Succeeded()
			at(p, 0).EarlyReset(client)
		}
		expect(t, test.name, states(p), test.want)
		expect(t, test.name, p.Status().Servers[0].EarlyResets, uint64(len(test.clients)))
	}
	p := start(t, Options{Servers: servers(1, 1)})
	for range 2 {
		for n := range 4 {
			at(p, 0).EarlyReset(client(n).Client)
		}
		at(p, 0).Answered()
	}
	expect(t, "with an answer between", states(p), "up up")
}

func TestChecksOutweighEjections(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := start(t, Options{Servers: servers(1, 1)})
		a := at(p, 0)
		fail(a, 5)
		a.SetHealth(true, "", 0)
		expect(t, "a check that finds it as before", states(p), "ejected up")
		a.SetHealth(false, "refused", 0)
		a.SetHealth(true, "", 0)
		expect(t, "down and up again", states(p), "up up")
		fail(a, 4)
		expect(t, "four failures later", states(p), "up up")
		time.Sleep(time.Minute)
	})
}

func TestWaitersAreServedAfterAnEjection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := full(t, Options{}, 2)
		fail(at(p, 0), 5)
		at(p, 0).Release()
		w := enter(t, p)
		expect(t, "before", w.has(p), "waits")
		time.Sleep(12 * time.Second)
		synctest.Wait()
		expect(t, "after", w.has(p), "a")
	})
}

// A connection that failed with the server that was left is tried with one that is ejected: it may be well again. One that has
// not failed yet is not, and never with one that its checks know to be down.
func TestARetryGoesToAnEjectedServer(t *testing.T) {
	p := start(t, Options{Servers: servers(1, 1, 1), Ejection: Ejection{MaxEjected: 100}})
	fail(at(p, 0), 5)
	at(p, 2).SetHealth(false, "refused", 0)
	first := pick(t, p, client(1))
	if first != at(p, 1) {
		t.Errorf("%s was picked first", first.Endpoint())
	}
	if second := pick(t, p, client(1), first); second != at(p, 0) {
		t.Errorf("%s was picked then", second.Endpoint())
	}
	_, err := p.Pick(client(1), []*Server{at(p, 0), at(p, 1)})
	expectError(t, err, ErrTried)
}
