package terminate

import (
	"crypto/tls"
	"crypto/x509"
	"io"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"hellogate/store/certtest"
	"hellogate/terminate/proxyproto"
)

// reencrypting has a server speak TLS to a backend that is server.test, and a.test.
func reencrypting(t *testing.T, change func(own, backend *tls.Config)) *reencrypted {
	t.Helper()
	r := &reencrypted{bench: startServer(t, nil)}
	one, other := r.ca.Issue(t, "server.test").TLS(), r.ca.Issue(t, "a.test").TLS()
	r.own = &tls.Config{RootCAs: r.ca.Pool(), ServerName: "server.test"}
	r.config = &tls.Config{Certificates: []tls.Certificate{one, other}}
	if change != nil {
		change(r.own, r.config)
	}
	r.route.Backend.TLS.Config = func() *tls.Config { return r.own }
	return r
}

type reencrypted struct {
	*bench
	own    *tls.Config // towards the backend
	config *tls.Config // the backend's
}

// pair makes a connection for a.test and accepts it at the backend.
func (r *reencrypted) pair(change func(*tls.Config)) (client, backend *tls.Conn, raw *noticing) {
	r.t.Helper()
	accepted := make(chan struct{})
	go func() {
		defer close(accepted)
		raw = &noticing{Conn: r.accept()}
		backend = tls.Server(raw, r.config)
		if err := backend.Handshake(); err != nil {
			r.t.Errorf("at the backend: %v", err)
		}
	}()
	client, err := r.dial("a.test", change)
	if err != nil {
		r.t.Fatal(err)
	}
	<-accepted
	return client, backend, raw
}

// What is sent arrives, both ways, and each end of a stream as one of TLS, whoever is first.
func TestReencrypt(t *testing.T) {
	data := filled(3 << 20)
	for _, first := range []string{"client", "server"} {
		t.Run(first, func(t *testing.T) {
			r := reencrypting(t, nil)
			client, backend, raw := r.pair(nil)
			ended := make(chan struct{})
			var group sync.WaitGroup
			send := func(from *tls.Conn, waits bool) {
				mustWrite(t, from, data[:1<<20])
				if waits {
					<-ended
				}
				mustWrite(t, from, data[1<<20:])
				_ = from.CloseWrite()
			}
			group.Go(func() { send(client, first == "server") })
			group.Go(func() { send(backend, first == "client") })
			group.Go(func() {
				wantCloseNotify(t, backend, raw, data)
				if first == "client" {
					close(ended)
				}
			})
			wantRead(t, client, data, nil)
			if first == "server" {
				close(ended)
			}
			group.Wait()
			raw.Close()
			client.NetConn().Close()
			line := r.line()
			if line["reason"] != "ok" || line["bytes_in"] != float64(len(data)) || line["bytes_out"] != float64(len(data)) {
				t.Errorf("line %v", line)
			}
			r.wantNothingCounted()
		})
	}
}

// What a server ends without a close_notify may be cut short by anyone: its client must not take it for whole.
func TestReencryptBareFIN(t *testing.T) {
	r := reencrypting(t, nil)
	client, backend, raw := r.pair(nil)
	data := filled(200_000)
	mustWrite(t, backend, data)
	_ = raw.Conn.(interface{ CloseWrite() error }).CloseWrite()
	wantRead(t, client, data, syscall.ECONNRESET)
	if line := r.line(); line["reason"] != string(ReasonTruncated) || !strings.Contains(line["error"].(string), "close_notify") {
		t.Errorf("line %v", line)
	}
	if stats := r.route.Backend.Pool.Status().Servers[0]; stats.EarlyResets != 0 {
		t.Errorf("it is no reset: %+v", stats)
	}
}

// A client's is passed on as the end that it may be, in TLS.
func TestReencryptClientsBareFIN(t *testing.T) {
	r := reencrypting(t, nil)
	client, backend, raw := r.pair(nil)
	mustWrite(t, client, []byte("half a sent"))
	_ = tcp(client).CloseWrite()
	wantCloseNotify(t, backend, raw, []byte("half a sent"))
	backend.Close()
	raw.Close()
	wantRead(t, client, nil, nil)
	r.wantReason(ReasonTruncated)
}

// A reset crosses as one, never as a close_notify.
func TestReencryptResets(t *testing.T) {
	t.Run("by the client", func(t *testing.T) {
		r := reencrypting(t, nil)
		client, backend, _ := r.pair(nil)
		mustWrite(t, client, []byte("x"))
		_, _ = io.ReadFull(backend, make([]byte, 1))
		abort(t, tcp(client))
		wantRead(t, backend, nil, syscall.ECONNRESET)
		r.wantReason(ReasonClientReset)
	})
	t.Run("by the server", func(t *testing.T) {
		r := reencrypting(t, nil)
		client, _, raw := r.pair(nil)
		_ = raw.Conn.(interface{ SetLinger(int) error }).SetLinger(0)
		raw.Close()
		wantRead(t, client, nil, syscall.ECONNRESET)
		r.wantReason(ReasonServerReset)
	})
}

