package soak

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"time"
)

// hello is the ClientHello that crypto/tls would send.
func (a *attempt) hello() []byte {
	ours, theirs := net.Pipe()
	defer ours.Close()
	sent := make(chan struct{})
	go func() {
		defer close(sent)
		tls.Client(theirs, &tls.Config{ServerName: a.someName()}).Handshake()
	}()
	header := make([]byte, 5)
	io.ReadFull(ours, header)
	body := make([]byte, int(header[3])<<8|int(header[4]))
	io.ReadFull(ours, body)
	ours.Close()
	<-sent
	return append(header, body...)
}

// rude connects, sends raw bytes, and leaves it at that.
func (a *attempt) rude(raw []byte) (*wire, error) {
	a.began, a.stage = time.Now(), connecting
	conn, err := a.dial(0)
	if err != nil {
		return nil, err
	}
	a.local, a.stage = conn.LocalAddr().String(), handshaking
	conn.Write(raw) // it may be refused before it has taken all
	return conn, nil
}

// ended waits until hellogate has ended a connection, which it has to by then.
func ended(conn *wire, by time.Duration) error {
	defer conn.Close()
	conn.SetReadDeadline(time.Now().Add(by))
	began := time.Now()
	n, err := io.Copy(io.Discard, conn)
	var timeout net.Error
	if errors.As(err, &timeout) && timeout.Timeout() {
		return fmt.Errorf("not ended after %v, %d bytes came", time.Since(began).Round(time.Millisecond), n)
	}
	return nil
}

// slack is what the machine may add to a deadline.
const slack = 10 * time.Second

func (a *attempt) stalls(raw []byte, limit time.Duration) error {
	conn, err := a.rude(raw)
	if err != nil {
		return err
	}
	return ended(conn, limit+slack)
}

func nothingSent(a *attempt) error { return a.stalls(nil, helloTimeout) }

func helloStalls(a *attempt) error {
	hello := a.hello()
	return a.stalls(hello[:a.rng.IntN(len(hello))], helloTimeout)
}

// handshakeStalls never answers the server's part of the handshake.
func handshakeStalls(a *attempt) error { return a.stalls(a.hello(), handshakeTimeout) }

func garbage(a *attempt) error {
	raw := make([]byte, a.between(5, 20_000))
	for i := range raw {
		raw[i] = byte(a.rng.Uint32())
	}
	if a.rng.IntN(2) == 0 {
		copy(raw, []byte{22, 3, 1, 64, 0, 1}) // it begins as a hello does
	}
	return a.stalls(raw, helloTimeout)
}

// helloCutOff ends or resets somewhere in, or right behind, the hello.
func helloCutOff(a *attempt) error {
	hello := a.hello()
	conn, err := a.rude(hello[:a.rng.IntN(len(hello)+1)])
	if err != nil {
		return err
	}
	time.Sleep(a.within(20 * time.Millisecond))
	if a.rng.IntN(2) == 0 {
		conn.SetLinger(0)
		return conn.Close()
	}
	conn.CloseWrite()
	return ended(conn, helloTimeout+handshakeTimeout+slack)
}

func closedAtOnce(a *attempt) error {
	conn, err := a.rude(nil)
	if err != nil {
		return err
	}
	if a.rng.IntN(2) == 0 {
		conn.SetLinger(0)
	}
	return conn.Close()
}
