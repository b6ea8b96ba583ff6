package tickets

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// certificate is valid by the clock of synctest, too.
var certificate = sync.OnceValue(func() tls.Certificate {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), DNSNames: []string{"a.test"},
		NotBefore: time.Date(1990, 1, 1, 0, 0, 0, 0, time.UTC), NotAfter: time.Date(2100, 1, 1, 0, 0, 0, 0, time.UTC),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		panic(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
})

// client is a TLS client that keeps its sessions.
type client struct {
	version  uint16
	sessions tls.ClientSessionCache
}

func newClient(version uint16) *client { return &client{version, tls.NewLRUClientSessionCache(1)} }

// resumes shakes hands with a server that has the keys, and reports whether a session was resumed.
func (c *client) resumes(t *testing.T, keys *Keys) bool {
	t.Helper()
	near, far := connect(t)
	server := tls.Server(far, &tls.Config{
		Certificates: []tls.Certificate{certificate()}, WrapSession: keys.EncryptTicket, UnwrapSession: keys.DecryptTicket,
	})
	done := make(chan error, 1)
	go func() {
		err := server.Handshake()
		_ = server.Close()
		done <- err
	}()
	conn := tls.Client(near, &tls.Config{
		ServerName: "a.test", InsecureSkipVerify: true, ClientSessionCache: c.sessions, MinVersion: c.version, MaxVersion: c.version,
	})
	_, _ = conn.Read(make([]byte, 1)) // takes the tickets along
	_ = conn.Close()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	return conn.ConnectionState().DidResume
}

// connect returns the two ends of a connection. It is a real one: what net.Pipe has no room for, ends that both write wait
// for forever.
func connect(t *testing.T) (near, far net.Conn) {
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

// eachVersion runs a test for every version that has tickets.
func eachVersion(t *testing.T, test func(*testing.T, uint16)) {
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		t.Run(tls.VersionName(version), func(t *testing.T) { test(t, version) })
	}
}

// The lines of a key file.
var lines = []string{strings.Repeat("a1", smallKey), strings.Repeat("b2", largeKey), strings.Repeat("c3", smallKey)}

// keyFile is a key file that is replaced, as it should be, in one step.
type keyFile string

func newKeyFile(t *testing.T, lines ...string) keyFile {
	t.Helper()
	f := keyFile(filepath.Join(t.TempDir(), "keys"))
	f.write(t, lines...)
	return f
}

func (f keyFile) write(t *testing.T, lines ...string) {
	t.Helper()
	next := string(f) + ".next"
	if err := os.WriteFile(next, []byte(strings.Join(lines, "\n")+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(next, string(f)); err != nil {
		t.Fatal(err)
	}
}

// reports is what was reported, "" for new keys.
type reports struct {
	mutex sync.Mutex
	texts []string
}

func (r *reports) add(err error) {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	text := ""
	if err != nil {
		text = err.Error()
	}
	r.texts = append(r.texts, text)
}

// take returns the reports since the last time.
func (r *reports) take() []string {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	texts := r.texts
	r.texts = nil
	return texts
}

func mustNew(t *testing.T, o Options) *Keys {
	t.Helper()
	keys, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	return keys
}
