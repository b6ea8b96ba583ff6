package main

import (
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"sync"
)

// A connection's first byte tells the backend what to do with it.
const (
	wantEcho = iota
	wantBytes
	wantNothing
)

func order(conn net.Conn, what byte) error {
	_, err := conn.Write([]byte{what})
	return err
}

// backend does what the first byte of a connection says.
type backend struct {
	listener net.Listener
	running  sync.WaitGroup
}

func startBackend() (*backend, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	b := &backend{listener: listener}
	b.running.Go(b.accept)
	return b, nil
}

func (b *backend) address() string { return b.listener.Addr().String() }

// close ends it; its connections end with hellogate's.
func (b *backend) close() {
	b.listener.Close()
	b.running.Wait()
}

func (b *backend) accept() {
	for {
		conn, err := b.listener.Accept()
		if err != nil {
			return
		}
		b.running.Go(func() {
			defer conn.Close()
			_ = serve(conn) // always an error: the client ends the connection, and says when that was a fault
		})
	}
}

func serve(conn net.Conn) error {
	if err := skipHeader(conn); err != nil {
		return err
	}
	var what [1]byte
	if _, err := io.ReadFull(conn, what[:]); err != nil {
		return err
	}
	buffer := make([]byte, 256<<10)
	switch what[0] {
	case wantEcho:
		for {
			n, err := conn.Read(buffer)
			if err != nil {
				return err
			}
			if _, err := conn.Write(buffer[:n]); err != nil {
				return err
			}
		}
	case wantBytes:
		for {
			if _, err := conn.Write(buffer); err != nil {
				return err
			}
		}
	case wantNothing:
		for {
			if _, err := conn.Read(buffer); err != nil {
				return err
			}
		}
	}
	return fmt.Errorf("order %d", what[0])
}

// skipHeader reads a PROXY header of version 2.
func skipHeader(conn net.Conn) error {
	var fixed [16]byte
	if _, err := io.ReadFull(conn, fixed[:]); err != nil {
		return err
	}
	_, err := io.CopyN(io.Discard, conn, int64(binary.BigEndian.Uint16(fixed[14:])))
	return err
}
