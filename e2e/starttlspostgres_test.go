package e2e

import (
	"crypto/sha256"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"time"
)

// databases are three PostgreSQL servers, tenant1, tenant2 and tenant3, which the tests of one protocol share: they take
// longer to start than most of these tests to run.
type databases []*postgresServer

// TestPostgres runs what psql, and clients that do what psql does not, do through hellogate to PostgreSQL.
func TestPostgres(t *testing.T) {
	t.Parallel()
	var d databases
	for _, name := range []string{"tenant1", "tenant2", "tenant3"} {
		d = append(d, newPostgres(t, name))
	}
	t.Run("behind", func(t *testing.T) {
		for name, test := range map[string]func(testing.TB, databases){
			"tenants": postgresTenants, "copy": postgresCopy, "notify": postgresNotify, "cancel": postgresCancel,
			"encrypted cancel": postgresEncryptedCancel, "unknown cancel": postgresUnknownCancel, "plaintext": postgresPlaintext,
			"injection": postgresInjection, "GSSAPI": postgresGSSAPI, "direct": postgresDirectTLS, "slow": postgresSlow,
			"no name": postgresNoName, "unknown name": postgresUnknownName, "passthrough": postgresPassthrough,
			"encrypted again": postgresReencrypt, "channel binding": postgresChannelBinding, "hop": postgresHop, "auto": postgresAuto,
		} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				test(t, d)
			})
		}
	})
}

// gate is a hellogate in front of tenant1 and tenant2; more is said of the listener, pool of both backends.
func (d databases) gate(t testing.TB, more, pool string, overrides ...string) *gate {
	t.Helper()
	return newTenants(t, "db.example", "starttls: postgres"+more, pool, [2]string{d[0].address, d[1].address}, overrides...)
}

const (
	clusterName = "show cluster_name"
	proxyOff    = "send_proxy: off"
)

// Two names on one address and port lead psql, which verifies each name's certificate, to two servers, whatever sslmode makes
// it do first. The certificates are fetched when they are asked for.
func postgresTenants(t testing.TB, d databases) {
	g := d.gate(t, "", proxyOff)
	for _, name := range []string{"tenant1", "tenant2"} {
		for _, mode := range []string{"verify-full", "prefer", "allow"} {
			g.asks(name+".db.example", "sslmode="+mode, clusterName, name)
		}
	}
	got := g.psqlRuns("tenant1.db.example", "", "\\conninfo\nselect count(*) from generate_series(1, 100000);\n")
	if got.code != 0 || !strings.Contains(got.stdout, "SSL connection (protocol: TLSv1.3") || !strings.Contains(got.stdout, "\n100000\n") {
		t.Errorf("psql said %q %q", got.stdout, got.stderr)
	}
}

// COPY moves some megabytes in and out intact.
func postgresCopy(t testing.TB, d databases) {
	g := d.gate(t, "", proxyOff)
	var rows strings.Builder
	for i := range 100000 {
		fmt.Fprintf(&rows, "%d\t%x\n", i, sha256.Sum256([]byte(itoa(i))))
	}
	folder := shortFolder(t)
	writeFile(t, folder+"/in", rows.String())
	got := g.psqlRuns("tenant1.db.example", "", fmt.Sprintf("create temporary table rows (id int, text text);\n\\copy rows from '%[1]s/in'\n\\copy (select * from rows order by id) to '%[1]s/out'\n", folder))
	if out, err := os.ReadFile(folder + "/out"); got.code != 0 || string(out) != rows.String() {
		t.Errorf("%d bytes of %d came back, %v: %s", len(out), rows.Len(), err, got.stderr)
	}
}

// A notification reaches a client that is silent, at once.
func postgresNotify(t testing.TB, d databases) {
	g := d.gate(t, "", proxyOff)
	listening := g.session("tenant2.db.example")
	listening.say("listen e2e")
	listening.until('Z')
	g.asks("tenant2.db.example", "", "notify e2e, 'hello'", "")
	if got := listening.until('A'); !strings.HasSuffix(string(got), "e2e\x00hello\x00") {
		t.Errorf("notified of %q", got)
	}
}

// A client that will not have TLS, or falls back because TLS failed, is told what is wrong and does not hang.
func postgresPlaintext(t testing.TB, d databases) {
	g := d.gate(t, "", proxyOff)
	for _, asked := range []struct{ name, more string }{{"tenant1.db.example", "sslmode=disable"}, {"gone.db.example", "sslmode=prefer"}} {
		got := g.psqlRuns(asked.name, asked.more, "", "-c", clusterName)
		if got.code != 2 || !strings.Contains(got.stderr, "FATAL:  this server accepts only TLS connections") {
			t.Errorf("%s: psql ended with %d: %s", asked.more, got.code, got.stderr)
		}
	}
	conn := dialRaw(t, g.address)
	conn.Write(postgresStart("app"))
	wantFatal(t, conn, "28000")
	g.eventually("it is counted", func() bool { return g.refusals("plaintext") == 3 })
}

