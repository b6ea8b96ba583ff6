package pool

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"testing"

	"github.com/rs/zerolog"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var errRefused = errors.New("connection refused")

// servers returns options for servers a, b, c and so on, with these weights.
func servers(weights ...int) []ServerOptions {
	var all []ServerOptions
	for i, weight := range weights {
		all = append(all, ServerOptions{Address: address(i), Weight: weight})
	}
	return all
}

func address(i int) string { return fmt.Sprintf("10.0.%d.%d:9000", i/250, i%250+1) }

// start returns a pool that runs until the test ends.
func start(t testing.TB, options Options) *Pool {
	t.Helper()
	options.Name = "mail"
	p, err := New(options)
	if err != nil {
		t.Fatal(err)
	}
	p.Start(t.Context())
	t.Cleanup(p.Close)
	return p
}

// pick picks a server, which must work.
func pick(t testing.TB, p *Pool, key Key, tried ...*Server) *Server {
	t.Helper()
	s, err := p.Pick(key, tried)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// letters picks n times and says a for the first server, b for the second.
func letters(t testing.TB, p *Pool, n int) string {
	t.Helper()
	var text []byte
	for range n {
		s := pick(t, p, Key{})
		text = append(text, letter(p, s))
		s.Release()
	}
	return string(text)
}

func letter(p *Pool, s *Server) byte {
	all, _ := p.Watch()
	for i, other := range all {
		if other == s {
			return byte('a' + i)
		}
	}
	return '?'
}

// at returns the i-th server.
func at(p *Pool, i int) *Server {
	all, _ := p.Watch()
	return all[i]
}

// fail has n dials to s fail.
func fail(s *Server, n int) {
	for range n {
		s.Failed(errRefused)
	}
}

// states is what status says of the servers, in short.
func states(p *Pool) string {
	var text string
	for i, s := range p.Status().Servers {
		if i > 0 {
			text += " "
		}
		text += s.State.String()
	}
	return text
}

func expect[T comparable](t testing.TB, what string, got, want T) {
	t.Helper()
	if got != want {
		t.Errorf("%s: got %v, want %v", what, got, want)
	}
}

func expectError(t testing.TB, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("got error %v, want %v", err, want)
	}
}

// names is a resolver whose answers a test sets. What it has none for it fails.
type names struct {
	mu    sync.Mutex
	hosts map[string][]netip.Addr
	srv   map[string][]*net.SRV
	asked int
	hang  bool
}

func (n *names) set(host string, addresses ...string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.hosts == nil {
		n.hosts = make(map[string][]netip.Addr)
	}
	delete(n.hosts, host)
	for _, address := range addresses {
		n.hosts[host] = append(n.hosts[host], netip.MustParseAddr(address))
	}
}

func (n *names) setHang(hang bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.hang = hang
}

func (n *names) setSRV(name string, records ...*net.SRV) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.srv = map[string][]*net.SRV{name: records}
}

func (n *names) LookupNetIP(ctx context.Context, _, host string) ([]netip.Addr, error) {
	n.mu.Lock()
	n.asked++
	found, hang := n.hosts[host], n.hang
	n.mu.Unlock()
	if hang {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	if found == nil {
		return nil, &net.DNSError{Err: "no such host", Name: host, IsNotFound: true}
	}
	return found, nil
}

func (n *names) LookupSRV(_ context.Context, _, _, name string) (string, []*net.SRV, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.asked++
	if n.srv[name] == nil {
		return "", nil, &net.DNSError{Err: "no such host", Name: name, IsNotFound: true}
	}
	return name, n.srv[name], nil
}

// lines is a log that can be read while it is written.
type lines struct {
	mu   sync.Mutex
	text []byte
}

func (l *lines) Write(line []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.text = append(l.text, line...)
	return len(line), nil
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return string(l.text)
}

func (l *lines) logger() zerolog.Logger { return zerolog.New(l) }
