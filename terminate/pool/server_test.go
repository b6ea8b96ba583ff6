package pool

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestHealth(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := &lines{}
		var down []string
		p := start(t, Options{
			Servers: servers(1, 1), Log: log.logger(),
			OnDown: func(s *Server) { down = append(down, s.Endpoint()) },
		})
		a := at(p, 0)
		up, checked := a.Health()
		expect(t, "at first", fmt.Sprint(up, checked), "true false")
		a.SetHealth(true, "timeout", time.Second) // not often enough yet
		expect(t, "one failed", states(p), "up up")
		for range 3 {
			a.SetHealth(false, "timeout", time.Second)
		}
		up, checked = a.Health()
		expect(t, "in the end", fmt.Sprint(up, checked), "false true")
		expect(t, "states", states(p), "down up")
		expect(t, "picks", letters(t, p, 3), "bbb")
		a.SetHealth(false, "", time.Millisecond) // rising
		status := p.Status().Servers[0]
		expect(t, "reason", status.Reason, "timeout")
		expect(t, "check", status.CheckError, "")
		expect(t, "latency", status.CheckLatency, time.Millisecond)
		expect(t, "checked at", status.CheckedAt, time.Now())
		a.SetHealth(true, "", time.Millisecond)
		expect(t, "states", states(p), "up up")
		expect(t, "told", strings.Join(down, " "), a.Endpoint())
		expect(t, "lines", log.String(),
			`{"level":"warn","backend":"mail","server":"10.0.0.1:9000","reason":"timeout","state":"down","message":"server state"}`+"\n"+
				`{"level":"info","backend":"mail","server":"10.0.0.1:9000","reason":"check succeeded","state":"up","message":"server state"}`+"\n")
	})
}

func TestWithoutChecksAllAreUp(t *testing.T) {
	p := start(t, Options{Servers: servers(1, 1)})
	at(p, 0).SetHealth(false, "refused", 0)
	p.ForgetHealth()
	expect(t, "states", states(p), "up up")
	_, checked := at(p, 0).Health()
	expect(t, "checked", checked, false)
}

func TestSlowStart(t *testing.T) {
	options := Options{Servers: servers(100, 100), SlowStart: 100 * time.Second}
	for name, begin := range map[string]func(*testing.T, *Pool){
		"up after down": func(_ *testing.T, p *Pool) {
			at(p, 0).SetHealth(false, "refused", 0)
			at(p, 0).SetHealth(true, "", 0)
		},
		"after an ejection": func(_ *testing.T, p *Pool) {
			fail(at(p, 0), 5)
			for states(p) != "up up" {
				time.Sleep(time.Millisecond)
			}
		},
		"enabled again": func(_ *testing.T, p *Pool) {
			_ = p.SetAdmin(address(0), Disabled)
			_ = p.SetAdmin(address(0), Enabled)
		},
		"new in a reload": func(t *testing.T, p *Pool) {
			old := options
			old.Servers = options.Servers[1:]
			expectError(t, p.Update(old), nil)
			expectError(t, p.Update(options), nil)
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := start(t, options)
				begin(t, p)
				began := time.Now()
				for _, step := range []struct{ seconds, want int }{{0, 10}, {5, 10}, {50, 50}, {99, 99}, {100, 100}, {1000, 100}} {
					time.Sleep(time.Until(began.Add(time.Duration(step.seconds) * time.Second)))
					if got := p.Status().Servers[0].Weight; got < step.want-1 || got > step.want {
						t.Errorf("after %d s the weight is %d, want %d", step.seconds, got, step.want)
					}
					if step.seconds == 50 {
						if got := strings.Count(letters(t, p, 150), "a"); got < 48 || got > 51 {
							t.Errorf("%d of 150 picks went to the server with half its weight", got)
						}
					}
				}
			})
		})
	}
	t.Run("not at the start", func(t *testing.T) {
		p := start(t, options)
		expect(t, "weight", p.Status().Servers[0].Weight, 100)
	})
	t.Run("a weight of 1 has a share, too", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			p := start(t, Options{Servers: servers(1, 1), SlowStart: time.Minute})
			at(p, 0).SetHealth(false, "refused", 0)
			at(p, 0).SetHealth(true, "", 0)
			expect(t, "weight", p.Status().Servers[0].Weight, 1)
			expect(t, "picks", strings.Count(letters(t, p, 110), "a"), 10)
		})
	})
}

func TestAdmin(t *testing.T) {
	p := start(t, Options{Servers: servers(1, 1, 1)})
	kept := at(p, 0)
	pick(t, p, Key{})
	for _, step := range []struct {
		do     func() error
		states string
		picks  string
	}{
		{func() error { return p.SetAdmin(address(0), Drain) }, "drain up up", "bcbc"},
		{func() error { return p.SetAdmin(address(1), Disabled) }, "drain disabled up", "cccc"},
		{func() error { return p.SetAdmin(address(0), Enabled) }, "up disabled up", "acac"},
		{func() error { return p.SetAdmin(address(1), Enabled) }, "up up up", "bcabca"},
		{func() error { return p.SetWeight(address(0), 0) }, "drain up up", "bcbc"},
		{func() error { return p.SetWeight(address(0), 2) }, "up up up", "abacabac"},
		{func() error { return p.SetWeight(address(0), -1) }, "up up up", "abcabc"},
	} {
		expectError(t, step.do(), nil)
		expect(t, "states", states(p), step.states)
		got := letters(t, p, 10*len(step.picks))
		for _, letter := range "abc" { // who had its turn before the step may have it a little later
			n, want := strings.Count(got, string(letter)), 10*strings.Count(step.picks, string(letter))
			if n < want-min(want, 1) || n > want+want/10 {
				t.Errorf("%s: %c picked %d times, want %d", step.states, letter, n, want)
			}
		}
	}
	expect(t, "connections of what was drained", p.Status().Servers[0].Connections, 1)
	kept.Release()
	expectError(t, p.SetAdmin("10.9.9.9:1", Drain), ErrUnknownServer)
	expectError(t, p.SetWeight("10.9.9.9:1", 1), ErrUnknownServer)
	for _, weight := range []int{-2, 257} {
		if p.SetWeight(address(0), weight) == nil {
			t.Errorf("weight %d was taken", weight)
		}
	}
}
