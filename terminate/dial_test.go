package terminate

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/netip"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"hellogate/store"
	"hellogate/terminate/pool"
)

// queueing has one server take one connection, and others wait.
func queueing(t *testing.T, queue pool.Queue, change func(*setup)) *bench {
	t.Helper()
	b := startServer(t, change)
	b.route.Backend.Pool = poolOf(t, pool.Options{
		Name: "main", Servers: []pool.ServerOptions{{Address: b.backend.Addr().String(), Weight: 1, MaxConnections: 1}}, Queue: queue,
	})
	return b
}

// A connection that no server has room for waits until one has.
func TestQueue(t *testing.T) {
	b := queueing(t, pool.Queue{}, nil)
	first, backend := b.pair()
	second, err := b.dial("a.test", nil)
	if err != nil {
		t.Fatal(err)
	}
	mustWrite(t, second, []byte("soon"))
	b.want("it waits", func() bool { return b.route.Backend.Pool.Status().Queued == 1 })
	if open := b.server.Connections(all); len(open) != 2 || open[1].Stage != "connect" || open[1].Backend != "main" || open[1].Server != "" || open[1].Name != "a.test" {
		t.Errorf("open %+v", open)
	}
	first.Close()
	backend.Close()
	if _, err := io.ReadFull(b.accept(), make([]byte, 4)); err != nil {
		t.Error(err)
	}
	b.wantReason(ReasonOK)
	second.Close()
	b.server.Kill(all)
	b.wantNothingCounted()
}

// One that waits in vain is told why, as far as it can be told yet; one that leaves the queue takes nobody's place.
func TestQueueEnds(t *testing.T) {
	for _, test := range []struct {
		name   string
		queue  pool.Queue
		leaves func(b *bench, second *net.TCPConn)
		reason Reason
	}{
		{"after its timeout", pool.Queue{Timeout: 300 * time.Millisecond}, func(*bench, *net.TCPConn) {}, ReasonQueue},
		{"before it began", pool.Queue{Length: -1}, func(*bench, *net.TCPConn) {}, ReasonQueue},
		{"with its client", pool.Queue{Timeout: 2 * time.Second}, func(b *bench, second *net.TCPConn) { abort(b.t, second) }, ReasonClientReset},
		{"by hand", pool.Queue{}, func(b *bench, _ *net.TCPConn) {
			b.server.Kill(func(info ConnectionInfo) bool { return info.Stage == "connect" })
		}, ReasonKilled},
	} {
		t.Run(test.name, func(t *testing.T) {
			b := queueing(t, test.queue, func(o *setup) { o.Action = Passthrough })
			first := b.raw()
			mustWrite(t, first, helloFor("a.test", nil))
			b.accept()
			b.want("the server is full", func() bool { return b.route.Backend.Pool.Status().Servers[0].Connections == 1 })
			second := b.raw()
			mustWrite(t, second, helloFor("a.test", nil))
			if test.reason != ReasonQueue {
				b.want("it waits", func() bool { return b.route.Backend.Pool.Status().Queued == 1 })
			}
			test.leaves(b, second)
			if test.reason == ReasonQueue {
				wantRead(t, second, []byte{21, 3, 3, 0, 2, 2, 80}, nil)
				second.Close()
			}
			if line := b.line(); line["reason"] != string(test.reason) || line["stage"] != "connect" || line["backend"] != "main" {
				t.Errorf("line %v", line)
			}
			if queued := b.route.Backend.Pool.Status().Queued; queued != 0 {
				t.Errorf("%d wait", queued)
			}
			b.server.Kill(all)
			b.wantNothingCounted()
		})
	}
}

