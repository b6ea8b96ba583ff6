package e2e

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"
)

// Ctrl-C in psql, whose cancel is in the clear and has no name, ends its own query and no other, though any of three servers may
// have it.
func postgresCancel(t testing.TB, d databases) {
	g := startListener(t, "starttls: postgres", usesStore(newStore(t)), usesBackend(d[0].address, d[1].address, d[2].address), "backends: {main: {send_proxy: off}}")
	type query struct {
		server string
		ends   func() result
		cancel func()
	}
	var queries []query
	servers := map[string]bool{}
	for range 3 {
		command := g.psql("a.db.example", "", "-c", clusterName, "-c", "select pg_sleep(60)")
		stdout := must(command.StdoutPipe())
		var stderr strings.Builder
		command.Stderr = &stderr
		if err := command.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { command.Process.Kill() })
		server, _ := bufio.NewReader(stdout).ReadString('\n')
		servers[server] = true
		queries = append(queries, query{server: strings.TrimSpace(server), cancel: func() { command.Process.Signal(os.Interrupt) }, ends: func() result {
			command.Wait()
			return result{stderr: stderr.String(), code: command.ProcessState.ExitCode()}
		}})
	}
	if len(servers) != 3 {
		t.Fatalf("the queries are on the servers %v", servers)
	}
	for i, q := range queries {
		server := d[q.server[len("tenant")]-'1'].address
		direct := postgresDirect(t, server)
		sleeping := func() string {
			return direct.ask("select count(*) from pg_stat_activity where query = 'select pg_sleep(60)' and state = 'active' and application_name = 'psql' and wait_event = 'PgSleep'")
		}
		g.eventually(q.server+" runs a query", func() bool { return sleeping() == "1" })
		for _, other := range queries[i+1:] {
			if strings.TrimSpace(other.server) == q.server {
				t.Fatalf("%s has two", q.server)
			}
		}
		q.cancel()
		if got := q.ends(); got.code == 0 || !strings.Contains(got.stderr, "canceling statement due to user request") {
			t.Errorf("%s: psql ended with %d: %s", q.server, got.code, got.stderr)
		}
		if passed := g.preambles("postgres", "cancel"); passed != float64(i+1) {
			t.Errorf("%v cancels are counted after %d", passed, i+1)
		}
	}
}

// preambles is how many preambles of a protocol had a result.
func (g *gate) preambles(protocol, result string) float64 {
	g.t.Helper()
	value, _ := metric(g.metrics(), fmt.Sprintf("hellogate_preambles_total{protocol=%q,result=%q}", protocol, result))
	return value
}

// metrics are those of now, as text.
func (g *gate) metrics() string {
	g.t.Helper()
	return string(must(g.ask("GET", "/metrics", "")))
}

// A cancel inside TLS, as that of PostgreSQL 17, is passed on too.
func postgresEncryptedCancel(t testing.TB, d databases) {
	g := d.gate(t, "", proxyOff)
	busy := g.session("tenant1.db.example")
	busy.sleep(d[0])
	cancels := g.postgres("tenant1.db.example")
	if _, err := cancels.Write(cancelRequest(busy.key)); err != nil {
		t.Fatal(err)
	}
	busy.wantCancelled()
}

// sleep runs a query that takes long, on a server, and waits until it runs there: a cancel before that does nothing.
func (p *postgresClient) sleep(server *postgresServer) {
	p.t.Helper()
	p.say("select pg_sleep(60)")
	direct := postgresDirect(p.t, server.address)
	sleeps := fmt.Sprintf("select count(*) from pg_stat_activity where pid = %d and wait_event = 'PgSleep'", binary.BigEndian.Uint32(p.key))
	for deadline := time.Now().Add(patience); direct.ask(sleeps) != "1"; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			p.t.Fatal("the query does not run")
		}
	}
}

// wantCancelled checks that the query that runs ends as one that was cancelled does.
func (p *postgresClient) wantCancelled() {
	p.t.Helper()
	kind, body := p.message()
	for ; kind != 'E'; kind, body = p.message() {
		if kind == 'Z' {
			p.t.Fatal("the query ended by itself")
		}
	}
	if !strings.Contains(string(body), "C57014\x00") {
		p.t.Errorf("the query ended with %q", body)
	}
}

// A cancel that carries the key of nobody's session reaches no server, and is closed and counted.
func postgresUnknownCancel(t testing.TB, d databases) {
	g := d.gate(t, "", proxyOff)
	busy := g.session("tenant1.db.example")
	busy.say("select pg_sleep(1)")
	wrong := append([]byte{}, busy.key...)
	wrong[7] ^= 1
	if got, _ := exchange(t, g.address, cancelRequest(wrong)); len(got) != 0 {
		t.Errorf("answered %q", got)
	}
	g.access("reason", "cancel_unknown")
	if g.refusals("cancel_unknown") != 1 {
		t.Errorf("counted %d", g.refusals("cancel_unknown"))
	}
	busy.until('Z')
	key := busy.key
	busy.Close()
	g.access("reason", "ok")
	exchange(t, g.address, cancelRequest(key)) // its session is over
	g.eventually("the cancel of a session that is over is unknown", func() bool { return g.refusals("cancel_unknown") == 2 })
}