// The header goes ahead of the TLS, in the clear and once.
func TestReencryptBehindHeader(t *testing.T) {
	r := reencrypting(t, nil)
	r.route.Backend.Proxy = sender(t, proxyproto.Options{Version: proxyproto.V2, TLVs: []proxyproto.TLV{proxyproto.Authority}})
	done := make(chan struct{})
	go func() {
		defer close(done)
		raw := r.accept()
		if header := readHeader(t, raw); len(header.TLVs) != 1 || string(header.TLVs[0].Value) != "a.test" {
			t.Errorf("header %v", header)
		}
		session := tls.Server(raw, r.config)
		_, _ = io.Copy(session, session)
		session.Close()
	}()
	client, err := r.dial("a.test", nil)
	if err != nil {
		t.Fatal(err)
	}
	mustWrite(t, client, []byte("hello"))
	_ = client.CloseWrite()
	wantRead(t, client, []byte("hello"), nil)
	<-done
	if line := r.line(); line["bytes_in"] != float64(5) {
		t.Errorf("line %v", line)
	}
}

// Who the server must be, who we are to it, and what is negotiated with it.
func TestReencryptNames(t *testing.T) {
	for _, test := range []struct {
		name   string
		change func(r *reencrypted)
		client func(*tls.Config)
		server string // that was asked for
		alpn   string
	}{
		{"as configured", func(*reencrypted) {}, nil, "server.test", ""},
		{"the client's name", func(r *reencrypted) { r.own.ServerName = "" }, nil, "a.test", ""},
		{
			"the client's protocol", func(r *reencrypted) { r.route.Backend.TLS.PassALPN = true },
			func(c *tls.Config) { c.NextProtos = []string{"x", "imap"} }, "server.test", "imap",
		},
		{"no protocol of the client's", func(r *reencrypted) { r.route.Backend.TLS.PassALPN = true }, nil, "server.test", ""},
		{
			"a protocol of its own", func(r *reencrypted) { r.own.NextProtos = []string{"smtp"} },
			func(c *tls.Config) { c.NextProtos = []string{"imap"} }, "server.test", "smtp",
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := reencrypting(t, func(_, backend *tls.Config) { backend.NextProtos = []string{"smtp", "imap"} })
			r.route.ALPN = []string{"imap"}
			test.change(r)
			_, backend, _ := r.pair(test.client)
			if got := backend.ConnectionState(); got.ServerName != test.server || got.NegotiatedProtocol != test.alpn {
				t.Errorf("asked for %q, %q", got.ServerName, got.NegotiatedProtocol)
			}
			if slices.Contains(r.own.NextProtos, "imap") {
				t.Error("what all connections share was changed")
			}
		})
	}
}

// A certificate of ours is shown to a server that asks for one.
func TestReencryptClientCertificate(t *testing.T) {
	r := reencrypting(t, nil)
	r.own.Certificates = []tls.Certificate{r.ca.Issue(t, "gate.test").TLS()}
	r.config.ClientAuth, r.config.ClientCAs = tls.RequireAnyClientCert, r.ca.Pool()
	_, backend, _ := r.pair(nil)
	if got := backend.ConnectionState().PeerCertificates; len(got) == 0 || got[0].DNSNames[0] != "gate.test" {
		t.Errorf("shown %v", got)
	}
}

// A server that is not who it should be gets nothing of the client's, and counts as one that can't be reached.
func TestReencryptImpostor(t *testing.T) {
	for _, test := range []struct {
		name   string
		change func(t *testing.T, own *tls.Config)
		text   string
	}{
		{"another CA's", func(t *testing.T, own *tls.Config) { own.RootCAs = certtest.NewCA(t).Pool() }, "unknown authority"},
		{"nobody's", func(_ *testing.T, own *tls.Config) { own.RootCAs = x509.NewCertPool() }, "unknown authority"},
		{"another name's", func(_ *testing.T, own *tls.Config) { own.ServerName = "other.test" }, "other.test"},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := reencrypting(t, func(own, _ *tls.Config) { test.change(t, own) })
			over := make(chan struct{})
			go func() {
				defer close(over)
				if session := tls.Server(r.accept(), r.config); session.Handshake() == nil {
					if n, err := session.Read(make([]byte, 1)); n > 0 || err == nil {
						t.Error("it got something")
					}
				}
			}()
			client, err := r.dial("a.test", nil)
			if err != nil {
				t.Fatal(err)
			}
			_, _ = client.Write([]byte("secret"))
			wantRead(t, client, nil, syscall.ECONNRESET)
			<-over
			if line := r.line(); line["reason"] != string(ReasonNoBackend) || !strings.Contains(line["error"].(string), test.text) {
				t.Errorf("line %v", line)
			}
			if failures := r.route.Backend.Pool.Status().Servers[0].Failures; failures != 1 {
				t.Errorf("%d failures", failures)
			}
			r.wantNothingCounted()
		})
	}
}

// A server that hangs in its handshake is left for the next in time.
func TestReencryptHangingServer(t *testing.T) {
	r := reencrypting(t, nil)
	tlsOf := r.route.Backend.TLS
	r.route.Backend = backendOf(t, "main", silent(t), r.backend.Addr().String())
	r.route.Backend.TLS, r.route.Backend.ConnectTimeout = tlsOf, 200*time.Millisecond
	for range 2 { // whichever of them comes first
		client, backend, _ := r.pair(nil)
		mustWrite(t, backend, []byte("x"))
		_, _ = io.ReadFull(client, make([]byte, 1))
	}
	if servers := r.route.Backend.Pool.Status().Servers; servers[0].Failures != 1 || servers[0].Connections != 0 || servers[1].Connections != 2 {
		t.Errorf("servers %+v", servers)
	}
}
