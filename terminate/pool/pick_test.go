package pool

import (
	"strings"
	"testing"
)

func TestTriedServersAreNotPickedAgain(t *testing.T) {
	for b := range Balance(len(balances)) {
		p := start(t, Options{Servers: servers(1, 5, 1, 1), Balance: b})
		var tried []*Server
		for range 4 {
			s := pick(t, p, client(1), tried...)
			for _, other := range tried {
				if s == other {
					t.Fatalf("%v: %s was picked again", b, s.Endpoint())
				}
			}
			tried = append(tried, s)
		}
		_, err := p.Pick(client(1), tried)
		expectError(t, err, ErrTried)
	}
}

func TestFullServersArePassedBy(t *testing.T) {
	for b := range Balance(len(balances)) {
		options := servers(1, 1, 1)
		options[0].MaxConnections, options[1].MaxConnections, options[2].MaxConnections = 1, 2, 3
		p := start(t, Options{Servers: options, Balance: b})
		for range 6 {
			pick(t, p, client(1))
		}
		_, err := p.Pick(client(1), nil)
		expectError(t, err, ErrFull)
		expect(t, "may wait", MayWait(err), true)
		for i, s := range p.Status().Servers {
			expect(t, "connections", s.Connections, i+1)
		}
		at(p, 1).Release()
		expect(t, b.String(), pick(t, p, client(1)), at(p, 1))
	}
}

func TestBackups(t *testing.T) {
	options := servers(1, 1, 1, 1)
	options[2].Backup, options[3].Backup = true, true
	options[0].MaxConnections, options[1].MaxConnections = 3, 3
	p := start(t, Options{Servers: options})
	expect(t, "all well", letters(t, p, 4), "abab")
	at(p, 0).SetHealth(false, "refused", 0)
	expect(t, "one left", letters(t, p, 4), "bbbb")
	expect(t, "for a retry", letter(p, pick(t, p, Key{}, at(p, 1))), 'c')
	for range 3 {
		pick(t, p, Key{})
	}
	_, err := p.Pick(Key{}, nil)
	expectError(t, err, ErrFull) // and a backup is no overflow
	at(p, 1).SetHealth(false, "refused", 0)
	expect(t, "none left", letters(t, p, 4), "dcdc")
	at(p, 1).SetHealth(true, "", 0)
	at(p, 1).Release()
	expect(t, "one back", letters(t, p, 4), "bbbb")
}

func TestNothingLeft(t *testing.T) {
	p := start(t, Options{Servers: servers(1, 1, 1, 0)})
	at(p, 0).SetHealth(false, "refused", 0)
	at(p, 1).SetHealth(false, "refused", 0)
	expectError(t, p.SetAdmin(address(2), Disabled), nil)
	_, err := p.Pick(Key{}, nil)
	expectError(t, err, ErrDown)
	expect(t, "may wait", MayWait(err), false)
	if !strings.Contains(err.Error(), "backend mail: no server can be used (2 down, 1 drain, 1 disabled)") {
		t.Errorf("the error says %q", err)
	}
}

func TestPanic(t *testing.T) {
	down := func(p *Pool, which ...int) {
		for _, i := range which {
			at(p, i).SetHealth(false, "refused", 0)
		}
	}
	options := Options{Servers: servers(1, 1, 1, 1), PanicThreshold: 50}
	t.Run("half is well", func(t *testing.T) {
		p := start(t, options)
		down(p, 0, 1)
		expect(t, "picks", letters(t, p, 4), "cdcd")
		expect(t, "panic", p.Status().Panic, false)
	})
	t.Run("less is well", func(t *testing.T) {
		p := start(t, options)
		down(p, 0, 1, 2)
		expect(t, "picks", letters(t, p, 8), "abcdabcd")
		expect(t, "panic", p.Status().Panic, true)
		expect(t, "a retry", letter(p, pick(t, p, Key{}, at(p, 0))), 'd')
		expect(t, "another", strings.ContainsRune("bc", rune(letter(p, pick(t, p, Key{}, at(p, 0), at(p, 3))))), true)
	})
	t.Run("none is well", func(t *testing.T) {
		p := start(t, options)
		down(p, 0, 1, 2, 3)
		expect(t, "picks", letters(t, p, 4), "abcd")
	})
	t.Run("backups come first when none is well", func(t *testing.T) {
		options := options
		options.Servers = append(servers(1, 1), ServerOptions{Address: address(2), Weight: 1, Backup: true})
		p := start(t, options)
		down(p, 0, 1)
		expect(t, "picks", letters(t, p, 2), "cc")
		expect(t, "a retry", strings.ContainsRune("ab", rune(letter(p, pick(t, p, Key{}, at(p, 2))))), true)
		down(p, 2)
		expect(t, "with the backup down", letters(t, p, 2), "ba")
	})
	t.Run("backups change nothing when some are well", func(t *testing.T) {
		options := options
		options.Servers = append(servers(1, 1, 1), ServerOptions{Address: address(3), Weight: 1, Backup: true})
		p := start(t, options)
		down(p, 0, 1)
		expect(t, "picks", letters(t, p, 6), "abcabc")
	})
	t.Run("what the operator said holds", func(t *testing.T) {
		p := start(t, options)
		down(p, 0, 1, 2, 3)
		_ = p.SetAdmin(address(1), Drain)
		expect(t, "picks", letters(t, p, 6), "acdacd")
	})
	t.Run("off", func(t *testing.T) {
		p := start(t, Options{Servers: servers(1, 1)})
		down(p, 0, 1)
		_, err := p.Pick(Key{}, nil)
		expectError(t, err, ErrDown)
	})
}