// What comes behind the request for TLS before it is answered is refused, and goes to no server (CVE-2021-23214).
func postgresInjection(t testing.TB, _ databases) {
	w := newWorld(t, "backends: {main: {send_proxy: off}}")
	w.backend.expectsNoHeader()
	g := startListener(t, "starttls: postgres", usesStore(w.store), usesBackend(w.backend.address))
	for _, first := range [][]byte{sslRequest, gssRequest} {
		conn := dialRaw(t, g.address)
		conn.Write(append(append([]byte{}, first...), postgresStart("injected")...))
		wantFatal(t, conn, "08P01")
	}
	g.eventually("it is counted", func() bool { return g.refusals("injection") == 2 })
	w.backend.wantNone(t)
}

// GSSAPI encryption is declined, and the client goes on to ask for TLS.
func postgresGSSAPI(t testing.TB, d databases) {
	g := d.gate(t, "", proxyOff)
	conn := dialRaw(t, g.address)
	sayAndHear(t, conn, gssRequest, "N")
	sayAndHear(t, conn, sslRequest, "S")
	c := must(handshakeOver(conn, "tenant2.db.example"))
	if got := (&postgresClient{Conn: c, t: t}).login().ask(clusterName); got != "tenant2" {
		t.Errorf("on %s", got)
	}
}

// TLS without a request, as sslnegotiation=direct of PostgreSQL 17 has it: the protocol is negotiated by ALPN, without which no
// session is begun.
func postgresDirectTLS(t testing.TB, d databases) {
	g := d.gate(t, "", proxyOff)
	c := must(handshake(g.address, "tenant2.db.example", protocols("postgresql")))
	t.Cleanup(func() { c.wire.TCPConn.Close() })
	if got := (&postgresClient{Conn: c, t: t}).login().ask(clusterName); got != "tenant2" || c.ConnectionState().NegotiatedProtocol != "postgresql" {
		t.Errorf("on %s by %q", got, c.ConnectionState().NegotiatedProtocol)
	}
	g.refused("tenant2.db.example", alertNoApplication)
	g.refused("tenant2.db.example", alertNoApplication, protocols("http/1.1"))
}

// trickle writes one byte at a time.
type trickle struct{ *net.TCPConn }

func (c trickle) Write(b []byte) (int, error) {
	for i := range b {
		if _, err := c.TCPConn.Write(b[i : i+1]); err != nil {
			return i, err
		}
		if i%50 == 0 {
			time.Sleep(time.Millisecond) // has segments of one byte even if they are merged later
		}
	}
	return len(b), nil
}

// A client whose requests and hello come one byte at a time is served as any other.
func postgresSlow(t testing.TB, d databases) {
	g := d.gate(t, "", proxyOff)
	conn := dialRaw(t, g.address)
	conn.SetNoDelay(true)
	slow := trickle{conn}
	sayAndHear(t, slow, gssRequest, "N")
	sayAndHear(t, slow, sslRequest, "S")
	c, err := handshakeOver(conn, "tenant1.db.example", classical, func(_ *tls.Config, w *wire) {
		w.rewrite = func(_ io.Writer, hello []byte) error { _, err := slow.Write(hello); return err }
	})
	if err != nil {
		t.Fatal(err)
	}
	session := &postgresClient{Conn: c, t: t}
	for _, b := range postgresStart("raw") {
		c.Write([]byte{b})
	}
	session.until('Z')
	if got := session.ask(clusterName); got != "tenant1" {
		t.Errorf("on %s", got)
	}
}

// A client without SNI goes by the listener's default name, and is refused where there is none.
func postgresNoName(t testing.TB, d databases) {
	g := d.gate(t, ", default_name: tenant2.db.example", proxyOff)
	g.asks("tenant1.db.example", "sslmode=require sslsni=0", clusterName, "tenant2")
	g = d.gate(t, "", proxyOff)
	if got := g.psqlRuns("tenant1.db.example", "sslmode=require sslsni=0", "", "-c", clusterName); got.code != 2 || !strings.Contains(got.stderr, "alert") {
		t.Errorf("psql ended with %d: %s", got.code, got.stderr)
	}
	g.access("reason", "no_sni")
}

