package terminate

import (
	"bytes"
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/netip"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	"hellogate/cache"
	"hellogate/store"
	"hellogate/terminate/proxyproto"
	"hellogate/terminate/socket"
)

// database is a server that gives each session the next key, and notes the cancels that come.
type database struct {
	listener net.Listener
	cancels  chan []byte // with what came before them
}

// newDatabase returns one whose first key begins with a byte, and that has so many bytes.
func newDatabase(t *testing.T, first byte, size int) *database {
	t.Helper()
	return databaseAt(t, listen(t), first, size)
}

func databaseAt(t *testing.T, l net.Listener, first byte, size int) *database {
	t.Helper()
	d := &database{l, make(chan []byte, 10)}
	done := make(chan struct{})
	t.Cleanup(func() { d.listener.Close(); <-done })
	go func() {
		defer close(done)
		for key := first; ; key++ {
			conn, err := d.listener.Accept()
			if err != nil {
				return
			}
			t.Cleanup(func() { conn.Close() })
			_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
			got := make([]byte, 1000)
			n, _ := conn.Read(got)
			if bytes.HasSuffix(got[:n], startup) {
				_, _ = conn.Write(slices.Concat(authOK, parameter, message("K", keyOf(key, size)...), isReady))
				continue
			}
			conn.Close()
			d.cancels <- got[:n]
		}
	}()
	return d
}

func (d *database) address() string { return d.listener.Addr().String() }

// wantCancel wants one with this key and nothing behind it, and returns what came before.
func (d *database) wantCancel(t *testing.T, key []byte) []byte {
	t.Helper()
	select {
	case got := <-d.cancels:
		before, whole := bytes.CutSuffix(got, cancelOf(key))
		if !whole {
			t.Errorf("%x, want the key %x", got, key)
		}
		return before
	case <-time.After(5 * time.Second):
		t.Fatal("no cancel")
		return nil
	}
}

// databases has three servers behind one name.
func databases(t *testing.T, size int, change func(*setup)) (*bench, []*database) {
	t.Helper()
	all := []*database{newDatabase(t, 10, size), newDatabase(t, 20, size), newDatabase(t, 30, size)}
	b := asking(t, "postgres", func(o *setup) {
		o.Backend = backendOf(t, "main", all[0].address(), all[1].address(), all[2].address())
		o.Backend.Proxy = sender(t, proxyproto.Options{Version: proxyproto.V2, TLVs: []proxyproto.TLV{proxyproto.Authority}})
		if change != nil {
			change(o)
		}
	})
	return b, all
}

// opened is a session whose client has got all that comes first, and its key.
func (b *bench) opened(size int) (client *tls.Conn, key []byte) {
	b.t.Helper()
	client = b.session("a.test")
	b.wantBytes(client, string(slices.Concat(authOK, parameter)))
	head := make([]byte, 5)
	key = make([]byte, size)
	_, _ = io.ReadFull(client, head)
	if _, err := io.ReadFull(client, key); err != nil || head[0] != 'K' {
		b.t.Fatalf("%q: %v", head, err)
	}
	b.wantBytes(client, string(isReady))
	return client, key
}

// Whatever way a cancel comes, it goes to the very server that has the session, behind a header that tells of the one who
// wants it, and its end comes back without a byte.
func TestCancel(t *testing.T) {
	for _, size := range []int{8, 260} {
		b, all := databases(t, size, nil)
		var keys [3][]byte
		for i := range keys {
			_, keys[i] = b.opened(size)
		}
		for _, key := range [][]byte{keys[2], keys[0], keys[1], keys[1]} {
			server := all[key[0]/10-1]

			raw := b.raw()
			mustWrite(t, raw, cancelOf(key))
			wantCancelHeader(t, server.wantCancel(t, key), raw.LocalAddr())
			wantRead(t, raw, nil, nil)
			raw.Close()
			b.wantCancelLine(server.address(), "a.test", nil)

			client, err := b.handshake(b.asked(), &tls.Config{ServerName: "b.test", RootCAs: b.ca.Pool()})
			if err != nil {
				t.Fatal(err)
			}
			mustWrite(t, client, cancelOf(key))
			wantCancelHeader(t, server.wantCancel(t, key), client.NetConn().LocalAddr())
			wantRead(t, client, nil, nil)
			client.NetConn().Close()
			b.wantCancelLine(server.address(), "b.test", "TLS 1.3")
		}
		if got := b.server.Stats().Cancels; got != (Cancels{Passed: 8}) {
			t.Errorf("counted %+v", got)
		}
		for _, server := range b.route.Backend.Pool.Status().Servers {
			if server.Connections != 1 {
				t.Errorf("server %+v", server)
			}
		}
	}
}

