package e2e

import (
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"
)

// What a client of PostgreSQL may say before its start-up message.
var (
	sslRequest = postgresRequest(80877103)
	gssRequest = postgresRequest(80877104)
)

// postgresRequest is a packet of the code and its body.
func postgresRequest(code uint32, body ...byte) []byte {
	packet := binary.BigEndian.AppendUint32(nil, uint32(8+len(body)))
	return append(binary.BigEndian.AppendUint32(packet, code), body...)
}

func cancelRequest(key []byte) []byte { return postgresRequest(80877102, key...) }

// postgresStart is the message that every session begins with.
func postgresStart(user string) []byte {
	return postgresRequest(3<<16, []byte("user\x00"+user+"\x00database\x00postgres\x00\x00")...)
}

// postgresClient is a client of PostgreSQL that knows just enough.
type postgresClient struct {
	net.Conn
	t   testing.TB
	key []byte // of its cancel
}

// message is what the server says next.
func (p *postgresClient) message() (kind byte, body []byte) {
	p.t.Helper()
	header := make([]byte, 5)
	if _, err := io.ReadFull(p, header); err != nil {
		p.t.Fatalf("postgres: %v", err)
	}
	body = make([]byte, binary.BigEndian.Uint32(header[1:])-4)
	if _, err := io.ReadFull(p, body); err != nil {
		p.t.Fatalf("postgres: %v", err)
	}
	return header[0], body
}

// until reads what the server says up to a message of the kind, and gives that.
func (p *postgresClient) until(kind byte) []byte {
	p.t.Helper()
	for {
		got, body := p.message()
		switch {
		case got == kind:
			return body
		case got == 'E':
			p.t.Fatalf("postgres: %q", body)
		case got == 'K':
			p.key = body
		}
	}
}

// login starts a session as the user raw.
func (p *postgresClient) login() *postgresClient {
	p.t.Helper()
	if _, err := p.Write(postgresStart("raw")); err != nil {
		p.t.Fatal(err)
	}
	p.until('Z')
	return p
}

// say sends a query and does not wait.
func (p *postgresClient) say(statement string) {
	p.t.Helper()
	packet := binary.BigEndian.AppendUint32([]byte{'Q'}, uint32(5+len(statement)))
	if _, err := p.Write(append(packet, statement+"\x00"...)); err != nil {
		p.t.Fatal(err)
	}
}

// ask gives the one value that a query is answered with.
func (p *postgresClient) ask(statement string) string {
	p.t.Helper()
	p.say(statement)
	row := p.until('D')
	p.until('Z')
	return string(row[6:])
}

// postgresDirect is a session with a server, past hellogate.
func postgresDirect(t testing.TB, address string) *postgresClient {
	t.Helper()
	return (&postgresClient{Conn: dialRaw(t, address), t: t}).login()
}

// dialRaw connects to an address until the test's end.
func dialRaw(t testing.TB, address string) *net.TCPConn {
	t.Helper()
	conn, err := net.DialTimeout("tcp", address, patience)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	conn.SetDeadline(time.Now().Add(2 * patience))
	return conn.(*net.TCPConn)
}

// sayAndHear writes bytes and reads as many back as are wanted.
func sayAndHear(t testing.TB, conn net.Conn, say []byte, want string) {
	t.Helper()
	if _, err := conn.Write(say); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, len(want))
	if n, err := io.ReadFull(conn, got); string(got) != want {
		t.Fatalf("said %.60q, heard %q, want %q: %v", say, got[:n], want, err)
	}
}

// postgres is a TLS connection for name, before the start-up message.
func (g *gate) postgres(name string, options ...option) *client {
	g.t.Helper()
	conn := dialRaw(g.t, g.address)
	sayAndHear(g.t, conn, sslRequest, "S")
	c, err := handshakeOver(conn, name, options...)
	if err != nil {
		g.t.Fatalf("handshake for %q: %v", name, err)
	}
	return c
}

// session is a session through hellogate.
func (g *gate) session(name string, options ...option) *postgresClient {
	g.t.Helper()
	return (&postgresClient{Conn: g.postgres(name, options...), t: g.t}).login()
}

// wantFatal checks that a refusal in PostgreSQL's own words, and then the end, is all that comes.
func wantFatal(t testing.TB, conn net.Conn, code string) {
	t.Helper()
	answer, err := io.ReadAll(conn)
	if err != nil && !isReset(err) {
		t.Fatalf("after %q: %v", answer, err)
	}
	if len(answer) < 6 || answer[0] != 'E' || int(binary.BigEndian.Uint32(answer[1:])) != len(answer)-1 ||
		!strings.Contains(string(answer), "SFATAL\x00") || !strings.Contains(string(answer), fmt.Sprintf("C%s\x00", code)) {
		t.Errorf("answered %q, want one ErrorResponse with the code %s", answer, code)
	}
}
