package clientauth

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var serials atomic.Int64

// authority signs certificates and revocation lists.
type authority struct {
	*x509.Certificate
	key  *ecdsa.PrivateKey
	sent [][]byte // what a client sends behind its own certificate
}

func newKey() *ecdsa.PrivateKey {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	return key
}

func newRoot(name string, changes ...func(*x509.Certificate)) *authority {
	return (&authority{}).sub(name, changes...)
}

// sub is an authority below another, or a root below none.
func (a *authority) sub(name string, changes ...func(*x509.Certificate)) *authority {
	made := &authority{key: newKey()}
	der := a.sign(made.key, append([]func(*x509.Certificate){func(c *x509.Certificate) {
		c.Subject.CommonName, c.IsCA, c.BasicConstraintsValid = name, true, true
		c.KeyUsage, c.ExtKeyUsage = x509.KeyUsageCertSign|x509.KeyUsageCRLSign, nil
	}}, changes...))
	made.Certificate, _ = x509.ParseCertificate(der)
	if a.Certificate != nil {
		made.sent = append([][]byte{der}, a.sent...)
	}
	return made
}

// sign signs a certificate that is good for clients, and for a day.
func (a *authority) sign(key *ecdsa.PrivateKey, changes []func(*x509.Certificate)) []byte {
	template := &x509.Certificate{
		SerialNumber: big.NewInt(serials.Add(1)),
		NotBefore:    time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}
	for _, change := range changes {
		change(template)
	}
	signer, parent := key, template
	if a.Certificate != nil {
		signer, parent = a.key, a.Certificate
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), signer)
	if err != nil {
		panic(err)
	}
	return der
}

// issue issues a client's certificate.
func (a *authority) issue(name string, changes ...func(*x509.Certificate)) *tls.Certificate {
	key := newKey()
	der := a.sign(key, append([]func(*x509.Certificate){func(c *x509.Certificate) { c.Subject.CommonName = name }}, changes...))
	leaf, _ := x509.ParseCertificate(der)
	return &tls.Certificate{Certificate: append([][]byte{der}, a.sent...), PrivateKey: key, Leaf: leaf}
}

// revokes is a list of revoked certificates, in DER, good for a day.
func (a *authority) revokes(change func(*x509.RevocationList), revoked ...*x509.Certificate) []byte {
	template := &x509.RevocationList{Number: big.NewInt(serials.Add(1)), ThisUpdate: time.Now(), NextUpdate: time.Now().Add(24 * time.Hour)}
	for _, c := range revoked {
		template.RevokedCertificateEntries = append(template.RevokedCertificateEntries, x509.RevocationListEntry{SerialNumber: c.SerialNumber, RevocationTime: time.Now()})
	}
	if change != nil {
		change(template)
	}
	der, err := x509.CreateRevocationList(rand.Reader, template, a.Certificate, a.key)
	if err != nil {
		panic(err)
	}
	return der
}

func inPEM(kind string, ders ...[]byte) string {
	var text strings.Builder
	for _, der := range ders {
		_ = pem.Encode(&text, &pem.Block{Type: kind, Bytes: der})
	}
	return text.String()
}

func caText(authorities ...*authority) string {
	var ders [][]byte
	for _, a := range authorities {
		ders = append(ders, a.Raw)
	}
	return inPEM("CERTIFICATE", ders...)
}

func crlText(ders ...[]byte) string { return inPEM("X509 CRL", ders...) }

// place is a folder for a policy's files.
type place struct {
	*testing.T
	folder string
}

func newPlace(t *testing.T) *place { return &place{t, t.TempDir()} }

// write replaces a file in one step and returns its path.
func (p *place) write(name, text string) string {
	p.Helper()
	path := filepath.Join(p.folder, name)
	if err := os.WriteFile(path+".next", []byte(text), 0o600); err != nil {
		p.Fatal(err)
	}
	if err := os.Rename(path+".next", path); err != nil {
		p.Fatal(err)
	}
	return path
}

func mustNew(t *testing.T, o Options) *Policy {
	t.Helper()
	policy, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	return policy
}

// serverCertificate is good whatever the clock says.
var serverCertificate = sync.OnceValue(func() tls.Certificate {
	key := newKey()
	der := (&authority{}).sign(key, []func(*x509.Certificate){func(c *x509.Certificate) {
		c.DNSNames = []string{"a.test"}
		c.NotBefore, c.NotAfter = time.Date(1990, 1, 1, 0, 0, 0, 0, time.UTC), time.Date(2100, 1, 1, 0, 0, 0, 0, time.UTC)
	}})
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
})

