package e2e

import (
	"io"
	"testing"
)

// All attempts together take no longer than dial_timeout, however many are left.
func TestPoolDialTimeout(t *testing.T) {
	t.Parallel()
	var hang []string
	for range 4 {
		hang = append(hang, fullServer(t))
	}
	g := start(t, usesStore(newStore(t)), usesBackend(hang...), inMain("connect_timeout: 400ms, dial_timeout: 1s, retries: 3"))
	c := g.dial("a.example")
	if _, err := io.ReadAll(c); !isReset(err) {
		t.Errorf("got %v, want a reset", err)
	}
	e := g.accessOf(c)
	if took := e.number("connect_ms"); e.text("reason") != "no_backend" || took < 950 || took > 1500 {
		t.Errorf("gave up after %v ms, want 1 s: %v", took, e)
	}
}
