package terminate

import (
	"bytes"
	"io"
	"net"
	"slices"
	"testing"

	"hellogate/terminate/preamble"
	"hellogate/terminate/socket"
)

// BenchmarkPreamblePostgres is what PostgreSQL's protocol adds to a connection: the answer to the request for TLS, the first
// message, the look for the key in what the server sends first, the key's coming and going. In "code" it takes the CPU time
// of that alone; in "sockets" the request and its answer go over TCP, and the figure has the client's half of that, too.
func BenchmarkPreamblePostgres(b *testing.B) {
	b.Run("code", func(b *testing.B) {
		preambles(b, func() (io.ReadWriter, func()) { return &exchange{bytes.NewReader(sslRequest)}, func() {} })
	})
	b.Run("sockets", func(b *testing.B) {
		server, client := tcpPair(b)
		preambles(b, func() (io.ReadWriter, func()) {
			_, _ = client.Write(sslRequest)
			return server, func() { _, _ = client.Read(make([]byte, 1)) }
		})
	})
}

// preambles does it all, on connections that begin gives, with what ends the client's part.
func preambles(b *testing.B, begin func() (conn io.ReadWriter, end func())) {
	server, speaks := New(Options{}, &Plan{}), startTLS(b, postgres)
	answer := slices.Concat(authOK, parameter, message("K", keyOf(1, 8)...), isReady)
	buffer := new(socket.Buffer)
	onOneProcessor(b)
	b.ReportAllocs()
	before := processTime()
	for b.Loop() {
		conn, end := begin()
		opened, err := speaks.protocol.Negotiate(conn, "db.test")
		if err != nil {
			b.Fatal(err)
		}
		end()
		server.preambles.add(postgres, outcome(opened))
		first, err := preamble.ReadStartup(&exchange{bytes.NewReader(startup)})
		if err != nil {
			b.Fatal(err)
		}
		c := &connection{server: server, listener: &Listener{StartTLS: speaks}, opening: &opening{Opening: opened, startup: first.Message}}
		header, _ := c.first(nil)
		c.bytes.down.watch.see(buffer[:copy(buffer[:], answer)])
		copy(buffer[:], header)
		c.forgetKey()
	}
	b.ReportMetric(float64((processTime()-before).Nanoseconds())/float64(b.N), "cpu-ns")
}

// exchange is a connection that has some bytes to read, and takes what is written.
type exchange struct{ io.Reader }

func (e *exchange) Write(p []byte) (int, error) { return len(p), nil }

// tcpPair is a connection's two ends.
func tcpPair(b *testing.B) (server, client net.Conn) {
	b.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	defer l.Close()
	if client, err = net.Dial("tcp", l.Addr().String()); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { client.Close() })
	if server, err = l.Accept(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { server.Close() })
	return server, client
}
