package terminate

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"hellogate/sni"
	"hellogate/store/certtest"
	"hellogate/terminate/clientauth"
	"hellogate/terminate/proxyproto"
)

// challenges are the proofs of a test, by name.
type challenges map[string]*tls.Certificate

func (c challenges) Certificate(_ context.Context, name string) (*tls.Certificate, error) {
	if name == "broken.test" {
		return nil, errors.New("the folder is gone")
	}
	return c[name], nil
}

// challenged is a server that is to prove that it serves these names.
func challenged(names ...string) func(*testing.T, *setup) {
	return func(t *testing.T, o *setup) {
		pending := challenges{}
		for _, name := range names {
			pending[name] = o.Certificates.(lookups)["b.test"].(*tls.Certificate)
		}
		o.Challenges = pending
	}
}

// validate does as a certificate authority does: it offers acme-tls/1 and no other, and whatever certificate comes it looks
// at itself.
func validate(c *tls.Config) {
	c.NextProtos, c.InsecureSkipVerify = []string{ACMEProtocol}, true
}

// A certificate authority gets its proof whatever the name's route says, nothing else, and a clean end; no server hears of it.
func TestProof(t *testing.T) {
	tests := []struct {
		name   string
		change func(t *testing.T, o *setup)
		client func(*tls.Config)
	}{
		{"terminate", nil, nil},
		{"TLS 1.2", nil, func(c *tls.Config) { c.MaxVersion = tls.VersionTLS12 }},
		{"a name that no store knows", func(t *testing.T, o *setup) { delete(o.Certificates.(lookups), "a.test") }, nil},
		{"passthrough", func(t *testing.T, o *setup) { o.Action = Passthrough }, nil},
		{"reject", func(t *testing.T, o *setup) { o.Action = Reject }, nil},
		{"other protocols", func(t *testing.T, o *setup) { o.ALPN = []string{"imap"} }, nil},
		{"only TLS 1.3", func(t *testing.T, o *setup) { o.MinVersion = tls.VersionTLS13 }, nil},
		{"client certificates", func(t *testing.T, o *setup) { o.ClientAuth = requireClients(t) }, nil},
		{"no route", func(t *testing.T, o *setup) {
			pattern, err := sni.ParsePattern("other.test")
			if err != nil {
				t.Fatal(err)
			}
			o.Routes, err = sni.NewTable([]sni.Rule[*Route]{{Names: []sni.Pattern{pattern}, Value: o.Route}})
			if err != nil {
				t.Fatal(err)
			}
		}, nil},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			b := startServer(t, func(o *setup) {
				challenged("a.test")(t, o)
				if test.change != nil {
					test.change(t, o)
				}
			})
			tickets := new(countedTickets)
			client, err := b.dial("a.test", func(c *tls.Config) {
				validate(c)
				c.ClientSessionCache = tickets
				if test.client != nil {
					test.client(c)
				}
			})
			if err != nil {
				t.Fatal(err)
			}
			b.wantProof(client)
			if tickets.count > 0 {
				t.Errorf("%d tickets", tickets.count)
			}
		})
	}
}

// wantProof looks at what a certificate authority got, and at what came of it.
func (b *bench) wantProof(client *tls.Conn) {
	b.t.Helper()
	state := client.ConnectionState()
	if state.NegotiatedProtocol != ACMEProtocol || state.PeerCertificates[0].DNSNames[0] != "b.test" {
		b.t.Errorf("%q, certificate for %q", state.NegotiatedProtocol, state.PeerCertificates[0].DNSNames)
	}
	_, _ = io.WriteString(client, "GET / HTTP/1.1\r\n\r\n") // to nobody
	wantRead(b.t, client, nil, nil)
	client.Close()
	line := b.line()
	if line["reason"] != "ok" || line["cert"] != "challenge" || line["stage"] != "handshake" || line["name"] != "a.test" ||
		line["alpn"] != ACMEProtocol || line["route"] != nil || line["backend"] != nil {
		b.t.Errorf("line %v", line)
	}
	if refused := b.server.Stats().Refused; len(refused) > 0 {
		b.t.Errorf("refused %v", refused)
	}
	b.wantUndialled()
}

// wantUndialled checks that nobody came to the server.
func (b *bench) wantUndialled() {
	b.t.Helper()
	_ = b.backend.(*net.TCPListener).SetDeadline(time.Now().Add(50 * time.Millisecond))
	if conn, err := b.backend.Accept(); err == nil {
		conn.Close()
		b.t.Error("the server was dialled")
	}
}

// countedTickets counts the tickets that a client is given.
type countedTickets struct{ count int }

