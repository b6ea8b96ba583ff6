package soak

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"sync"
	"testing"
	"time"
)

// backend does with each connection what the client ordered.
type backend struct {
	world   *world
	address string

	mutex    sync.Mutex // guards the two below
	listener net.Listener
	open     map[*net.TCPConn]*served

	running sync.WaitGroup
}

// served is what is known of a connection.
type served struct {
	number uint64 // of its attempt; 0: its order has not been read yet
	lost   bool   // the backend was restarted
}

func newBackend(t *testing.T, w *world) *backend {
	b := &backend{world: w, address: "127.0.0.1:0", open: map[*net.TCPConn]*served{}}
	if err := b.start(); err != nil {
		t.Fatal(err)
	}
	return b
}

// start listens, again after a stop, at the same address.
func (b *backend) start() error {
	listener, err := net.Listen("tcp", b.address)
	if err != nil {
		return err
	}
	b.mutex.Lock()
	b.listener, b.address = listener, listener.Addr().String()
	b.mutex.Unlock()
	b.running.Go(func() { b.accept(listener) })
	return nil
}

// stop closes the listener, and resets every connection, as the end of a process does.
func (b *backend) stop() {
	b.mutex.Lock()
	defer b.mutex.Unlock()
	b.listener.Close()
	for conn, served := range b.open {
		served.lost = true
		b.world.killed.Store(served.number, true)
		abortTCP(conn)
	}
}

func (b *backend) accept(listener net.Listener) {
	for {
		conn, err := listener.Accept()
		if err != nil {
			return
		}
		b.running.Go(func() { b.serve(conn.(*net.TCPConn)) })
	}
}

func (b *backend) serve(conn *net.TCPConn) {
	b.world.servers.Add(1)
	defer b.world.servers.Add(-1)
	b.note(conn, 0)
	defer func() {
		b.mutex.Lock()
		delete(b.open, conn)
		b.mutex.Unlock()
		conn.Close()
	}()
	b.obey(conn)
}

// note keeps which attempt a connection is of.
func (b *backend) note(conn *net.TCPConn, number uint64) {
	b.mutex.Lock()
	defer b.mutex.Unlock()
	if b.open[conn] == nil {
		b.open[conn] = &served{}
	}
	b.open[conn].number = number
	if b.open[conn].lost { // before its order was read, of which a part may have come before
		b.world.killed.Store(number, true)
	}
}

// obey reads PROXY header and order, and does as told. A client may have gone before it has sent an order.
func (b *backend) obey(conn *net.TCPConn) {
	reader := bufio.NewReaderSize(conn, 2048)
	conn.SetReadDeadline(time.Now().Add(patience))
	header, err := readHeader(reader)
	if err != nil {
		b.world.oddHeader(err)
		return
	}
	line, err := reader.ReadBytes('\n')
	if err != nil {
		return
	}
	var order order
	if err := json.Unmarshal(line, &order); err != nil {
		b.world.faults.add("a backend got no order but %.100q: %v", line, err)
		return
	}
	b.note(conn, order.Number)
	err = header.confirm(order)
	if err == nil {
		stream := &plain{TCPConn: conn, ahead: reader}
		player := newPlayer(b.world.stopping, stream, newPattern(upKey(order.Number)), newPattern(downKey(order.Number)))
		err = player.play("backend", order.Side, rand.New(rand.NewPCG(b.world.seed, downKey(order.Number))))
	}
	b.world.report(order.Number, err)
}

// header is what a PROXY header says.
type header struct{ source, authority string }

func (h header) confirm(order order) error {
	if h.source != order.Client || h.authority != order.Name {
		return fmt.Errorf("the PROXY header says %q from %s, it was %q from %s", h.authority, h.source, order.Name, order.Client)
	}
	return nil
}

const tlvAuthority = 2

var signature = []byte("\r\n\r\n\x00\r\nQUIT\n\x21\x11") // with version 2, PROXY, TCP over IPv4

func readHeader(r io.Reader) (header, error) {
	var fixed [28]byte
	if _, err := io.ReadFull(r, fixed[:]); err != nil {
		return header{}, err
	}
	if !bytes.HasPrefix(fixed[:], signature) {
		return header{}, fmt.Errorf("PROXY header begins with %q", fixed)
	}
	rest := make([]byte, int(binary.BigEndian.Uint16(fixed[14:]))-12)
	if _, err := io.ReadFull(r, rest); err != nil {
		return header{}, err
	}
	h := header{source: fmt.Sprintf("%v:%d", net.IP(fixed[16:20]), binary.BigEndian.Uint16(fixed[24:]))}
	for len(rest) >= 3 {
		kind, length := rest[0], int(binary.BigEndian.Uint16(rest[1:]))
		if len(rest) < 3+length {
			return h, errors.New("PROXY header ends within a TLV")
		}
		if kind == tlvAuthority {
			h.authority = string(rest[3 : 3+length])
		}
		rest = rest[3+length:]
	}
	return h, nil
}

// gone reports whether err is a connection's that ended early, which is no fault of what came over it.
func gone(err error) bool {
	return isReset(err) || err == io.EOF || err == io.ErrUnexpectedEOF || errors.Is(err, net.ErrClosed) || errors.Is(err, context.Canceled)
}
