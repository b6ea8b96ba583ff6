package main

import (
	"context"
	"crypto/tls"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// load is one kind of traffic.
type load struct {
	name, unit string
	clients    int
	each       func(conn *tls.Conn, count func(int)) error // what a connection does, until it is closed; nil: a round trip
}

// loads are what is recorded, one after another.
var loads = []load{
	{name: "handshake", unit: "connections with a full ECDSA handshake", clients: 8},
	{name: "bulk-down", unit: "MB to the client", clients: 4, each: receive},
	{name: "bulk-up", unit: "MB from the client", clients: 4, each: send},
	{name: "round-trip", unit: "round trips of 64 bytes", clients: 50, each: exchange},
}

// running is a load that is on.
type running struct {
	group  sync.WaitGroup
	done   atomic.Int64
	failed chan error // the first error
}

// start begins the load, until ctx is done.
func (l load) start(ctx context.Context, gate *gate) *running {
	r := &running{failed: make(chan error, 1)}
	for range l.clients {
		r.group.Go(func() {
			for ctx.Err() == nil {
				if err := r.once(ctx, l, gate); err != nil && ctx.Err() == nil {
					select {
					case r.failed <- err:
					default:
					}
					return
				}
			}
		})
	}
	return r
}

// once is a connection's life.
func (r *running) once(ctx context.Context, l load, gate *gate) error {
	conn, err := gate.dial(ctx)
	if err != nil {
		return err
	}
	defer conn.NetConn().Close()
	defer context.AfterFunc(ctx, func() { conn.NetConn().Close() })()
	count := func(n int) { r.done.Add(int64(n)) }
	if l.each != nil {
		return l.each(conn, count)
	}
	if err := order(conn, wantEcho); err != nil {
		return err
	}
	if err := roundTrip(conn, make([]byte, 1)); err != nil {
		return err
	}
	count(1)
	return conn.Close()
}

// wait gives the load a time, or the error that ended it.
func (r *running) wait(length time.Duration) error {
	select {
	case err := <-r.failed:
		return err
	case <-time.After(length):
		return nil
	}
}

// end waits for the end of a load whose context is done, and gives how much it did.
func (r *running) end() (int64, error) {
	r.group.Wait()
	select {
	case err := <-r.failed:
		return r.done.Load(), err
	default:
		return r.done.Load(), nil
	}
}

const megabyte = 1_000_000

func receive(conn *tls.Conn, count func(int)) error {
	if err := order(conn, wantBytes); err != nil {
		return err
	}
	buffer := make([]byte, megabyte)
	for {
		if _, err := io.ReadFull(conn, buffer); err != nil {
			return err
		}
		count(1)
	}
}

func send(conn *tls.Conn, count func(int)) error {
	if err := order(conn, wantNothing); err != nil {
		return err
	}
	buffer := make([]byte, megabyte)
	for {
		if _, err := conn.Write(buffer); err != nil {
			return err
		}
		count(1)
	}
}

func exchange(conn *tls.Conn, count func(int)) error {
	if err := order(conn, wantEcho); err != nil {
		return err
	}
	message := make([]byte, 64)
	for {
		if err := roundTrip(conn, message); err != nil {
			return err
		}
		count(1)
	}
}

func roundTrip(conn net.Conn, message []byte) error {
	if _, err := conn.Write(message); err != nil {
		return err
	}
	_, err := io.ReadFull(conn, message)
	return err
}
