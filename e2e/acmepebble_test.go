package e2e

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// pebble is a CA of the test's own: Let's Encrypt's Pebble, a name server that says 127.0.0.1 of every name, and a proxy
// in front through which hellogate gets to the CA. It looks for answers to challenges at the two addresses.
type pebble struct {
	*acmeProxy
	t          testing.TB
	listener   string // where hellogate has to listen for TLS-ALPN-01
	http01     string // and for HTTP-01
	storage    string // a folder for hellogate to keep what it gets
	management string
	dns        string // management of the name server
	roots      *x509.CertPool
}

// caOption changes how the CA runs: its configuration and its environment.
type caOption func(config map[string]any, environment *[]string)

// lifetime has the profile "default" make certificates that last so long; else that is 90 days.
func lifetime(d time.Duration) caOption {
	return func(config map[string]any, _ *[]string) {
		config["profiles"].(map[string]any)["default"].(map[string]any)["validityPeriod"] = int(d.Seconds())
	}
}

// caSays sets a part of Pebble's configuration.
func caSays(key string, value any) caOption {
	return func(config map[string]any, _ *[]string) { config[key] = value }
}

// rejectsNonces has the CA refuse so many percent of the nonces it gave.
func rejectsNonces(percent int) caOption {
	return func(_ map[string]any, environment *[]string) {
		*environment = append(*environment, "PEBBLE_WFE_NONCEREJECT="+itoa(percent))
	}
}

// newPebble starts one. Authorizations are never used again: each order has its challenges.
func newPebble(t testing.TB, options ...caOption) *pebble {
	t.Helper()
	folder := shortFolder(t)
	p := &pebble{
		t: t, listener: freeAddress(t), http01: freeAddress(t), management: freeAddress(t), dns: freeAddress(t),
		storage: filepath.Join(folder, "storage"),
	}
	own := ca().issue([]string{"pebble.example"}, func(c *x509.Certificate) { c.IPAddresses = []net.IP{net.IPv4(127, 0, 0, 1)} })
	certFile, keyFile := own.write(t, folder, "pebble")
	resolver, upstream := freeAddress(t), freeAddress(t)
	config := map[string]any{
		"listenAddress": upstream, "managementListenAddress": p.management, "certificate": certFile, "privateKey": keyFile,
		"httpPort": portOf(p.http01), "tlsPort": portOf(p.listener), "keyAlgorithm": "ecdsa",
		"profiles": map[string]any{
			"default":    map[string]any{"description": "as most", "validityPeriod": 90 * 24 * 3600},
			"shortlived": map[string]any{"description": "six days", "validityPeriod": 6 * 24 * 3600},
		},
	}
	environment := []string{"PEBBLE_VA_NOSLEEP=1", "PEBBLE_WFE_NONCEREJECT=0", "PEBBLE_AUTHZREUSE=0"}
	for _, set := range options {
		set(config, &environment)
	}
	p.run(p.dns, nil, "pebble-challtestsrv", "-management", p.dns, "-dnsserver", resolver, "-defaultIPv6", "",
		"-http01", "", "-https01", "", "-doh", "", "-tlsalpn01", "")
	file := filepath.Join(folder, "pebble.json")
	writeFile(t, file, string(must(json.Marshal(map[string]any{"pebble": config}))))
	p.run(upstream, environment, "pebble", "-config", file, "-dnsserver", resolver)
	awaitListener(t, p.management)
	p.acmeProxy = newACMEProxy(t, upstream, own)
	p.roots = p.rootsOfCA()
	return p
}

// run runs one of the two programs until the test's end and waits until it listens. What it says is shown of a test that failed.
func (p *pebble) run(address string, environment []string, name string, arguments ...string) {
	p.t.Helper()
	command := exec.Command(peerBuilt(p.t, name), arguments...)
	command.Env = append(os.Environ(), environment...)
	var output lockedBuffer
	command.Stdout, command.Stderr, command.WaitDelay = &output, &output, time.Second
	if err := command.Start(); err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(func() {
		command.Process.Kill()
		command.Wait()
		if p.t.Failed() && name == "pebble" {
			p.t.Logf("%s ends with:\n%s", name, output.tail(40))
		}
	})
	awaitListener(p.t, address)
}