func (c *countedTickets) Get(string) (*tls.ClientSessionState, bool) { return nil, false }
func (c *countedTickets) Put(_ string, ticket *tls.ClientSessionState) {
	if ticket != nil {
		c.count++
	}
}

// requireClients asks for a certificate that nobody has.
func requireClients(t *testing.T) *clientauth.Policy {
	t.Helper()
	file := filepath.Join(t.TempDir(), "clients.pem")
	if err := os.WriteFile(file, certtest.NewCA(t).PEM(), 0o600); err != nil {
		t.Fatal(err)
	}
	set := new(clientauth.Set)
	policy, err := set.Policy(clientauth.Options{Mode: clientauth.Require, CAFile: file})
	if err != nil {
		t.Fatal(err)
	}
	return policy
}

// A certificate authority that says more than it needs to is not reset, which could take from it what it has not read yet.
func TestProofEndsInOrder(t *testing.T) {
	b := startServer(t, func(o *setup) { challenged("a.test")(t, o) })
	raw := &noticing{Conn: b.raw()}
	config := &tls.Config{ServerName: "a.test"}
	validate(config)
	client, err := b.handshake(raw, config)
	if err != nil {
		t.Fatal(err)
	}
	_, _ = io.WriteString(client, "GET / HTTP/1.1\r\n\r\n")
	wantCloseNotify(t, client, raw, nil)
	wantRead(t, raw.Conn, nil, nil)
}

// A proof is also given behind a proxy that says who the client is.
func TestProofBehindProxy(t *testing.T) {
	b := behindProxy(t, func(o *setup) { challenged("a.test")(t, o) })
	raw := b.raw()
	mustWrite(t, raw, headerOf(t, proxyproto.V2, "192.0.2.1:1000"))
	config := &tls.Config{ServerName: "a.test"}
	validate(config)
	client, err := b.handshake(raw, config)
	if err != nil {
		t.Fatal(err)
	}
	b.wantProof(client)
}

// Nobody gets a proof who is no certificate authority, and no certificate authority for a name of which none is wanted; it
// goes to no server either.
func TestNoProof(t *testing.T) {
	tests := []struct {
		name, server string
		action       Action
		change       func(*tls.Config)
		alert        tls.AlertError
		reason       Reason
	}{
		{"another name", "c.test", Terminate, validate, alertNoApplicationProtocol, ReasonNoALPN},
		{"another name, passed through", "c.test", Passthrough, validate, alertNoApplicationProtocol, ReasonNoALPN},
		{"another name, rejected", "c.test", Reject, validate, alertAccessDenied, ReasonRejected},
		{"nobody can tell", "broken.test", Terminate, validate, AlertInternalError, ReasonStoreDown},
		{"no name, where the listener has one", "", Terminate, validate, alertNoApplicationProtocol, ReasonNoALPN},
		{"another protocol besides", "a.test", Terminate, func(c *tls.Config) {
			c.NextProtos = []string{ACMEProtocol, "smtp"}
		}, alertNoApplicationProtocol, ReasonNoALPN},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			b := startServer(t, func(o *setup) {
				challenged("a.test")(t, o)
				o.Listeners[0].DefaultName = "a.test"
				o.Action, o.ALPN = test.action, []string{"imap"}
			})
			_, err := b.dial(test.server, func(c *tls.Config) {
				c.InsecureSkipVerify = true
				test.change(c)
			})
			wantAlert(t, err, test.alert)
			b.wantReason(test.reason)
			b.wantUndialled()
		})
	}
}

// Who does not offer acme-tls/1 is served as ever while a proof is wanted.
func TestClientsWhileProofIsWanted(t *testing.T) {
	b := startServer(t, func(o *setup) { challenged("a.test")(t, o) })
	client, backend := b.pair()
	if names := client.ConnectionState().PeerCertificates[0].DNSNames; names[0] != "a.test" {
		t.Errorf("certificate for %q", names)
	}
	mustWrite(t, client, []byte("hello"))
	_ = client.CloseWrite()
	wantRead(t, backend, []byte("hello"), nil)
}

// The limit of open handshakes is theirs too.
func TestProofLimited(t *testing.T) {
	b := startServer(t, func(o *setup) {
		challenged("a.test")(t, o)
		o.Limits.Handshakes, o.Limits.Waiting = 1, 0
	})
	stalled := b.raw()
	go func() { _ = tls.Client(writeOnly{stalled}, &tls.Config{ServerName: "a.test"}).Handshake() }()
	for b.server.Stats().Handshaking == 0 {
		time.Sleep(time.Millisecond)
	}
	_, err := b.dial("a.test", validate)
	wantAlert(t, err, AlertInternalError)
	b.wantReason(ReasonLimited)
}
