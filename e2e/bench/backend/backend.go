// Package backend is the plain TCP server behind the proxies of a benchmark. It skips a PROXY header, version 1 or 2,
// and does what the client asks for, at as little cost as can be: it shares the processor with the client.
package backend

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
)

// What a client asks for, as a first byte. Send and Receive are followed by a number of bytes, big-endian in 8 of
// them, and by another command when they are done. So is a ClientHello, for which nothing is done: a proxy that passes a
// client through does not see that its bytes are not encrypted.
const (
	Echo    = 'e' // sends everything back, this byte included
	Send    = 'd' // sends so many bytes
	Receive = 'u' // reads so many bytes, then answers with Done
	Done    = 'k'
)

const (
	chunk     = 256 << 10
	signature = "\r\n\r\n\x00\r\nQUIT\n" // of a PROXY header of version 2
	hello     = 0x16                     // begins a TLS record of a handshake (RFC 8446, section 5.1)
	startup   = 0                        // begins the length of a PostgreSQL client's first message
)

// Answered is how many bytes a PostgreSQL client is sent for its first message: AuthenticationOk, BackendKeyData with a key
// of its own, ReadyForQuery.
const Answered = 9 + 13 + 6

// Serve answers on listener until that is closed, and returns when the connections have ended.
func Serve(listener net.Listener) error {
	var connections sync.WaitGroup
	defer connections.Wait()
	for {
		connection, err := listener.Accept()
		if errors.Is(err, net.ErrClosed) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("accept: %w", err)
		}
		connections.Go(func() {
			defer connection.Close()
			_ = serve(connection) // the client knows what it missed
		})
	}
}

func serve(connection net.Conn) error {
	reader := bufio.NewReaderSize(connection, 2048)
	if err := skipHeader(reader); err != nil {
		return err
	}
	for {
		command, err := reader.ReadByte()
		if err != nil {
			return err
		}
		switch command {
		case Echo:
			return echo(connection, reader)
		case hello:
			err = skipRecord(reader)
		case startup:
			err = begin(connection, reader)
		case Send:
			err = send(connection, reader)
		case Receive:
			err = receive(connection, reader)
		default:
			err = fmt.Errorf("unknown command %q", command)
		}
		if err != nil {
			return err
		}
	}
}

// skipHeader reads a PROXY header: a connection without one comes from a proxy that is set up wrongly.
func skipHeader(reader *bufio.Reader) error {
	first, err := reader.Peek(1)
	if err != nil {
		return err
	}
	if first[0] == 'P' {
		return skipText(reader)
	}
	header := make([]byte, len(signature)+4)
	if _, err := io.ReadFull(reader, header); err != nil {
		return err
	}
	if !strings.HasPrefix(string(header), signature) {
		return errors.New("no PROXY header")
	}
	_, err = reader.Discard(int(binary.BigEndian.Uint16(header[len(signature)+2:])))
	return err
}

func skipText(reader *bufio.Reader) error {
	line, err := reader.ReadString('\n')
	if err == nil && !strings.HasPrefix(line, "PROXY ") {
		err = errors.New("no PROXY header")
	}
	return err
}

// skipRecord skips what is left of a TLS record.
func skipRecord(reader *bufio.Reader) error {
	var header [4]byte
	if _, err := io.ReadFull(reader, header[:]); err != nil {
		return err
	}
	_, err := reader.Discard(int(binary.BigEndian.Uint16(header[2:])))
	return err
}

// begin begins a PostgreSQL session.
func begin(connection io.Writer, reader *bufio.Reader) error {
	var length [3]byte
	if _, err := io.ReadFull(reader, length[:]); err != nil {
		return err
	}
	if _, err := reader.Discard(int(binary.BigEndian.Uint16(length[1:])) - 4); err != nil {
		return err
	}
	answer := append(make([]byte, 0, Answered), "R\x00\x00\x00\x08\x00\x00\x00\x00K\x00\x00\x00\x0c"...)
	answer = binary.BigEndian.AppendUint64(answer, keys.Add(1))
	_, err := connection.Write(append(answer, "Z\x00\x00\x00\x05I"...))
	return err
}

var keys atomic.Uint64

func echo(connection io.Writer, reader io.Reader) error {
	buffer := make([]byte, 256)
	buffer[0] = Echo
	for n := 1; ; {
		if _, err := connection.Write(buffer[:n]); err != nil {
			return err
		}
		var err error
		if n, err = reader.Read(buffer); err != nil {
			return err
		}
	}
}

func send(connection io.Writer, reader io.Reader) error {
	left, err := number(reader)
	for err == nil && left > 0 {
		var n int
		n, err = connection.Write(zeros[:min(left, chunk)])
		left -= int64(n)
	}
	return err
}

var zeros = make([]byte, chunk)

func receive(connection io.Writer, reader *bufio.Reader) error {
	left, err := number(reader)
	if err != nil {
		return err
	}
	buffer := buffers.Get().(*[chunk]byte)
	defer buffers.Put(buffer)
	for left > 0 {
		n, err := reader.Read(buffer[:min(left, chunk)])
		if err != nil {
			return err
		}
		left -= int64(n)
	}
	_, err = connection.Write([]byte{Done})
	return err
}

var buffers = sync.Pool{New: func() any { return new([chunk]byte) }}

func number(reader io.Reader) (int64, error) {
	var encoded [8]byte
	_, err := io.ReadFull(reader, encoded[:])
	return int64(binary.BigEndian.Uint64(encoded[:])), err
}
