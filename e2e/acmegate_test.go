package e2e

import (
	"crypto/ecdsa"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/goccy/go-yaml"
)

// uses is the YAML of stores: one that gets certificates from the CA, with settings laid over its own, such as
// "names: [a.example]", and more stores behind it.
func (p *pebble) uses(settings string, more ...string) string {
	p.t.Helper()
	var store any = map[string]any{
		"directories": []string{p.directory()}, "ca_file": ca().rootFile(p.t), "accept_terms": true, "storage": p.storage,
		"profile": "default",
	}
	store = overlay(store, p.parsed("{"+settings+"}"))
	stores := []any{map[string]any{"acme": store}}
	for _, text := range more {
		stores = append(stores, p.parsed(text))
	}
	return string(must(yaml.Marshal(map[string]any{"stores": stores})))
}

func (p *pebble) parsed(text string) (value any) {
	p.t.Helper()
	if err := yaml.Unmarshal([]byte(text), &value); err != nil {
		p.t.Fatalf("%v in %s", err, text)
	}
	return value
}

// gate runs hellogate where the CA looks for it, in front of a backend that echoes.
func (p *pebble) gate(settings string, overrides ...string) *gate {
	p.t.Helper()
	return p.gateAt(p.listener, settings, overrides...)
}

func (p *pebble) gateAt(address, settings string, overrides ...string) *gate {
	p.t.Helper()
	g := p.configured(address, settings, overrides...)
	g.run("run", "--config", g.config)
	return g
}

// configured is gateAt that is yet to run. Look-ups have the time that they have where nothing is said of it.
func (p *pebble) configured(address, settings string, overrides ...string) *gate {
	p.t.Helper()
	server := newBackend(p.t, echo)
	server.forgetPeers()
	g := configured(p.t, append([]string{
		fmt.Sprintf("listeners: [{address: %q}]", address), usesBackend(server.address), p.uses(settings),
	}, overrides...)...)
	g.address = address
	var config map[string]any
	if err := yaml.Unmarshal(must(os.ReadFile(g.config)), &config); err != nil {
		p.t.Fatal(err)
	}
	delete(config["cache"].(map[string]any), "lookup_timeout")
	writeFile(p.t, g.config, string(must(yaml.Marshal(config))))
	return g
}

// again runs a gate that has ended, or was killed, once more.
func (p *pebble) again(old *gate) *gate {
	p.t.Helper()
	g := &gate{t: p.t, address: old.address, control: old.control, config: old.config, log: newLogBook(), ended: make(chan struct{})}
	g.run("run", "--config", g.config)
	return g
}

// trusted has a client trust the CA.
func (p *pebble) trusted(c *tls.Config, _ *wire) { c.RootCAs = p.roots }

// leaf is the certificate that clients get for name, which they have to trust.
func (p *pebble) leaf(g *gate, name string, options ...option) *x509.Certificate {
	p.t.Helper()
	c := g.dial(name, append([]option{p.trusted}, options...)...)
	c.wantEcho(p.t, "hello "+name)
	c.Close()
	return c.ConnectionState().PeerCertificates[0]
}

// awaitServed waits until name is served with a certificate of the CA, and gives that.
func (p *pebble) awaitServed(g *gate, name string) *x509.Certificate {
	p.t.Helper()
	g.eventually(name+" is served", func() bool { return g.serves(name, p.trusted) })
	return p.leaf(g, name)
}

// awaitOther waits until another certificate than old is served, and gives it.
func (p *pebble) awaitOther(g *gate, name string, old *x509.Certificate) (leaf *x509.Certificate) {
	p.t.Helper()
	g.eventually(name+" is served with a new certificate", func() bool {
		leaf = p.leaf(g, name)
		return !leaf.Equal(old)
	})
	return leaf
}

// acmeName is what the control plane says of a name.
type acmeName struct {
	Name     string    `json:"name"`
	Managed  bool      `json:"managed"`
	State    string    `json:"state"`
	DueAt    time.Time `json:"due_at"`
	NotAfter time.Time `json:"not_after"`
	KeyTypes []string  `json:"key_types"`
	CA       string    `json:"ca"`
	Errors   int       `json:"errors"`
	Last     struct {
		At     time.Time `json:"at"`
		Result string    `json:"result"`
		Error  string    `json:"error"`
		Steps  []struct {
			At     time.Time `json:"at"`
			Type   string    `json:"type"`
			Detail string    `json:"detail"`
		} `json:"steps"`
	} `json:"last"`
	NextAt time.Time `json:"next_at"`
	ARI    *struct {
		Start time.Time `json:"start"`
		End   time.Time `json:"end"`
	} `json:"ari"`
}

