package terminate

import (
	"bytes"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"sync"
	"syscall"
	"testing"
	"time"

	"hellogate/terminate/socket"
)

// drip is a connection that always has one byte more, and takes everything.
type drip struct {
	socket.Conn
	reads int
}

func (d *drip) Read(p []byte) (int, error)  { d.reads++; p[0] = 'x'; return 1, nil }
func (d *drip) Write(p []byte) (int, error) { return len(p), nil }
func (d *drip) Queued() int                 { return 0 }

// A turn takes a few records, however small they are, and says that there may be more.
func TestTurnOfSmallRecords(t *testing.T) {
	client, backend := &drip{}, &drip{}
	s := splice{client: &stream{transport: transport{Conn: client}}, backend: &stream{transport: transport{Conn: backend}}}
	s.start(nil, nil)
	if more := s.up.turn(new(socket.Buffer)); !more {
		t.Error("nothing is left to read")
	}
	if client.reads == 0 || client.reads > mostReads || s.up.moved.Load() != int64(client.reads) {
		t.Errorf("%d bytes were moved in %d reads", s.up.moved.Load(), client.reads)
	}
}

// held is a connection whose peer takes nothing, or little: so many bytes are queued for it, and so many unsent.
type held struct {
	socket.Conn
	queued, unsent int
	readErr        error
}

func (h *held) Read([]byte) (int, error) { return 0, h.readErr }
func (h *held) Queued() int              { return h.queued }
func (h *held) Unsent() int              { return h.unsent }
func (h *held) Flush() error             { return nil }
func (h *held) CloseWrite() error        { return nil }
func (h *held) Over() bool               { return false }

// Whose patience ends with a splice in which a side has taken nothing for long.
func TestPatience(t *testing.T) {
	const idle, half, queued = time.Hour, time.Minute, 1000
	for _, test := range []struct {
		name   string
		since  time.Duration // how long the backend has taken nothing
		change func(s *splice, backend *held)
		reason Reason
	}{
		{"within the idle time", idle / 2, func(*splice, *held) {}, ""},
		{"beyond the idle time", 2 * idle, func(*splice, *held) {}, ReasonIdle},
		{"within the half-close timeout", half / 2, func(s *splice, _ *held) { s.halved = true }, ""},
		{"beyond the half-close timeout", 2 * half, func(s *splice, _ *held) { s.halved = true }, ReasonIdle},
		{"beyond the half-close timeout, which begins now", 2 * half, func(_ *splice, b *held) { b.readErr = io.EOF }, ""},
		{"a byte was taken", 2 * idle, func(_ *splice, b *held) { b.unsent-- }, ""},
		{"it is gone", 2 * idle, func(s *splice, _ *held) { s.up.at = over }, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			client := &held{readErr: socket.ErrNothingYet}
			backend := &held{queued: queued, unsent: queued, readErr: socket.ErrNothingYet}
			s := splice{
				strand: &socket.Strand{}, client: &stream{transport: transport{Conn: client}}, backend: &stream{transport: transport{Conn: backend}},
				idle: idle, half: half,
			}
			s.start(nil, nil)
			s.now = time.Now()
			s.up.took, s.up.left = s.now.Add(-test.since), 2*queued
			test.change(&s, backend)
			if s.move(); s.reason != test.reason {
				t.Errorf("reason %q, want %q", s.reason, test.reason)
			}
		})
	}
}

// A client that sends its bytes one by one, with KeyUpdates between them or not, holds nobody up.
func TestFloodOfSmallRecords(t *testing.T) {
	for _, test := range []struct {
		name  string
		bytes int
		make  func(f *forger, data []byte) (records []byte)
	}{
		{"with KeyUpdates", 1000, (*forger).flood},
		{"without KeyUpdates", 40_000, func(f *forger, data []byte) (records []byte) {
			for _, one := range data {
				records = f.seal(records, 23, one)
			}
			return records
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			b, client, forged := flooder(t, syscall.SO_RCVBUF, 4<<20)
			backend := b.accept()
			_ = backend.SetDeadline(time.Now().Add(floodPatience))
			data := filled(test.bytes)
			records := test.make(forged, data)
			probes := b.echoes(2) // one shares the flooder's poller where there are two
			began, worst := time.Now(), time.Duration(0)
			var group sync.WaitGroup
			arrived := make(chan struct{})
			group.Go(func() { _, _ = io.Copy(io.Discard, tcp(client)) })
			group.Go(func() { mustWrite(t, tcp(client), records) })
			group.Go(func() {
				defer close(arrived)
				got := make([]byte, len(data))
				if n, err := io.ReadFull(backend, got); err != nil || !bytes.Equal(got, data) {
					t.Errorf("the backend got %d bytes of %d, or others: %v", n, len(data), err)
				}
			})
			for trips, flowing := 0, true; flowing; trips++ {
				select {
				case <-arrived:
					flowing = false
				default:
				}
				time.Sleep(time.Millisecond)
				worst = max(worst, roundTrip(t, probes[trips%len(probes)]))
			}
			if took := time.Since(began); worst > max(time.Second, took/2) { // who is held up is so until the flood is over
				t.Errorf("a round trip took %v, the flood %v", worst, took)
			}
			tcp(client).Close()
			group.Wait()
		})
	}
}