// server is a TLS server with a policy, which binds sessions to it or not.
type server struct {
	policy  *Policy
	config  *tls.Config // nil: made anew for each connection
	unbound bool
	tickets tls.Config
}

// configure makes the config that a connection of now gets.
func (s *server) configure() *tls.Config {
	config := &tls.Config{
		Certificates: []tls.Certificate{serverCertificate()},
		WrapSession: func(state tls.ConnectionState, session *tls.SessionState) ([]byte, error) {
			session.Extra = append(session.Extra, []byte(s.policy.Binding()))
			return s.tickets.EncryptTicket(state, session)
		},
		UnwrapSession: func(ticket []byte, state tls.ConnectionState) (*tls.SessionState, error) {
			session, err := s.tickets.DecryptTicket(ticket, state)
			if session == nil || !s.unbound && string(session.Extra[0]) != s.policy.Binding() {
				return nil, err
			}
			return session, nil
		},
	}
	s.policy.Configure(config)
	return config
}

// client is a TLS client that keeps its sessions.
type client struct {
	version     uint16
	certificate *tls.Certificate // nil: it has none
	sessions    tls.ClientSessionCache
	asked       [][]byte // the authorities of the last CertificateRequest
}

func newClient(version uint16, certificate *tls.Certificate) *client {
	return &client{version: version, certificate: certificate, sessions: tls.NewLRUClientSessionCache(1)}
}

// outcome is what became of a handshake.
type outcome struct {
	server error  // what the server says
	alert  string // what the client was told; empty: nothing
	tls.ConnectionState
}

// connect shakes hands with the server. The server sends a byte when it is satisfied.
func (c *client) connect(t *testing.T, s *server) outcome {
	t.Helper()
	near, far := connection(t)
	config := s.config
	if config == nil {
		config = s.configure()
	}
	taken := tls.Server(far, config)
	done := make(chan error, 1)
	go func() {
		err := taken.Handshake()
		if err == nil {
			_, _ = taken.Write([]byte("."))
			_, _ = taken.Read(make([]byte, 1))
		}
		// The client reads the alert before it sees the connection reset.
		_ = far.(*net.TCPConn).CloseWrite()
		_, _ = far.Read(make([]byte, 1))
		_ = far.Close()
		done <- err
	}()
	conn := tls.Client(near, c.config())
	_, err := conn.Read(make([]byte, 1))
	_ = conn.Close()
	got := outcome{server: <-done, ConnectionState: taken.ConnectionState()}
	if err != nil {
		got.alert = strings.TrimPrefix(err.Error(), "remote error: tls: ")
	}
	if (got.server == nil) != (err == nil) {
		t.Fatalf("server: %v, client: %v", got.server, err)
	}
	return got
}

func (c *client) config() *tls.Config {
	return &tls.Config{
		ServerName: "a.test", InsecureSkipVerify: true, ClientSessionCache: c.sessions, MinVersion: c.version, MaxVersion: c.version,
		GetClientCertificate: func(request *tls.CertificateRequestInfo) (*tls.Certificate, error) {
			c.asked = request.AcceptableCAs
			if c.certificate == nil {
				return &tls.Certificate{}, nil
			}
			return c.certificate, nil
		},
	}
}

func connection(t *testing.T) (near, far net.Conn) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	if near, err = net.Dial("tcp", listener.Addr().String()); err == nil {
		far, err = listener.Accept()
	}
	if err != nil {
		t.Fatal(err)
	}
	return near, far
}

// eachVersion runs a test for every version.
func eachVersion(t *testing.T, test func(*testing.T, uint16)) {
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		t.Run(tls.VersionName(version), func(t *testing.T) { test(t, version) })
	}
}

// watch watches a set for the rest of a bubble, and returns a function that returns what was reported since it was
// called last, "" for files that were read.
func watch(t *testing.T, set *Set) (said func() []string) {
	t.Helper()
	var mutex sync.Mutex
	var texts []string
	ctx, cancel := context.WithCancel(context.Background())
	over := make(chan struct{})
	go func() {
		set.Watch(ctx, func(_, _ string, err error) {
			mutex.Lock()
			defer mutex.Unlock()
			text := ""
			if err != nil {
				text = err.Error()
			}
			texts = append(texts, text)
		})
		close(over)
	}()
	t.Cleanup(func() {
		cancel()
		<-over
	})
	return func() []string {
		mutex.Lock()
		defer mutex.Unlock()
		got := texts
		texts = nil
		return got
	}
}

// extension is one that nobody knows.
func extension(id ...int) pkix.Extension {
	return pkix.Extension{Id: id, Critical: true, Value: []byte{0x05, 0x00}}
}
