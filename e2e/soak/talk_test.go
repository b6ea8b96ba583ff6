package soak

import (
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"
)

// The stages that an attempt fails in.
const (
	connecting  = "connect"
	handshaking = "handshake"
	talking     = "data"
)

// attempt is one run of a scenario.
type attempt struct {
	*world
	scenario string
	number   uint64
	rng      *rand.Rand

	// Of its latest connection.
	began   time.Time
	stage   string
	local   string // its address
	resumed bool
	reached bool // the backend has had the order
}

// talk is a connection that gets through to a backend, and what both sides do.
type talk struct {
	name            string
	client, backend side
	echoed          bool // what the client reads is what it wrote
	version         uint16
	curves          []tls.CurveID
	receive         int // the client's receive buffer; 0: the system's
	trickle         int // so many bytes of the client's are sent one by one
	sessions        tls.ClientSessionCache
	atOnce          bool // all that the client sends after its hello arrives together, its end included
}

// newTalk is one with a name, a version and a key exchange by lot.
func (a *attempt) newTalk(client, backend side) talk {
	t := talk{name: a.someName(), client: client, backend: backend}
	if a.rng.IntN(6) == 0 {
		t.version = tls.VersionTLS12
	}
	switch a.rng.IntN(4) {
	case 0:
		t.curves = []tls.CurveID{tls.X25519}
	case 1:
		t.curves = []tls.CurveID{tls.CurveP256}
	}
	return t
}

// someName is a name that hellogate has a certificate for by now, or one that it may have to fetch.
func (a *attempt) someName() string {
	switch a.rng.IntN(10) {
	case 0, 1:
		return fmt.Sprintf("cold%d.soak.test", a.rng.IntN(300))
	case 2:
		return fmt.Sprintf("rsa%d.soak.test", a.rng.IntN(4))
	default:
		return fmt.Sprintf("hot%d.soak.test", a.rng.IntN(20))
	}
}

// run makes the connection, has both sides play, and gives what went wrong on either.
func (a *attempt) run(t talk) error {
	conn, err := a.connect(t)
	if err != nil {
		return err
	}
	defer conn.wire.Close()
	conn.SetDeadline(time.Time{})
	a.stage = talking
	outcome := a.expect(a.number)
	defer a.forget(a.number)
	if err := a.send(conn, t); err != nil {
		return fmt.Errorf("order: %w", err)
	}
	in := newPattern(downKey(a.number))
	if t.echoed {
		in = newPattern(upKey(a.number))
	}
	err = newPlayer(a.stopping, conn, in, newPattern(upKey(a.number))).play("client", t.client, a.rng)
	if err == nil {
		conn.Close()
	}
	limit := 2 * patience
	if err != nil {
		limit = patience / 6
	}
	return errors.Join(err, a.await(outcome, limit))
}

// connect connects and completes the handshake.
func (a *attempt) connect(t talk) (*client, error) {
	a.began, a.stage, a.reached = time.Now(), connecting, false
	wire, err := a.dial(t.receive)
	if err != nil {
		return nil, err
	}
	wire.trickle, wire.holds = t.trickle, t.atOnce
	a.local, a.stage = wire.LocalAddr().String(), handshaking
	conn := &client{name: t.name, wire: wire, Conn: tls.Client(wire, &tls.Config{
		RootCAs: a.store.roots, ServerName: t.name, MaxVersion: t.version, CurvePreferences: t.curves, ClientSessionCache: t.sessions,
	})}
	if err := conn.Handshake(); err != nil {
		wire.Close()
		return nil, fmt.Errorf("handshake for %s: %w", t.name, err)
	}
	a.resumed = conn.ConnectionState().DidResume
	return conn, nil
}

func (a *attempt) send(conn *client, t talk) error {
	line, err := json.Marshal(order{
		Scenario: a.scenario, Number: a.number, Name: t.name, Client: a.local, Side: t.backend,
	})
	if err != nil {
		return err
	}
	conn.SetWriteDeadline(time.Now().Add(patience))
	_, err = conn.Write(append(line, '\n'))
	return err
}

// await waits for what the backend has to say.
func (a *attempt) await(outcome <-chan error, limit time.Duration) error {
	select {
	case err := <-outcome:
		a.reached = true
		return err
	case <-time.After(limit):
		return errors.New("the backend did not get the order, or is not through with it")
	}
}
