package health

import (
	"fmt"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// target is a server that remembers what was made of it.
type target struct {
	network, endpoint string
	down, known       bool

	mu     sync.Mutex
	checks []checkup
}

// checkup is what SetHealth was told, and when.
type checkup struct {
	up      bool
	reason  string
	latency time.Duration
	at      time.Time
}

func (s *target) Network() string            { return s.network }
func (s *target) Endpoint() string           { return s.endpoint }
func (s *target) Health() (up, checked bool) { return !s.down, s.known }

func (s *target) SetHealth(up bool, reason string, latency time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.checks = append(s.checks, checkup{up, reason, latency, time.Now()})
}

func (s *target) seen() []checkup {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.checks
}

// ups says u for each check after which the server was up, d for the others.
func (s *target) ups() string {
	var text []byte
	for _, c := range s.seen() {
		letter := byte('d')
		if c.up {
			letter = 'u'
		}
		text = append(text, letter)
	}
	return string(text)
}

func expect[T comparable](t testing.TB, what string, got, want T) {
	t.Helper()
	if got != want {
		t.Errorf("%s: got %v, want %v", what, got, want)
	}
}

// listen returns a server that serves one connection after the other, until the test ends. When serve returns true the
// connection is read to its end, which must be one in order.
func listen(t *testing.T, network, address string, serve func(net.Conn) bool) *target {
	t.Helper()
	listener, err := net.Listen(network, address)
	if err != nil {
		t.Fatal(err)
	}
	var running sync.WaitGroup
	running.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			running.Go(func() {
				defer conn.Close()
				_ = conn.SetDeadline(time.Now().Add(5 * time.Second))
				if !serve(conn) {
					return
				}
				if _, err := io.Copy(io.Discard, conn); err != nil {
					t.Errorf("the check's connection ended with %v", err)
				}
			})
		}
	})
	t.Cleanup(func() {
		_ = listener.Close()
		running.Wait()
	})
	return &target{network: network, endpoint: listener.Addr().String()}
}

// says returns a server that awaits a text, if there is one, and then sends others, each on its own.
func says(awaits string, texts ...string) func(net.Conn) bool {
	return func(conn net.Conn) bool {
		got := make([]byte, len(awaits))
		if _, err := io.ReadFull(conn, got); err != nil || string(got) != awaits {
			fmt.Fprintf(conn, "got %q", got)
			return false
		}
		for _, text := range texts {
			if _, err := io.WriteString(conn, text); err != nil {
				return false
			}
			time.Sleep(5 * time.Millisecond)
		}
		return true
	}
}