// A wait for the first answer of DNS is none for room.
func TestQueueForDNS(t *testing.T) {
	b := startServer(t, nil)
	b.route.Backend.Pool = poolOf(t, pool.Options{ // which is not started
		Name: "main", Servers: []pool.ServerOptions{{Address: "server.test:1", Weight: 1}}, Queue: pool.Queue{Timeout: 200 * time.Millisecond},
	})
	client, err := b.dial("a.test", nil)
	if err != nil {
		t.Fatal(err)
	}
	wantRead(t, client, nil, syscall.ECONNRESET)
	if line := b.line(); line["reason"] != string(ReasonNoBackend) || !strings.Contains(line["error"].(string), "looked up") {
		t.Errorf("line %v", line)
	}
}

// hanging are servers that never come through with their TLS, and one that does.
func hanging(r *reencrypted, dial, connect time.Duration, hang int) *Backend {
	var servers []string
	for range hang {
		servers = append(servers, silent(r.t))
	}
	backend := backendOf(r.t, "main", append(servers, r.backend.Addr().String())...)
	backend.TLS, backend.DialTimeout, backend.ConnectTimeout = r.route.Backend.TLS, dial, connect
	return backend
}

// All tries together have their time, and a server that was left little of it is not to blame.
func TestDialTimeout(t *testing.T) {
	r := reencrypting(t, nil)
	r.route.Backend = hanging(r, 500*time.Millisecond, 350*time.Millisecond, 4)
	client, err := r.dial("a.test", nil)
	if err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	wantRead(t, client, nil, syscall.ECONNRESET)
	if took := time.Since(began); took > 3*time.Second {
		t.Errorf("it took %v", took)
	}
	r.wantReason(ReasonNoBackend)
	failures, picked := uint64(0), uint64(0)
	for _, s := range r.route.Backend.Pool.Status().Servers {
		failures, picked = failures+s.Failures, picked+s.Picked
	}
	if failures != 1 || picked != 2 {
		t.Errorf("%d of %d failed", failures, picked)
	}
	r.wantNothingCounted()
}

// A retry waits for room no longer than all tries may take, where the queue's own patience is longer.
func TestRetryInQueue(t *testing.T) {
	r := reencrypting(t, nil)
	tlsOf := r.route.Backend.TLS
	r.route.Backend = backendOf(t, "main", silent(t))
	r.route.Backend.Pool = poolOf(t, pool.Options{
		Name: "main", Queue: pool.Queue{Timeout: time.Minute}, Balance: pool.LeastConnections,
		Servers: []pool.ServerOptions{
			{Address: r.backend.Addr().String(), Weight: 1, MaxConnections: 1}, {Address: silent(t), Weight: 1},
		},
	})
	r.route.Backend.TLS, r.route.Backend.Retries = tlsOf, 3
	r.route.Backend.ConnectTimeout, r.route.Backend.DialTimeout = 100*time.Millisecond, 400*time.Millisecond
	r.pair(nil)
	client, err := r.dial("a.test", nil)
	if err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	wantRead(t, client, nil, syscall.ECONNRESET)
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("it took %v", took)
	}
	r.wantReason(ReasonQueue)
	r.server.Kill(all)
	r.wantNothingCounted()
}

// A server that resets connections before it says anything is told of; one that answers, or whose client was first, is not.
func TestEarlyResets(t *testing.T) {
	for _, test := range []struct {
		name  string
		do    func(b *bench, client *tls.Conn, backend *net.TCPConn)
		early uint64
	}{
		{"before it sent a byte", func(b *bench, _ *tls.Conn, backend *net.TCPConn) {
			b.wantStage(stageSplice) // before that it has failed to connect
			abort(t, backend)
		}, 1},
		{"after an answer", func(_ *bench, client *tls.Conn, backend *net.TCPConn) {
			mustWrite(t, backend, []byte("x"))
			_, _ = io.ReadFull(client, make([]byte, 1))
			abort(t, backend)
		}, 0},
		{"by the client", func(_ *bench, client *tls.Conn, _ *net.TCPConn) { abort(t, tcp(client)) }, 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			b := startServer(t, nil)
			client, backend := b.pair()
			test.do(b, client, backend)
			b.line()
			b.wantNothingCounted()
			if s := b.route.Backend.Pool.Status().Servers[0]; s.EarlyResets != test.early {
				t.Errorf("server %+v", s)
			}
		})
	}
}

