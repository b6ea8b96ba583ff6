package terminate

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rs/zerolog"
	"go.uber.org/goleak"

	"hellogate/cache"
	"hellogate/sni"
	"hellogate/store"
	"hellogate/store/certtest"
	"hellogate/terminate/pool"
	"hellogate/terminate/tickets"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// lookups is a certificate source of tests: names to certificates or errors.
type lookups map[string]any

func (l lookups) Get(ctx context.Context, query cache.Query) (cache.Answer, error) {
	switch answer := l[query.Name].(type) {
	case *tls.Certificate:
		return cache.Answer{Certificate: answer, Source: cache.Hit}, nil
	case error:
		return cache.Answer{}, answer
	case func(context.Context) error:
		return cache.Answer{}, answer(ctx)
	default:
		return cache.Answer{}, store.ErrUnknown
	}
}

// bench is a Server under test with everything around it.
type bench struct {
	t       *testing.T
	server  *Server
	route   *Route // of all names
	address string
	ca      *certtest.CA
	stop    func() error
	backend net.Listener
	lines   chan map[string]any
}

// setup is what a Server under test is made of.
type setup struct {
	Options
	*Plan
	*Route
	Drain time.Duration
}

// startServer runs a Server in front of a backend that the test accepts from, with certificates for a.test and b.test.
func startServer(t *testing.T, change func(*setup)) *bench {
	t.Helper()
	b := &bench{t: t, ca: certtest.NewCA(t), backend: listen(t), lines: make(chan map[string]any, 1000)}
	first, second := b.ca.Issue(t, "a.test").TLS(), b.ca.Issue(t, "b.test").TLS()
	front := listen(t)
	b.address = front.Addr().String()
	access := zerolog.New(lineWriter(b.lines))
	b.route = &Route{
		Backend: backendOf(t, "main", b.backend.Addr().String()), Tickets: newTickets(t),
		Timeouts: Timeouts{Handshake: 5 * time.Second, Idle: 10 * time.Second, HalfClose: 10 * time.Second},
	}
	o := setup{
		Options: Options{Certificates: lookups{"a.test": &first, "b.test": &second}, Log: zerolog.Nop(), Access: &access},
		Plan: &Plan{
			Listeners: []Listener{{Socket: front, Name: "front"}},
			Routes:    routesTo(t, b.route),
			Limits: Limits{
				Connections: 100, Handshakes: 100, Waiting: 100, HelloBytes: sni.MaxHello, Hello: 5 * time.Second, Alert: time.Second,
			},
		},
		Route: b.route,
		Drain: 200 * time.Millisecond,
	}
	if change != nil {
		change(&o)
	}
	b.server = New(o.Options, o.Plan)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- b.server.Serve(ctx, func() time.Duration { return o.Drain }) }()
	b.stop = sync.OnceValue(func() error { cancel(); return <-done })
	t.Cleanup(func() { _ = b.stop() })
	return b
}

// routesTo sends everything one way.
func routesTo(t testing.TB, route *Route) *sni.Table[*Route] {
	t.Helper()
	table, err := sni.NewTable([]sni.Rule[*Route]{{Value: route}})
	if err != nil {
		t.Fatal(err)
	}
	return table
}

// backendOf is a backend of these servers, tried in turn.
func backendOf(t testing.TB, name string, servers ...string) *Backend {
	t.Helper()
	options := pool.Options{Name: name, Log: zerolog.Nop()}
	for _, address := range servers {
		options.Servers = append(options.Servers, pool.ServerOptions{Address: address, Weight: 1})
	}
	made, err := pool.New(options)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(made.Close)
	return &Backend{Name: name, Pool: made, ConnectTimeout: time.Second, DialTimeout: 5 * time.Second, Retries: len(servers) - 1}
}

func newTickets(t testing.TB) *tickets.Keys {
	t.Helper()
	keys, err := tickets.New(tickets.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return keys
}

func listen(t *testing.T) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

type lineWriter chan map[string]any

func (w lineWriter) Write(p []byte) (int, error) {
	var line map[string]any
	if err := json.Unmarshal(p, &line); err != nil {
		return 0, err
	}
	w <- line
	return len(p), nil
}

// dial makes a TLS connection for a name. Like the path itself the client tells a reset from an end of stream, also
// where one of its writes was told of the reset first.
func (b *bench) dial(name string, change func(*tls.Config)) (*tls.Conn, error) {
	b.t.Helper()
	raw, err := net.Dial("tcp", b.address)
	if err != nil {
		return nil, err
	}
	b.t.Cleanup(func() { raw.Close() })
	_ = raw.SetDeadline(time.Now().Add(10 * time.Second))
	config := &tls.Config{ServerName: name, RootCAs: b.ca.Pool()}
	if change != nil {
		change(config)
	}
	client := tls.Client(&wire{TCPConn: raw.(*net.TCPConn)}, config)
	if err := client.Handshake(); err != nil {
		raw.Close()
		return nil, err
	}
	return client, nil
}

// wire is a client's TCP connection which tells a reset from an end of stream, also where one of its writes was told of the
// reset first: then a read finds the end of the stream, and a later one too, but the connection is over.
type wire struct {
	*net.TCPConn
	broken atomic.Pointer[error]
}

func (w *wire) Read(p []byte) (int, error) {
	n, err := w.TCPConn.Read(p)
	if broken := w.broken.Load(); err == io.EOF && broken != nil {
		return n, *broken
	}
	return n, err
}

func (w *wire) Write(p []byte) (int, error) {
	n, err := w.TCPConn.Write(p)
	if err != nil {
		w.broken.Store(&err)
	}
	return n, err
}

// tcp is the TCP connection beneath a client.
func tcp(client *tls.Conn) *net.TCPConn { return client.NetConn().(*wire).TCPConn }

// pair makes a connection for a.test and accepts it at the backend.
func (b *bench) pair() (*tls.Conn, *net.TCPConn) {
	b.t.Helper()
	client, err := b.dial("a.test", nil)
	if err != nil {
		b.t.Fatal(err)
	}
	return client, b.accept()
}

func (b *bench) accept() *net.TCPConn {
	b.t.Helper()
	_ = b.backend.(*net.TCPListener).SetDeadline(time.Now().Add(5 * time.Second))
	conn, err := b.backend.Accept()
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(func() { conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
	return conn.(*net.TCPConn)
}

// line waits for the next line of the access log.
func (b *bench) line() map[string]any {
	b.t.Helper()
	select {
	case line := <-b.lines:
		return line
	case <-time.After(10 * time.Second):
		b.t.Fatal("no access line")
		return nil
	}
}

// wantReason waits for the next line and checks its reason.
func (b *bench) wantReason(reason Reason) {
	b.t.Helper()
	if line := b.line(); line["reason"] != string(reason) {
		b.t.Errorf("reason %v, want %s: %v", line["reason"], reason, line)
	}
}

// wantRead reads to the end, or to an error, and checks both.
func wantRead(t *testing.T, from io.Reader, want []byte, end error) {
	t.Helper()
	got, err := io.ReadAll(from)
	if !bytes.Equal(got, want) {
		t.Errorf("read %d bytes, want %d", len(got), len(want))
	}
	if !errors.Is(err, end) {
		t.Errorf("read ended with %v, want %v", err, end)
	}
}

func mustWrite(t *testing.T, to io.Writer, p []byte) {
	t.Helper()
	if _, err := to.Write(p); err != nil {
		t.Error(err)
	}
}

// filled is n bytes that are not all alike.
func filled(n int) []byte {
	p := make([]byte, n)
	for i := range p {
		p[i] = byte(i * 7 >> 3)
	}
	return p
}