func wantCancelHeader(t *testing.T, got []byte, from net.Addr) {
	t.Helper()
	header, size, err := proxyproto.Parse(got, proxyproto.MaxSize)
	if err != nil || size != len(got) || header.Source != addrPortOf(from) || string(header.TLVs[0].Value) != "a.test" {
		t.Errorf("header %+v: %v", header, err)
	}
}

func (b *bench) wantCancelLine(server, name string, version any) {
	b.t.Helper()
	line := b.line()
	if line["reason"] != "ok" || line["cancel"] != true || line["server"] != server || line["name"] != name || line["protocol"] != "postgres" || line["tls_version"] != version {
		b.t.Errorf("line %v", line)
	}
}

// A session may end, in whatever way, while its cancel is under way: nothing of either is left, and no other is met.
func TestCancelWhileItEnds(t *testing.T) {
	b, all := databases(t, 8, nil)
	over := make(chan struct{})
	defer close(over)
	for _, server := range all {
		go func() {
			for {
				select {
				case <-server.cancels:
				case <-over:
					return
				}
			}
		}()
	}
	for range 20 {
		client, key := b.opened(8)
		var group sync.WaitGroup
		for range 4 {
			raw := b.raw()
			group.Go(func() {
				mustWrite(t, raw, cancelOf(key))
				_, _ = io.Copy(io.Discard, raw)
				raw.Close()
			})
		}
		group.Go(func() {
			if key[0]%2 == 0 {
				b.server.Kill(func(info ConnectionInfo) bool { return info.Stage == stageSplice.String() })
			}
			client.NetConn().Close()
		})
		group.Wait()
	}
	b.server.Kill(func(ConnectionInfo) bool { return true }) // the servers keep theirs open
	b.want("nothing is left", func() bool { return b.server.keys.Len() == 0 && b.server.Stats().Active == 0 })
	if got := b.server.Stats().Cancels; got.Passed+got.Unknown != 80 {
		t.Errorf("counted %+v", got)
	}
	b.wantNothingCounted()
}

// A key that is nobody's, any more or at all, says nothing to whoever tries it.
func TestCancelUnknown(t *testing.T) {
	b, all := databases(t, 8, nil)
	client, key := b.opened(8)
	client.Close()
	client.NetConn().Close()
	for _, server := range all {
		server.listener.Close()
	}
	b.server.Kill(func(ConnectionInfo) bool { return true })
	b.line()
	for _, sent := range [][]byte{key, keyOf(99, 8), keyOf(10, 9), append(slices.Clone(key), 0)} {
		raw := b.raw()
		mustWrite(t, raw, cancelOf(sent))
		wantRead(t, raw, nil, nil)
		raw.Close()
		if line := b.line(); line["reason"] != "cancel_unknown" || line["cancel"] != true || line["server"] != nil {
			t.Errorf("line %v", line)
		}
	}
	if got := b.server.Stats(); got.Cancels != (Cancels{Unknown: 4}) || got.Refused["cancel_unknown"] != 4 {
		t.Errorf("counted %+v, %v", got.Cancels, got.Refused)
	}
	b.wantNothingCounted()
}