// peerBuilt finds a peer that .ci/prepare built; as program does, anywhere on the PATH.
func peerBuilt(t testing.TB, name string) string {
	t.Helper()
	if path, err := filepath.Abs(filepath.Join("..", "bin", "peers", name)); err == nil {
		if _, err := exec.LookPath(path); err == nil {
			return path
		}
	}
	return program(t, name)
}

func awaitListener(t testing.TB, address string) {
	t.Helper()
	for deadline := time.Now().Add(patience); ; time.Sleep(10 * time.Millisecond) {
		if conn, err := net.Dial("tcp", address); err == nil {
			conn.Close()
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("nobody listens at %s", address)
		}
	}
}

func portOf(address string) int {
	_, port, _ := net.SplitHostPort(address)
	return must(strconv.Atoi(port))
}

// lockedBuffer is what a program said, its last megabyte.
type lockedBuffer struct {
	mu   sync.Mutex
	text []byte
}

func (b *lockedBuffer) Write(text []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.text = append(b.text, text...)
	b.text = b.text[max(0, len(b.text)-1<<20):]
	return len(text), nil
}

func (b *lockedBuffer) tail(lines int) string {
	b.mu.Lock()
	defer b.mu.Unlock()
	all := strings.Split(strings.TrimSpace(string(b.text)), "\n")
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}

// manages asks the CA's management interface.
func (p *pebble) manages(method, path string, payload any) (string, error) {
	return p.call(method, "https://"+p.management+path, payload)
}

// call sends JSON and gives the body of the answer, an error unless its status is 200.
func (p *pebble) call(method, url string, payload any) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	body, err := json.Marshal(payload)
	if err != nil {
		return "", err
	}
	request, err := http.NewRequestWithContext(ctx, method, url, bytes.NewReader(body))
	if err != nil {
		return "", err
	}
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: ca().pool}, DisableKeepAlives: true}
	response, err := transport.RoundTrip(request)
	if err != nil {
		return "", err
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err == nil && response.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s %s: %s: %s", method, url, response.Status, text)
	}
	return string(text), err
}

// rootsOfCA is what the certificates that the CA makes verify to. It makes new ones at each start.
func (p *pebble) rootsOfCA() *x509.CertPool {
	p.t.Helper()
	text, err := p.manages("GET", "/roots/0", nil)
	pool := x509.NewCertPool()
	if err != nil || !pool.AppendCertsFromPEM([]byte(text)) {
		p.t.Fatalf("no root: %v in %s", err, text)
	}
	return pool
}

// statusOf is what the CA says of a certificate: Valid, Revoked.
func (p *pebble) statusOf(leaf *x509.Certificate) (status string, reason int) {
	p.t.Helper()
	text, err := p.manages("GET", "/cert-status-by-serial/"+leaf.SerialNumber.Text(16), nil)
	if err != nil {
		p.t.Fatal(err)
	}
	var answer struct {
		Status string
		Reason int
	}
	if err := json.Unmarshal([]byte(text), &answer); err != nil {
		p.t.Fatal(err)
	}
	return answer.Status, answer.Reason
}

// suggests has the CA say that the certificate with a serial number is to be renewed between two moments.
func (p *pebble) suggests(serial *big.Int, start, end time.Time) error {
	var found struct{ Certificate string }
	text, err := p.manages("GET", "/cert-status-by-serial/"+serial.Text(16), nil)
	if err != nil {
		return err
	}
	if err := json.Unmarshal([]byte(text), &found); err != nil {
		return err
	}
	window := map[string]any{"suggestedWindow": map[string]time.Time{"start": start, "end": end}}
	_, err = p.manages("POST", "/set-renewal-info/", map[string]string{
		"Certificate": found.Certificate, "ARIResponse": string(must(json.Marshal(window))),
	})
	return err
}
