// Package load is the client of a benchmark. It runs in a process of its own, which takes a Plan and then Orders as
// JSON on its standard input and answers each on its standard output, so that the processor time of the proxy can be
// read between them.
package load

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"
)

// Mode is what is done with connections.
type Mode string

// Modes. An operation is a connection for those that make connections in a round, and for Hold and Keep too; it is a byte
// for Down and Up and a message and its echo for PingPong, which use connections made before the first round.
const (
	Handshake Mode = "handshake" // a full handshake, an echo of one byte, the end
	Resume    Mode = "resume"    // the same with the session of the connection before
	Refused   Mode = "refused"   // a handshake that has to be refused with alert 112
	Down      Mode = "down"      // bytes from the backend
	Up        Mode = "up"        // bytes to the backend
	PingPong  Mode = "pingpong"  // messages of 64 bytes and their echoes
	Hold      Mode = "hold"      // connections that are kept open until the process ends
	Keep      Mode = "keep"      // the same; from the second round on, a byte and its echo on each of them
	Limited   Mode = "limited"   // a connection that is ended before a byte is sent, as one that is beyond a limit
)

// Plan is what a client does, in rounds.
type Plan struct {
	Mode        Mode
	Address     string // of the proxy
	Names       Names
	Connections int    // at once
	Group       string // X25519 or X25519MLKEM768: the only one that is offered
	Transfer    int64  // Hold: bytes each way before a connection is left idle
	Postgres    bool   // Handshake: TLS is asked for as PostgreSQL's clients do, and a session begins in place of the echo
	Plain       bool   // Down, Up and PingPong: behind a ClientHello nothing is encrypted
}

// Names are the names that clients ask for, in turn: Prefix, a number counted up from First, Suffix; with Count, over
// again after so many. Without a Prefix it is Suffix alone.
type Names struct {
	Prefix, Suffix string
	First, Count   int64
}

// Name is the name of the operation numbered i.
func (n Names) Name(i int64) string {
	if n.Prefix == "" {
		return n.Suffix
	}
	if n.Count > 0 {
		i %= n.Count
	}
	return fmt.Sprint(n.Prefix, n.First+i, n.Suffix)
}

// Order has one round done, of so many operations.
type Order struct{ Operations int64 }

// Opened answers a Plan: what one connection negotiated, after which the connections of the plan were made.
type Opened struct {
	Suite, Group, Key string
	Error             string // nothing can be measured
	Unsupported       bool   // because the proxy refused the parameters of the handshake
}

// Round answers an Order.
type Round struct {
	Operations int64 // that succeeded
	Resumed    int64 // handshakes of them that were
	Errors     int64
	FirstError string
	Seconds    float64
}

// Serve runs a client until in ends. It then closes what it held.
func Serve(in io.Reader, out io.Writer) error {
	decoder, encoder := json.NewDecoder(in), json.NewEncoder(out)
	var plan Plan
	if err := decoder.Decode(&plan); err != nil {
		return fmt.Errorf("plan: %w", err)
	}
	work, opened := open(plan)
	if err := encoder.Encode(opened); err != nil || opened.Error != "" {
		return err
	}
	defer work.close()
	for {
		var order Order
		if err := decoder.Decode(&order); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return fmt.Errorf("order: %w", err)
		}
		if err := encoder.Encode(timed(work, order)); err != nil {
			return err
		}
	}
}

// worker does rounds of one mode.
type worker interface {
	round(operations int64, tally *tally)
	close()
}

func open(plan Plan) (worker, Opened) {
	dialer, err := newDialer(plan)
	if err != nil {
		return nil, Opened{Error: err.Error()}
	}
	opened := Opened{}
	if plan.Mode != Refused && plan.Mode != Limited {
		if opened = dialer.probe(plan.Names.Name(0)); opened.Error != "" {
			return nil, opened
		}
	}
	work, err := newWorker(plan, dialer)
	if err != nil {
		opened.Error = err.Error()
	}
	return work, opened
}

func newWorker(plan Plan, dialer *dialer) (worker, error) {
	switch plan.Mode {
	case Handshake, Resume, Refused:
		return newVisits(plan, dialer), nil
	case Down, Up, PingPong:
		return newStreams(plan, dialer)
	case Hold, Keep:
		return &held{plan: plan, dialer: dialer}, nil
	case Limited:
		return newCrowd(plan)
	}
	return nil, fmt.Errorf("unknown mode %q", plan.Mode)
}

func timed(work worker, order Order) Round {
	var tally tally
	began := time.Now()
	work.round(order.Operations, &tally)
	return tally.result(time.Since(began))
}
