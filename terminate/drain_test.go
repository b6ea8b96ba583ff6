package terminate

import (
	"bytes"
	"encoding/json"
	"errors"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"hellogate/sni"
)

// Who is in a hurry in the middle of a drain gets it over with. Nobody is accepted, and nothing else taken up, after its beginning.
func TestDrainInAHurry(t *testing.T) {
	b := startServer(t, func(o *setup) { o.Drain = time.Hour })
	b.pair()
	if !b.server.Opening() {
		t.Error("somebody may still be accepted")
	}
	stopped := make(chan error, 1)
	go func() { stopped <- b.stop() }()
	b.want("that nothing is taken up any more", func() bool { return errors.Is(b.server.Use(b.server.Plan()), errOver) })
	b.want("that nobody may be accepted", func() bool { return !b.server.Opening() })
	if !b.server.Well() {
		t.Error("not well")
	}
	select {
	case err := <-stopped:
		t.Fatalf("over: %v", err)
	case <-time.After(50 * time.Millisecond):
	}
	b.server.Hurry(100 * time.Millisecond)
	select {
	case err := <-stopped:
		if err == nil {
			t.Error("nothing was cut")
		}
	case <-time.After(5 * time.Second):
		t.Fatal("it goes on")
	}
	b.wantReason(ReasonDrained)
}

// What a drain waits for is said: how many, where they are, and for how long yet.
func TestDrainSaysWhatItWaitsFor(t *testing.T) {
	var log bytes.Buffer
	s := New(Options{Log: zerolog.New(&log)}, &Plan{Limits: Limits{Connections: 1, Handshakes: 1, Waiting: 1}})
	began := time.Now().Add(-2 * time.Hour)
	for _, at := range []stage{stageHello, stageSplice, stageSplice} {
		c := &connection{server: s, listener: &Listener{}}
		c.stages.began = began
		c.pattern, c.to.backend = sni.Pattern{}, &Backend{Name: "db"}
		c.seen.Store(uint32(at))
		s.open[c] = struct{}{}
	}
	s.sayDraining(time.Now().Add(time.Hour))
	var said struct {
		Connections  int
		Backends     map[string]int
		Stages       map[string]int
		Oldest, Left string
	}
	if err := json.Unmarshal(log.Bytes(), &said); err != nil {
		t.Fatal(err)
	}
	if said.Connections != 3 || said.Backends["db"] != 2 || said.Stages["hello"] != 1 || said.Oldest != "2h0m0s" || said.Left != "1h0m0s" {
		t.Errorf("%s", log.Bytes())
	}
}