// acme is what is said of a name; one without a state is not there.
func (g *gate) acme(name string) (found acmeName) {
	g.t.Helper()
	code, text, err := g.request("GET", "/acme/"+name, "")
	if err == nil && code == http.StatusOK {
		err = json.Unmarshal([]byte(text), &found)
	}
	if err != nil || code != http.StatusOK && code != http.StatusNotFound {
		g.t.Fatalf("status %d: %v in %s", code, err, text)
	}
	wantNoSecrets(g.t, "GET /acme", text)
	return found
}

// awaitACME waits until a name is in a state.
func (g *gate) awaitACME(name, state string) (found acmeName) {
	g.t.Helper()
	g.eventually(fmt.Sprintf("%s is %s", name, state), func() bool {
		found = g.acme(name)
		return found.State == state
	})
	return found
}

// stored reads the pairs of a name in storage; each has to be whole: a chain that verifies, and its key.
func (p *pebble) stored(name string) (pairs []tls.Certificate) {
	p.t.Helper()
	files := must(filepath.Glob(filepath.Join(p.storage, "certificates", name, "*.pem")))
	for _, file := range files {
		pairs = append(pairs, p.readPair(file, name))
	}
	return pairs
}

func (p *pebble) readPair(file, name string) tls.Certificate {
	p.t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		p.t.Fatal(err)
	}
	found, err := tls.X509KeyPair(text, text)
	if err != nil {
		p.t.Fatalf("%s: %v", file, err)
	}
	if mode := must(os.Stat(file)).Mode().Perm(); mode != 0o600 {
		p.t.Errorf("%s has mode %o", file, mode)
	}
	between := x509.NewCertPool()
	for _, der := range found.Certificate[1:] {
		between.AddCert(must(x509.ParseCertificate(der)))
	}
	if _, err := found.Leaf.Verify(x509.VerifyOptions{DNSName: name, Roots: p.roots, Intermediates: between}); err != nil {
		p.t.Errorf("%s: %v", file, err)
	}
	return found
}

// keyKind is what a certificate's key is, as configuration says it.
func keyKind(leaf *x509.Certificate) string {
	switch key := leaf.PublicKey.(type) {
	case *ecdsa.PublicKey:
		return fmt.Sprintf("p%d", key.Curve.Params().BitSize)
	case *rsa.PublicKey:
		return fmt.Sprintf("rsa%d", key.N.BitLen())
	default:
		return fmt.Sprintf("%T", key)
	}
}

// visitors make one whole connection for a name after another, and keep what they saw.
type visitors struct {
	ended atomic.Bool
	group sync.WaitGroup
	mu    sync.Mutex
	count int
	fails []error
	seen  map[string]bool // certificates
}

// visited starts n of them.
func (p *pebble) visited(g *gate, n int, name string) *visitors {
	v := &visitors{seen: map[string]bool{}}
	for range n {
		v.group.Go(func() {
			for !v.ended.Load() {
				v.note(p.visit(g, name))
			}
		})
	}
	p.t.Cleanup(v.leave)
	return v
}

func (v *visitors) leave() { v.ended.Store(true); v.group.Wait() }

// visit is one connection, and the certificate that it got.
func (p *pebble) visit(g *gate, name string) (string, error) {
	c, err := handshake(g.address, name, p.trusted, within(patience))
	if c != nil {
		defer c.wire.TCPConn.Close()
	}
	if err == nil {
		err = echoes(c)
	}
	if err != nil {
		return "", err
	}
	return c.fingerprint(), c.Close()
}

func (v *visitors) note(certificate string, err error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.count++
	if err != nil {
		v.fails = append(v.fails, err)
	} else {
		v.seen[certificate] = true
	}
}

// certificates is how many they have seen.
func (v *visitors) certificates() int {
	v.mu.Lock()
	defer v.mu.Unlock()
	return len(v.seen)
}

// wantNoFailure ends the visits: not one may have failed.
func (v *visitors) wantNoFailure(t testing.TB) {
	t.Helper()
	v.leave()
	if len(v.fails) > 0 {
		t.Errorf("%d of %d connections failed, the first: %v", len(v.fails), v.count, v.fails[0])
	}
	t.Logf("%d connections, %d certificates", v.count, len(v.seen))
}
