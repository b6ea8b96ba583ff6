package e2e

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
)

// The alerts that refusals use (RFC 8446, section 6).
const (
	alertIllegalParameter = 47
	alertAccessDenied     = 49
	alertDecodeError      = 50
	alertInternalError    = 80
	alertMissingExtension = 109
	alertUnrecognizedName = 112
	alertNoApplication    = 120
)

const (
	recordAlert       = 21
	recordHandshake   = 22
	recordApplication = 23
)

// wire is the connection under a TLS client. It keeps what the records told: the first alert in plain text, how the last
// record looked, and how the stream ended.
type wire struct {
	*net.TCPConn
	rewrite func(w io.Writer, hello []byte) error // of what is sent before the first byte came back

	mu     sync.Mutex
	header []byte // of the record that is being read
	rest   int    // bytes of that record to come
	first  []byte // of the alert in plain text
	answer byte   // kind of the first record
	kind   byte   // kind and length of the last record
	length int
	end    error
}

func (w *wire) Write(b []byte) (int, error) {
	w.mu.Lock()
	started := w.answer != 0
	w.mu.Unlock()
	if w.rewrite == nil || started {
		return w.TCPConn.Write(b)
	}
	return len(b), w.rewrite(w.TCPConn, b)
}

func (w *wire) Read(b []byte) (int, error) {
	n, err := w.TCPConn.Read(b)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.note(b[:n])
	if err != nil && !isTimeout(err) {
		w.end = err
	}
	return n, err
}

// note follows the records over the bytes that came.
func (w *wire) note(b []byte) {
	for len(b) > 0 {
		if w.rest == 0 {
			taken := min(5-len(w.header), len(b))
			w.header, b = append(w.header, b[:taken]...), b[taken:]
			if len(w.header) < 5 {
				return
			}
			w.kind, w.length = w.header[0], int(w.header[3])<<8|int(w.header[4])
			w.header, w.rest = w.header[:0], w.length
			if w.answer == 0 {
				w.answer = w.kind
			}
			continue
		}
		taken := min(w.rest, len(b))
		if w.kind == recordAlert && w.length == 2 && len(w.first) < 2 {
			w.first = append(w.first, b[:taken]...)
		}
		w.rest, b = w.rest-taken, b[taken:]
	}
}

// alert is the number of the fatal alert that came in plain text, 0 without one.
func (w *wire) alert() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.first) < 2 || w.first[0] != 2 {
		return 0
	}
	return int(w.first[1])
}

// closedCleanly tells whether the stream ended with an alert, which after the handshake can only be close_notify, and with
// nothing but a FIN behind it. In TLS 1.3 that alert looks like 2 bytes of data: payload of that length would be taken for it.
func (w *wire) closedCleanly() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	isAlert := w.kind == recordAlert || w.kind == recordApplication && w.length == 19
	return isAlert && w.rest == 0 && (w.end == nil || w.end == io.EOF)
}

func isReset(err error) bool {
	return errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)
}

func isTimeout(err error) bool {
	var timeout net.Error
	return errors.As(err, &timeout) && timeout.Timeout()
}

// client is a TLS connection to hellogate.
type client struct {
	*tls.Conn
	wire *wire
}

// option changes what a client does.
type option func(*tls.Config, *wire)

func maxVersion(version uint16) option {
	return func(c *tls.Config, _ *wire) { c.MaxVersion = version }
}

func protocols(names ...string) option {
	return func(c *tls.Config, _ *wire) { c.NextProtos = names }
}

func sessions(cache tls.ClientSessionCache) option {
	return func(c *tls.Config, _ *wire) { c.ClientSessionCache = cache }
}

// anyCertificate is for those who look at the certificate themselves.
func anyCertificate(c *tls.Config, _ *wire) { c.InsecureSkipVerify = true }

// classical leaves out the post-quantum key share, for a short hello.
func classical(c *tls.Config, _ *wire) { c.CurvePreferences = []tls.CurveID{tls.X25519} }

// within sets how long the whole connection may take.
func within(limit time.Duration) option {
	return func(_ *tls.Config, w *wire) { w.SetDeadline(time.Now().Add(limit)) }
}

// handshake connects to hellogate at address and asks for name, "" for no SNI. The client comes back with an error too:
// its wire knows how it was refused.
func handshake(address, name string, options ...option) (*client, error) {
	conn, err := net.DialTimeout("tcp", address, patience)
	if err != nil {
		return nil, err
	}
	w := &wire{TCPConn: conn.(*net.TCPConn)}
	w.SetDeadline(time.Now().Add(3 * patience))
	config := &tls.Config{RootCAs: ca().pool, ServerName: name, InsecureSkipVerify: name == ""}
	for _, set := range options {
		set(config, w)
	}
	c := &client{Conn: tls.Client(w, config), wire: w}
	return c, c.Handshake()
}

// abort resets the connection.
func (c *client) abort() {
	c.wire.SetLinger(0)
	c.wire.TCPConn.Close()
}

// fingerprint is that of the certificate that came, as pair has it.
func (c *client) fingerprint() string {
	return pair{chain: c.ConnectionState().PeerCertificates}.fingerprint()
}

// wantEcho sends a text and checks that it comes back.
func (c *client) wantEcho(t testing.TB, text string) {
	t.Helper()
	if _, err := io.WriteString(c, text); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, len(text))
	if _, err := io.ReadFull(c, got); err != nil || string(got) != text {
		t.Fatalf("sent %q, got %q back: %v", text, got, err)
	}
}

// exchange sends raw bytes and gives what came back until the other side closed; reset tells how it closed.
func exchange(t testing.TB, address string, raw []byte) (got []byte, reset bool) {
	t.Helper()
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(patience))
	conn.Write(raw) // it may be refused before it has taken all
	got, err = io.ReadAll(conn)
	if err != nil && !isReset(err) {
		t.Fatalf("after %d bytes back: %v", len(got), err)
	}
	return got, isReset(err)
}

// plainAlert is the number of the alert that raw bytes from the server begin with, 0 where they do not.
func plainAlert(raw []byte) int {
	if len(raw) < 7 || raw[0] != recordAlert || !bytes.Equal(raw[3:6], []byte{0, 2, 2}) {
		return 0
	}
	return int(raw[6])
}
