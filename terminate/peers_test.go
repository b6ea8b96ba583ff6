package terminate

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"hellogate/sni"
	"hellogate/terminate/pool"
	"hellogate/terminate/proxyproto"
)

// raw connects without TLS.
func (b *bench) raw() *net.TCPConn {
	b.t.Helper()
	conn, err := net.Dial("tcp", b.address)
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(func() { conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
	return conn.(*net.TCPConn)
}

// handshake makes a TLS connection of one without.
func (b *bench) handshake(raw net.Conn, config *tls.Config) (*tls.Conn, error) {
	config = config.Clone()
	config.RootCAs = b.ca.Pool()
	client := tls.Client(raw, config)
	return client, client.Handshake()
}

// helloFor is what a client sends first.
func helloFor(name string, change func(*tls.Config)) []byte {
	config := &tls.Config{ServerName: name}
	if change != nil {
		change(config)
	}
	first := &firstBytes{}
	_ = tls.Client(first, config).Handshake()
	return first.written
}

// firstBytes is a connection that has what is written, and nothing to read.
type firstBytes struct {
	net.Conn
	written []byte
}

func (f *firstBytes) Write(p []byte) (int, error) {
	f.written = append(f.written, p...)
	return len(p), nil
}
func (f *firstBytes) Read([]byte) (int, error) { return 0, io.EOF }
func (f *firstBytes) Close() error             { return nil }

// poolOf is a backend's pool.
func poolOf(t testing.TB, options pool.Options) *pool.Pool {
	t.Helper()
	options.Log = zerolog.Nop()
	made, err := pool.New(options)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(made.Close)
	return made
}

// want waits until something is so.
func (b *bench) want(what string, is func() bool) {
	b.t.Helper()
	for end := time.Now().Add(10 * time.Second); !is(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			b.t.Fatalf("never: %s; %+v, open %+v", what, b.server.Stats(), b.server.Connections(all))
		}
	}
}

func all(ConnectionInfo) bool { return true }

// wantStage waits until a connection is seen in a stage.
func (b *bench) wantStage(of stage) {
	b.t.Helper()
	b.want("a connection in stage "+of.String(), func() bool {
		return len(b.server.Connections(func(info ConnectionInfo) bool { return info.Stage == of.String() })) == 1
	})
}

// wantNothingCounted waits until every count is back where it began.
func (b *bench) wantNothingCounted(backends ...*Backend) {
	b.t.Helper()
	b.want("nothing is counted any more", func() bool {
		stats := b.server.Stats()
		clients, _ := b.server.clients.Tracked()
		counted := stats.Active + stats.Handshaking + stats.Waiting + int64(clients)
		for _, l := range b.server.Plan().Listeners {
			if l.Connections != nil {
				counted += int64(l.Connections.Open())
			}
		}
		if b.route.Connections != nil {
			counted += int64(b.route.Connections.Open())
		}
		if b.route.Clients != nil {
			of, _ := b.route.Clients.Tracked()
			counted += int64(of)
		}
		for _, backend := range append(backends, b.route.Backend) {
			status := backend.Pool.Status()
			counted += int64(status.Queued)
			for _, server := range status.Servers {
				counted += int64(server.Connections)
			}
		}
		return counted == 0
	})
}

// silent is a server that takes connections and says nothing. When the test is over nobody may have left one open.
func silent(t *testing.T) string {
	t.Helper()
	l := listen(t)
	var taken sync.WaitGroup
	taken.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			taken.Go(func() {
				defer conn.Close()
				_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
				if _, err := io.Copy(io.Discard, conn); errors.Is(err, os.ErrDeadlineExceeded) {
					t.Error("a connection was left open")
				}
			})
		}
	})
	t.Cleanup(func() { l.Close(); taken.Wait() })
	return l.Addr().String()
}

// noticing is a connection that remembers whether its stream's end was read.
type noticing struct {
	net.Conn
	fin bool
}

func (n *noticing) Read(p []byte) (int, error) {
	k, err := n.Conn.Read(p)
	n.fin = n.fin || err == io.EOF
	return k, err
}

// wantCloseNotify reads the rest of a session, and checks that it ends as TLS has it.
func wantCloseNotify(t *testing.T, session *tls.Conn, raw *noticing, want []byte) {
	t.Helper()
	wantRead(t, session, want, nil)
	if raw.fin {
		t.Error("the stream ended without a close_notify")
	}
}

func wantAlert(t *testing.T, err error, alert tls.AlertError) {
	t.Helper()
	var got *net.OpError
	if !errors.As(err, &got) || got.Op != "remote error" || got.Err.Error() != alert.Error() {
		t.Errorf("error %v, want the alert %v", err, alert)
	}
}

func sender(t *testing.T, options proxyproto.Options) *proxyproto.Sender {
	t.Helper()
	made, err := proxyproto.NewSender(options)
	if err != nil {
		t.Fatal(err)
	}
	return made
}

// readHeader reads a header, and no byte more.
func readHeader(t *testing.T, from io.Reader) proxyproto.Header {
	t.Helper()
	var got []byte
	for {
		one := make([]byte, 1)
		if _, err := io.ReadFull(from, one); err != nil {
			t.Errorf("after %q: %v", got, err)
			return proxyproto.Header{}
		}
		got = append(got, one...)
		if header, _, err := proxyproto.Parse(got, proxyproto.MaxSize); err == nil {
			return header
		} else if err != proxyproto.ErrShort {
			t.Errorf("%q: %v", got, err)
			return proxyproto.Header{}
		}
	}
}

// routesOf sends each name its way.
func routesOf(t *testing.T, routes map[string]*Route) *sni.Table[*Route] {
	t.Helper()
	var rules []sni.Rule[*Route]
	for name, route := range routes {
		rules = append(rules, sni.Rule[*Route]{Names: []sni.Pattern{pattern(t, name)}, Value: route})
	}
	table, err := sni.NewTable(rules)
	if err != nil {
		t.Fatal(err)
	}
	return table
}

func pattern(t *testing.T, text string) sni.Pattern {
	t.Helper()
	parsed, err := sni.ParsePattern(text)
	if err != nil {
		t.Fatal(err)
	}
	return parsed
}
