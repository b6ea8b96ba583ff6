package terminate

import (
	"crypto/tls"
	"net"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"hellogate/store/certtest"
)

// handshakes makes handshakes in memory, between crypto/tls alone on both sides: ECDSA P-256, X25519, TLS 1.3.
type handshakes struct {
	b              *testing.B
	server, client *tls.Config
	connected      *tls.Conn // the last one's server
}

// newHandshakes prepares them.
func newHandshakes(b *testing.B, resumed bool) *handshakes {
	b.Helper()
	certificate := certtest.NewCA(b).Issue(b, "a.test").TLS()
	h := &handshakes{
		b:      b,
		server: &tls.Config{Certificates: []tls.Certificate{certificate}},
		client: &tls.Config{
			ServerName: "a.test", InsecureSkipVerify: true, CurvePreferences: []tls.CurveID{tls.X25519},
			ClientSessionCache: noSessions{},
		},
	}
	if resumed {
		h.client.ClientSessionCache = tls.NewLRUClientSessionCache(1)
	}
	h.once()
	h.once()
	if state := h.connected.ConnectionState(); state.DidResume != resumed || state.CurveID != tls.X25519 || state.Version != tls.VersionTLS13 {
		b.Fatalf("not the handshake to be measured: %+v", state)
	}
	return h
}

// noSessions has a client take tickets and never use them.
type noSessions struct{}

func (noSessions) Get(string) (*tls.ClientSessionState, bool) { return nil, false }
func (noSessions) Put(string, *tls.ClientSessionState)        {}

// once makes a handshake and returns the CPU time that the server took.
func (h *handshakes) once() time.Duration {
	near, far := net.Pipe()
	var clients sync.WaitGroup
	clients.Go(func() {
		client := tls.Client(far, h.client)
		_, _ = client.Read(make([]byte, 1)) // takes the ticket along, and ends with the connection
		far.Close()
	})
	meter := &meter{Conn: near}
	meter.start()
	h.connected = tls.Server(meter, h.server)
	err := h.connected.Handshake()
	meter.stop()
	near.Close()
	clients.Wait()
	if err != nil {
		h.b.Fatal(err)
	}
	return meter.spent
}

// meter is a connection that counts CPU time but for what is spent in it, waiting for the peer.
type meter struct {
	net.Conn
	since, spent time.Duration
}

func (m *meter) start() { m.since = processTime() }
func (m *meter) stop()  { m.spent += processTime() - m.since - clockCost() }

func (m *meter) Read(p []byte) (int, error) {
	m.stop()
	defer m.start()
	return m.Conn.Read(p)
}

func (m *meter) Write(p []byte) (int, error) {
	m.stop()
	defer m.start()
	return m.Conn.Write(p)
}

// spent is the CPU time that work takes.
func spent(work func()) time.Duration {
	start := processTime()
	work()
	return processTime() - start - clockCost()
}

// onOneProcessor has goroutines take turns, so that the process's CPU time is that of the one whose turn it is.
func onOneProcessor(b *testing.B) {
	before := runtime.GOMAXPROCS(1)
	b.Cleanup(func() { runtime.GOMAXPROCS(before) })
}

func processTime() time.Duration { return cpuTime(unix.CLOCK_PROCESS_CPUTIME_ID) }

// cpuTime is the CPU time by a clock of the system, one that there is.
func cpuTime(clock int32) time.Duration {
	var now unix.Timespec
	_ = unix.ClockGettime(clock, &now)
	return time.Duration(now.Nano())
}

// clockCost is what measuring adds to what is measured.
var clockCost = sync.OnceValue(func() time.Duration {
	const times = 10000
	start := processTime()
	for range times {
		processTime()
	}
	return (processTime() - start) / times
})

// medians has durations, for their median: the garbage collector's turns, and the machine's, fall into few of them.
type medians []time.Duration

func (m *medians) add(d time.Duration) { *m = append(*m, d) }

// median is in nanoseconds.
func (m medians) median() float64 {
	slices.Sort(m)
	return float64(m[len(m)/2].Nanoseconds())
}

// The CPU time of a handshake on the server's side, without sockets.
func BenchmarkHandshake(b *testing.B) {
	for _, kind := range kindsOfHandshake {
		b.Run(kind.name, func(b *testing.B) {
			onOneProcessor(b)
			h := newHandshakes(b, kind.resumed)
			var server medians
			for b.Loop() {
				server.add(h.once())
			}
			b.ReportMetric(server.median(), "server-ns/op")
		})
	}
}

var kindsOfHandshake = []struct {
	name    string
	resumed bool
}{{"full", false}, {"resumed", true}}