// A cancel is told of its server's end when that comes, and not for ever.
func TestCancelOfTheSlow(t *testing.T) {
	b := asking(t, "postgres", func(o *setup) { o.Backend.ConnectTimeout = 200 * time.Millisecond })
	client := b.session("a.test")
	backend := b.accept()
	b.wantBytes(backend, string(startup))
	mustWrite(t, backend, slices.Concat(authOK, message("K", keyOf(7, 8)...), isReady))
	b.wantBytes(client, "R")
	raw := b.raw()
	mustWrite(t, raw, cancelOf(keyOf(7, 8)))
	b.wantBytes(b.accept(), string(cancelOf(keyOf(7, 8))))
	wantRead(t, raw, nil, nil)
	raw.Close()
	b.wantReason(ReasonTimeout)

	b.backend.Close()
	raw = b.raw()
	mustWrite(t, raw, cancelOf(keyOf(7, 8)))
	wantRead(t, raw, nil, nil)
	raw.Close()
	b.wantReason(ReasonNoBackend)
	if got := b.server.Stats().Cancels; got != (Cancels{Failed: 2}) {
		t.Errorf("counted %+v", got)
	}
	abort(t, backend)
	wantRead(t, client, slices.Concat(authOK, message("K", keyOf(7, 8)...), isReady)[1:], syscall.ECONNRESET)
}

// A server that is spoken to over TLS gets a cancel over TLS, too, by the session's name.
func TestCancelEncrypted(t *testing.T) {
	b := asking(t, "postgres", nil)
	own, roots := b.ca.Issue(t, "a.test").TLS(), b.ca.Pool()
	b.route.Backend.StartTLS = startTLS(t, "postgres")
	b.route.Backend.TLS.Config = func() *tls.Config { return &tls.Config{RootCAs: roots} }
	b.route.Backend.Proxy = sender(t, proxyproto.Options{Version: proxyproto.V1})
	accept := func() *tls.Conn {
		conn := b.accept()
		readHeader(t, conn)
		b.wantBytes(conn, string(sslRequest))
		mustWrite(t, conn, []byte("S"))
		return tls.Server(conn, &tls.Config{Certificates: []tls.Certificate{own}})
	}
	served := make(chan *tls.Conn)
	go func() {
		session := accept()
		b.wantBytes(session, string(startup))
		mustWrite(t, session, slices.Concat(authOK, message("K", keyOf(7, 8)...), isReady))
		served <- session
		cancel := accept()
		b.wantBytes(cancel, string(cancelOf(keyOf(7, 8))))
		if name := cancel.ConnectionState().ServerName; name != "a.test" {
			t.Errorf("asked for %q", name)
		}
		cancel.Close()
		close(served)
	}()
	client := b.session("a.test")
	b.wantBytes(client, string(authOK))
	<-served
	raw := b.raw()
	mustWrite(t, raw, cancelOf(keyOf(7, 8)))
	wantRead(t, raw, nil, nil)
	raw.Close()
	<-served
	b.wantReason(ReasonOK)
}

// Clients that are passed through have keys that nobody here has seen.
func TestCancelPassthrough(t *testing.T) {
	b, _ := passing(t, func(o *setup) { o.Listeners[0].StartTLS = startTLS(t, "postgres") })
	raw := b.raw()
	mustWrite(t, raw, cancelOf(keyOf(7, 8)))
	wantRead(t, raw, nil, nil)
	raw.Close()
	b.wantReason(ReasonCancelUnknown)
	b.wantUndialled()
}

// Who cancels counts like any other client.
func TestCancelsAreLimited(t *testing.T) {
	b := asking(t, "postgres", func(o *setup) { o.Limits.Client.Connections = 1 })
	first := b.session("a.test")
	defer first.NetConn().Close()
	if raw, err := net.Dial("tcp", b.address); err == nil {
		defer raw.Close()
		_, _ = raw.Write(cancelOf(keyOf(1, 8)))
		wantRead(t, raw, nil, syscall.ECONNRESET)
	}
	b.want("it is refused", func() bool { return b.server.Stats().Refused["client_connections"] == 1 })
}

// When the key has been seen nobody looks at the bytes any more, and nothing is held of how it all began.
func TestKeyWatchEnds(t *testing.T) {
	b := asking(t, "postgres", nil)
	client := b.session("a.test")
	backend := b.accept()
	b.wantBytes(backend, string(startup))
	mustWrite(t, backend, slices.Concat(authOK, message("K", keyOf(1, 8)...)))
	b.want("the key is kept", func() bool { return b.server.keys.Len() == 1 })
	c := b.server.openConnections()[0]
	client.NetConn().Close()
	backend.Close()
	b.line() // from here on the connection is nobody's
	if c.bytes.down.watch != nil || c.opening != nil || c.bytes.down.header != nil || c.bytes.up.header != nil {
		t.Error("something is held of the beginning")
	}
	d := direction{from: &stream{}, to: &stream{}}
	if !d.canSplice() {
		t.Error("the kernel may not move bytes")
	}
	if d.watch = new(keyWatch); d.canSplice() {
		t.Error("the kernel moves bytes that are to be seen")
	}
}