// A name that no route has leads nowhere.
func postgresUnknownName(t testing.TB, d databases) {
	g := d.gate(t, "", proxyOff)
	if got := g.psqlRuns("tenant3.db.example", "", "", "-c", clusterName); got.code != 2 || !strings.Contains(got.stderr, "unrecognized name") {
		t.Errorf("psql ended with %d: %s", got.code, got.stderr)
	}
	g.access("reason", "no_route")
}

// Passed through, the session is the server's own from the hello on: its certificate, and its channel binding. A cancel in the
// clear says no name, and no key was seen: it is closed.
func postgresPassthrough(t testing.TB, d databases) {
	g := d.gate(t, "", proxyOff, `
routes:
  - {match: {names: [tenant1.db.example]}, action: passthrough, backend: main}
  - {match: {names: [tenant2.db.example]}, action: passthrough, backend: second}
`)
	g.asks("tenant1.db.example", "channel_binding=require", clusterName, "tenant1")
	g.asks("tenant2.db.example", "channel_binding=require", clusterName, "tenant2")
	c := g.postgres("tenant2.db.example")
	c.wantOwn(t, d[1].own)
	session := (&postgresClient{Conn: c, t: t}).login()
	exchange(t, g.address, cancelRequest(session.key))
	g.access("reason", "cancel_unknown")
}

// A server that wants TLS itself is asked for it as PostgreSQL wants, and verified.
func postgresReencrypt(t testing.TB, d databases) {
	pool := proxyOff + ", starttls: postgres, tls: {ca_file: %q, server_name: %s}"
	g := d.gate(t, "", fmt.Sprintf(pool, ca().rootFile(t), "server.internal"))
	for _, name := range []string{"tenant1", "tenant2"} {
		g.asks(name+".db.example", "channel_binding=disable", "select current_setting('cluster_name'), ssl from pg_stat_ssl where pid = pg_backend_pid()", name+"|t")
	}
	g = d.gate(t, "", fmt.Sprintf(pool, ca().rootFile(t), "another.internal"))
	if got := g.psqlRuns("tenant1.db.example", "channel_binding=disable", "", "-c", clusterName); got.code != 2 {
		t.Errorf("psql ended with %d: %s", got.code, got.stderr)
	}
	g.access("reason", "no_backend")
}

// Channel binding ties a password to the server's certificate. Where TLS ends here a client that requires it is refused, by
// itself: the server offers none in the clear, and one that does for its own TLS has another certificate than the client saw.
func postgresChannelBinding(t testing.TB, d databases) {
	g := d.gate(t, "", proxyOff)
	g.asks("tenant1.db.example", "channel_binding=prefer", clusterName, "tenant1")
	if got := g.psqlRuns("tenant1.db.example", "channel_binding=require", "", "-c", clusterName); got.code != 2 || !strings.Contains(got.stderr, "channel binding is required") {
		t.Errorf("psql ended with %d: %s", got.code, got.stderr)
	}
	g = d.gate(t, "", fmt.Sprintf("%s, starttls: postgres, tls: {ca_file: %q, server_name: server.internal}", proxyOff, ca().rootFile(t)))
	if got := g.psqlRuns("tenant1.db.example", "channel_binding=prefer", "", "-c", clusterName); got.code != 2 || !strings.Contains(got.stderr, "channel binding check failed") {
		t.Errorf("psql ended with %d: %s", got.code, got.stderr)
	}
}

// PostgreSQL reads no PROXY header. HAProxy as a hop beside it does, and so has the client's address in its log.
// A cancel finds its way too.
func postgresHop(t testing.TB, d databases) {
	var hops [2]string
	var logs [2]string
	for i := range hops {
		hops[i], logs[i] = freeAddress(t), shortFolder(t)+"/log"
		runHop(t, hops[i], d[i].address, logs[i])
	}
	g := newTenants(t, "db.example", "starttls: postgres", "send_proxy: v2", hops)
	for i, name := range []string{"tenant1", "tenant2"} {
		g.asks(name+".db.example", "", clusterName, name)
		line := g.access("name", name+".db.example")
		awaitText(t, logs[i], "client "+line.text("client")+" ")
	}
	busy := g.session("tenant2.db.example")
	busy.sleep(d[1])
	exchange(t, g.address, cancelRequest(busy.key))
	busy.wantCancelled()
}

// One listener takes PostgreSQL and whatever else begins with TLS, each by its name.
func postgresAuto(t testing.TB, d databases) {
	other := newBackend(t, echo)
	other.expectsNoHeader()
	g := newTenants(t, "db.example", "starttls: auto", proxyOff, [2]string{d[0].address, other.address})
	g.asks("tenant1.db.example", "", clusterName, "tenant1")
	g.visit("tenant2.db.example")
}