// echoes are connections whose backend sends everything back.
func (b *bench) echoes(n int) (clients []*tls.Conn) {
	for range n {
		client, backend := b.pair()
		_ = client.SetDeadline(time.Now().Add(floodPatience))
		_ = backend.SetDeadline(time.Now().Add(floodPatience))
		go func() { _, _ = io.Copy(backend, backend) }()
		clients = append(clients, client)
	}
	return clients
}

func roundTrip(t *testing.T, client *tls.Conn) time.Duration {
	t.Helper()
	began := time.Now()
	mustWrite(t, client, []byte("ping"))
	if _, err := io.ReadFull(client, make([]byte, 4)); err != nil {
		t.Fatal(err)
	}
	return time.Since(began)
}

// halfCloser is one end of a connection.
type halfCloser interface {
	net.Conn
	CloseWrite() error
}

// readers are the two ways of a connection.
var readers = []struct {
	name   string // of who reads
	choose func(client *tls.Conn, backend *net.TCPConn) (writer, reader halfCloser)
}{
	{"the client", func(c *tls.Conn, b *net.TCPConn) (writer, reader halfCloser) { return b, c }},
	{"the backend", func(c *tls.Conn, b *net.TCPConn) (writer, reader halfCloser) { return c, b }},
}

// A reader that pauses for longer than the half-close timeout, and then ends its own side, gets everything: its patience
// is measured from that end.
func TestHalfCloseAfterPause(t *testing.T) {
	if testing.Short() {
		t.Skip("takes 2 s")
	}
	const half = 700 * time.Millisecond
	data := filled(16 << 20)
	for _, test := range readers {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			b := startServer(t, func(o *setup) { o.Timeouts.HalfClose = half })
			writer, reader := test.choose(b.pair())
			var group sync.WaitGroup
			group.Go(func() { mustWrite(t, writer, data); _ = writer.CloseWrite() })
			time.Sleep(half + half/2)
			if err := reader.CloseWrite(); err != nil {
				t.Fatal(err)
			}
			time.Sleep(half / 10)
			wantRead(t, reader, data, nil)
			group.Wait()
			b.wantReason(ReasonOK)
		})
	}
}

// slowly reads for a while in small pieces, with a pause before each, then as fast as it can.
type slowly struct {
	io.Reader
	piece int
	pause time.Duration
	until time.Time
}

func (s *slowly) Read(p []byte) (int, error) {
	if time.Now().Before(s.until) {
		time.Sleep(s.pause)
		p = p[:min(s.piece, len(p))]
	}
	return s.Reader.Read(p)
}

// startTiny starts a server between sockets that hold little and tell of each piece that is taken: loopback's segments
// are larger than these buffers.
func startTiny(t *testing.T, change func(*setup)) *bench {
	t.Helper()
	tiny := func(l net.Listener) {
		setBuffer(t, l.(*net.TCPListener), syscall.SO_RCVBUF, tinyBuffer)
		setOption(t, l.(*net.TCPListener), syscall.IPPROTO_TCP, syscall.TCP_MAXSEG, 1000)
	}
	b := startServer(t, func(o *setup) { tiny(o.Listeners[0].Socket); change(o) })
	tiny(b.backend)
	return b
}

const tinyBuffer = 8 << 10

// tinyPair is a pair whose client, too, has a small buffer, from its first segment on, and something between TLS and the
// wire.
func (b *bench) tinyPair(between func(net.Conn) net.Conn) (*tls.Conn, *net.TCPConn) {
	b.t.Helper()
	dialer := net.Dialer{Control: func(_, _ string, raw syscall.RawConn) (err error) {
		return errors.Join(raw.Control(func(fd uintptr) {
			err = syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_RCVBUF, tinyBuffer)
		}), err)
	}}
	raw, err := dialer.Dial("tcp", b.address)
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(func() { raw.Close() })
	_ = raw.SetDeadline(time.Now().Add(10 * time.Second))
	client := tls.Client(between(&wire{TCPConn: raw.(*net.TCPConn)}), &tls.Config{ServerName: "a.test", RootCAs: b.ca.Pool()})
	if err := client.Handshake(); err != nil {
		b.t.Fatal(err)
	}
	return client, b.accept()
}

// A reader that takes a little within each half-close timeout does not stand still, although the kernel tells of room in
// its send buffer much later.
func TestSlowReaderAfterHalfClose(t *testing.T) {
	if testing.Short() {
		t.Skip("takes 2 s")
	}
	const half = 300 * time.Millisecond
	data := filled(8 << 20)
	for _, test := range readers {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			b := startTiny(t, func(o *setup) { o.Timeouts.HalfClose = half })
			writer, reader := test.choose(b.tinyPair(func(raw net.Conn) net.Conn { return raw }))
			var group sync.WaitGroup
			group.Go(func() { mustWrite(t, writer, data); _ = writer.CloseWrite() })
			time.Sleep(half / 2) // the way to the reader is full
			if err := reader.CloseWrite(); err != nil {
				t.Fatal(err)
			}
			wantRead(t, &slowly{reader, 4 << 10, half / 20, time.Now().Add(4 * half)}, data, nil)
			group.Wait()
			b.wantReason(ReasonOK)
		})
	}
}