// A turn has the watch see what came, as it came, without what goes before it.
func TestKeyWatchSees(t *testing.T) {
	server := New(Options{}, &Plan{})
	answer := slices.Concat(authOK, message("K", keyOf(1, 8)...))
	from, to := &canned{bytes: answer}, &canned{}
	s := splice{client: &stream{transport: transport{Conn: to}}, backend: &stream{transport: transport{Conn: from}}}
	s.start(nil, []byte("greeting"))
	s.down.watch = &keyWatch{connection: &connection{server: server}}
	s.down.turn(new(socket.Buffer))
	if server.keys.Len() != 1 || s.down.watch != nil || string(to.written) != "greeting"+string(answer) || s.down.moved.Load() != int64(len(answer)) {
		t.Errorf("%d keys, wrote %q", server.keys.Len(), to.written)
	}
}

// canned has some bytes to read, and keeps what is written.
type canned struct {
	socket.Conn
	bytes, written []byte
}

func (c *canned) Read(p []byte) (int, error) {
	if len(c.bytes) == 0 {
		return 0, socket.ErrNothingYet
	}
	n := copy(p, c.bytes)
	c.bytes = c.bytes[n:]
	return n, nil
}

func (c *canned) Write(p []byte) (int, error) {
	c.written = append(c.written, p...)
	return len(p), nil
}
func (c *canned) Queued() int { return 0 }
func (c *canned) Unsent() int { return 0 }

// A session whose server a store named is cancelled at that very server, and only as long as it may be dialled.
func TestCancelAtNamedServer(t *testing.T) {
	server := newDatabase(t, 10, 8)
	b := asking(t, "postgres", func(o *setup) {
		o.Certificates = &naming{o.Certificates, &cache.Routing{Store: "main", Routing: store.Routing{Servers: []string{server.address()}}}}
		o.Allow = map[string][]netip.Prefix{"main": loopback}
	})
	_, key := b.opened(8)
	raw := b.raw()
	mustWrite(t, raw, cancelOf(key))
	server.wantCancel(t, key)
	wantRead(t, raw, nil, nil)
	raw.Close()
	b.wantCancelLine(server.address(), "a.test", nil)
}

// A server at a Unix socket is found again, too.
func TestCancelAtSocket(t *testing.T) {
	l, err := net.Listen("unix", filepath.Join(t.TempDir(), "s"))
	if err != nil {
		t.Fatal(err)
	}
	server, address := databaseAt(t, l, 10, 8), "unix:"+l.Addr().String()
	b := asking(t, "postgres", func(o *setup) { o.Backend = backendOf(t, "main", address) })
	_, key := b.opened(8)
	raw := b.raw()
	mustWrite(t, raw, cancelOf(key))
	server.wantCancel(t, key)
	wantRead(t, raw, nil, nil)
	raw.Close()
	b.wantCancelLine(address, "a.test", nil)
}

// naming has a store's answers name servers.
type naming struct {
	Certificates
	routing *cache.Routing
}

func (n *naming) Get(ctx context.Context, query cache.Query) (cache.Answer, error) {
	answer, err := n.Certificates.Get(ctx, query)
	answer.Routing = n.routing
	return answer, err
}

// A connection that is killed while it says what comes before TLS ended for that.
func TestPostgresKilled(t *testing.T) {
	b := asking(t, "postgres", nil)
	raw := b.raw()
	mustWrite(t, raw, sslRequest[:4])
	b.wantStage(stagePreamble)
	b.server.Kill(all)
	wantRead(t, raw, nil, syscall.ECONNRESET)
	b.wantReason(ReasonKilled)
	b.wantPreamble("postgres", "killed")
	raw = b.raw()
	mustWrite(t, raw, sslRequest[:4])
	b.wantStage(stagePreamble)
	time.Sleep(20 * time.Millisecond)
	abort(t, raw)
	b.wantReason(ReasonClientReset)
}