// Answers end a row of early resets.
func TestAnswered(t *testing.T) {
	b := startServer(t, nil)
	b.route.Backend.Pool = poolOf(t, pool.Options{
		Name: "main", Ejection: pool.Ejection{Resets: 2, ResetClients: 1, MaxEjected: 100},
		Servers: []pool.ServerOptions{{Address: b.backend.Addr().String(), Weight: pool.MaxWeight}, {Address: "127.0.0.1:1", Weight: 1}},
	})
	reset := func() {
		_, backend := b.pair()
		b.wantStage(stageSplice) // before that it has failed to connect
		abort(t, backend)
		b.wantReason(ReasonServerReset)
	}
	answer := func() {
		client, backend := b.pair()
		mustWrite(t, backend, []byte("x"))
		_, _ = io.ReadFull(client, make([]byte, 1))
		abort(t, tcp(client))
		b.wantReason(ReasonClientReset)
	}
	for range 3 {
		reset()
		answer()
	}
	b.wantNothingCounted()
	if s := b.route.Backend.Pool.Status().Servers[0]; s.State != pool.StateUp || s.EarlyResets != 3 {
		t.Errorf("server %+v", s)
	}
}

// A server on a Unix socket is one like any other: bulk, ends and headers.
func TestUnixServer(t *testing.T) {
	for _, action := range []Action{Terminate, Passthrough} {
		t.Run(action.String(), func(t *testing.T) {
			b := startServer(t, func(o *setup) { o.Action = action })
			path := filepath.Join(t.TempDir(), "server")
			l, err := net.Listen("unix", path)
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close()
			b.route.Backend = backendOf(t, "main", "unix:"+path)
			data := filled(16 << 20)
			var up []byte
			var group sync.WaitGroup
			group.Go(func() {
				conn, err := l.Accept()
				if err != nil {
					t.Error(err)
					return
				}
				defer conn.Close()
				mustWrite(t, conn, data[:1000])
				time.Sleep(100 * time.Millisecond) // for bulk to gather
				if up, err = io.ReadAll(conn); err != nil {
					t.Error(err)
				}
				mustWrite(t, conn, data[1000:])
			})
			client, hello := halfCloser(nil), []byte(nil)
			if action == Passthrough {
				hello = helloFor("a.test", nil)
				raw := b.raw()
				mustWrite(t, raw, hello)
				client = raw
			} else if client, err = b.dial("a.test", nil); err != nil {
				t.Fatal(err)
			}
			mustWrite(t, client, data)
			_ = client.CloseWrite()
			wantRead(t, client, data, nil)
			group.Wait()
			if !bytes.Equal(up, append(hello, data...)) {
				t.Errorf("%d bytes arrived", len(up))
			}
			client.Close()
			if line := b.line(); line["reason"] != "ok" || line["server"] != "unix:"+path {
				t.Errorf("line %v", line)
			}
			b.wantNothingCounted()
		})
	}
}

// A connection that ends early gives back all that it counted in, whatever stage it is in.
func TestEndsEarly(t *testing.T) {
	for _, test := range []struct {
		name  string
		begin func(r *reencrypted) // brings one connection into the stage
		stage stage
	}{
		{"in the hello", func(r *reencrypted) { mustWrite(r.t, r.raw(), helloFor("a.test", nil)[:100]) }, stageHello},
		{"in the look-up", func(r *reencrypted) { mustWrite(r.t, r.raw(), helloFor("held.test", nil)) }, stageCertificate},
		{"in the handshake", func(r *reencrypted) { mustWrite(r.t, r.raw(), helloFor("a.test", nil)) }, stageHandshake},
		{"in the server's handshake", func(r *reencrypted) {
			r.route.Backend = hanging(r, time.Minute, time.Minute, 0)
			if _, err := r.dial("a.test", nil); err != nil {
				r.t.Error(err)
			}
		}, stageConnect},
		{"while bytes flow", func(r *reencrypted) { r.pair(nil) }, stageSplice},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := reencrypting(t, nil)
			looking := make(chan struct{})
			r.server.Certificates.(lookups)["held.test"] = func(context.Context) error { <-looking; return store.ErrUnknown }
			test.begin(r)
			r.wantStage(test.stage)
			killed := r.server.Kill(all)
			close(looking)
			if len(killed) != 1 || killed[0].Stage != test.stage.String() {
				t.Errorf("killed %+v", killed)
			}
			if line := r.line(); line["reason"] != string(ReasonKilled) {
				t.Errorf("line %v", line)
			}
			r.wantNothingCounted()
			if refused := r.server.Stats().Refused[string(ReasonKilled)]; refused != 1 {
				t.Errorf("%d are counted", refused)
			}
			if failures := r.route.Backend.Pool.Status().Servers[0].Failures; failures != 0 {
				t.Errorf("the server is blamed %d times", failures)
			}
		})
	}
}

// When a server goes down its connections are reset, those that are about to be and no others.
func TestKillServer(t *testing.T) {
	r := reencrypting(t, nil)
	client, _, _ := r.pair(nil)
	down, _ := r.route.Backend.Pool.Watch()
	another := poolOf(t, pool.Options{Name: "main", Servers: []pool.ServerOptions{{Address: "127.0.0.1:1", Weight: 1}}})
	others, _ := another.Watch()
	if n := r.server.KillServer(others[0]); n != 0 {
		t.Errorf("%d killed", n)
	}
	coming := make(chan *tls.Conn, 1)
	go func() {
		client, err := r.dial("a.test", nil)
		if err != nil {
			t.Error(err)
		}
		coming <- client
	}()
	raw := r.accept() // and its handshake hangs
	r.wantStage(stageConnect)
	if n := r.server.KillServer(down[0]); n != 1 {
		t.Errorf("%d killed", n)
	}
	wantRead(t, client, nil, syscall.ECONNRESET)
	r.wantReason(ReasonServerDown)
	second := <-coming
	session := tls.Server(raw, r.config)
	if err := session.Handshake(); err != nil {
		t.Error(err)
	}
	if _, err := io.ReadAll(second); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("the one that was being made: %v", err)
	}
	r.wantReason(ReasonServerDown)
	r.wantNothingCounted()
}

// One client whose connections a server does not want, for what their hello says, does not have it ejected; several do.
func TestFailuresOfOneClient(t *testing.T) {
	r := reencrypting(t, nil)
	tlsOf := r.route.Backend.TLS
	tlsOf.Config = func() *tls.Config { return &tls.Config{RootCAs: r.ca.Pool()} } // the client's name, which it has no certificate for
	r.route.Backend.TLS = tlsOf
	r.route.Backend.Pool = poolOf(t, pool.Options{
		Name: "main", Ejection: pool.Ejection{Failures: 2, Resets: 2, ResetClients: 2, MaxEjected: 100},
		Servers: []pool.ServerOptions{{Address: r.backend.Addr().String(), Weight: pool.MaxWeight}, {Address: "127.0.0.1:1", Weight: 1}},
	})
	come := func() {
		t.Helper()
		client, err := r.dial("b.test", nil)
		if err != nil {
			t.Fatal(err)
		}
		_ = tls.Server(r.accept(), r.config).Handshake()
		wantRead(t, client, nil, syscall.ECONNRESET)
		r.wantReason(ReasonNoBackend)
	}
	for range 4 {
		come()
	}
	if s := r.route.Backend.Pool.Status().Servers[0]; s.State != pool.StateUp || s.Failures != 4 {
		t.Errorf("server %+v", s)
	}
	servers, _ := r.route.Backend.Pool.Watch()
	servers[0].FailedFor(netip.MustParseAddr("192.0.2.1"), errors.New("another's"))
	if s := r.route.Backend.Pool.Status().Servers[0]; s.State != pool.StateEjected {
		t.Errorf("server %+v", s)
	}
}
