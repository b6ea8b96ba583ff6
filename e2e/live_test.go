package e2e

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"
)

// newOperated is a hellogate in front of two servers of the backend main, which tell themselves.
func newOperated(t *testing.T, overrides ...string) (*gate, []*backend) {
	t.Helper()
	servers := newBackends(t, 2)
	return start(t, append([]string{usesStore(newStore(t)), serversOf(servers)}, overrides...)...), servers
}

// spread is how many of n connections get to each server.
func (g *gate) spread(n int) map[string]int {
	g.t.Helper()
	counts := map[string]int{}
	for range n {
		counts[g.reached("a.example")]++
	}
	return counts
}

// wantReset checks that the connection ends with a reset.
func (c *client) wantReset(t testing.TB) {
	t.Helper()
	if _, err := io.Copy(io.Discard, c); !isReset(err) {
		t.Errorf("ended with %v, not with a reset", err)
	}
}

// A drained server gets no new connection, the open ones go on; enabled it gets some again. What was said holds through a
// reload.
func TestDrainServer(t *testing.T) {
	t.Parallel()
	g, servers := newOperated(t)
	drained, other := servers[0].address, servers[1].address
	held := g.holdTo(4)
	wantExit(t, "drain", g.ctl("drain", "main", drained), 0, "main "+drained+": drain, weight 1, 2 connections\n")
	for _, reloaded := range []bool{false, true} {
		if reloaded {
			g.reload("limits: {idle_timeout: 2h}")
		}
		if got := g.spread(6); got[drained] != 0 || got[other] != 6 {
			t.Errorf("connections went to %v, reloaded: %v", got, reloaded)
		}
	}
	for _, c := range held[drained] {
		c.wantEcho(t, "still here")
	}
	wantExit(t, "status", g.ctl("status"), 0, "OK: ") // who drains a server on purpose has no trouble
	wantExit(t, "enable", g.ctl("enable", "main", drained), 0, "main "+drained+": up")
	if got := g.spread(6); got[drained] != 3 {
		t.Errorf("enabled, but connections went to %v", got)
	}
}

// A disabled server gets no new connection; with --kill those that it has are reset, and no others.
func TestDisableServer(t *testing.T) {
	t.Parallel()
	g, servers := newOperated(t)
	disabled, other := servers[0].address, servers[1].address
	held := g.holdTo(4)
	wantExit(t, "disable", g.ctl("disable", "main", disabled), 0, "main "+disabled+": disabled, weight 1, 2 connections\n")
	held[disabled][0].wantEcho(t, "still here")
	if got := g.spread(4); got[other] != 4 {
		t.Errorf("connections went to %v", got)
	}
	wantExit(t, "disable --kill", g.ctl("disable", "main", disabled, "--kill"), 0, "\n2 connections reset\n")
	for _, c := range held[disabled] {
		c.wantReset(t)
	}
	for _, c := range held[other] {
		c.wantEcho(t, "not me")
	}
	g.eventually("both are logged as killed", func() bool {
		return g.lines(func(e entry) bool {
			return e.isAccess() && e.text("reason") == "killed" && e.text("server") == disabled
		}) == 2
	})
	g.eventually("no connection of it is counted", func() bool { return g.serverAt(disabled).Connections == 0 })
	wantExit(t, "disable the other", g.ctl("disable", "main", other), 0)
	wantExit(t, "status", g.ctl("status"), 0, "DEGRADED: ", "! backend main: no server takes connections")
}

// The weight that is set is the share that a server gets, until it is set again.
func TestServerWeight(t *testing.T) {
	t.Parallel()
	g, servers := newOperated(t)
	weighed := servers[0].address
	for _, step := range []struct {
		arguments []string
		shown     string
		want      int // of ten connections
	}{
		{[]string{"9"}, "weight 9,", 9},
		{[]string{"0"}, "weight 0,", 0},
		{nil, "weight 0,", 0},
		{[]string{"--reset"}, "weight 1,", 5},
	} {
		wantExit(t, "weight", g.ctl(append([]string{"weight", "main", weighed}, step.arguments...)...), 0, "main "+weighed+": ", step.shown)
		if got := g.spread(10); got[weighed] != step.want {
			t.Errorf("weight %v: %v of ten, want %d", step.arguments, got, step.want)
		}
	}
}

// conns says of each connection who it is, where it goes and what it moved. Those of a route that a reload removed keep it,
// can be found by it and be killed by it, and no others are.
func TestConnsAndKill(t *testing.T) {
	t.Parallel()
	const both = "routes: [{match: {names: [a.example]}, backend: main}, {backend: main}]"
	g, _ := newOperated(t, both)
	removed, kept := g.dial("a.example"), g.dial("b.example")
	server := removed.wantTold(t)
	kept.wantTold(t)
	removed.wantEcho(t, "0123456789")
	type connection struct {
		ID, Client, Listener, Name, Route, Backend, Server, Stage string
		BytesIn                                                   int64 `json:"bytes_in"`
		BytesOut                                                  int64 `json:"bytes_out"`
	}
	list := func(filters ...string) (found []connection) {
		t.Helper()
		printed := g.ctl(append([]string{"conns", "--json"}, filters...)...)
		wantExit(t, "conns --json", printed, 0)
		var answer struct{ Connections []connection }
		if err := json.Unmarshal([]byte(printed.stdout), &answer); err != nil {
			t.Fatalf("%v in %s", err, printed.stdout)
		}
		return answer.Connections
	}
	g.eventually("what was echoed is counted", func() bool {
		found := list("--name", "a.example")
		return len(found) == 1 && found[0].BytesIn == 10 && found[0].BytesOut == int64(len(server)+len("\n")+10)
	})
	found := list("--client", "127.0.0.0/8", "--stage", "splice", "--listener", g.address, "--backend", "main", "--server", server, "--name", "a.example")
	if len(found) != 1 || found[0].Client != removed.LocalAddr().String() || found[0].Server != server || found[0].Route != "a.example" || len(found[0].ID) != 24 {
		t.Fatalf("found %+v", found)
	}
	if all := list(); len(all) != 2 || all[0].ID != found[0].ID || len(list("--backend", "other")) != 0 {
		t.Errorf("listed %+v", all)
	}
	g.reload("routes: [{backend: main}]")
	if found := list("--route", "a.example"); len(found) != 1 || found[0].Name != "a.example" {
		t.Errorf("after the reload: %+v", found)
	}
	wantExit(t, "conns", g.ctl("conns"), 0, "ID ", found[0].ID+"  "+found[0].Client, " a.example\n", " *\n")
	wantExit(t, "kill", g.ctl("kill", "--route", "a.example"), 0, "1 connection reset\n")
	removed.wantReset(t)
	kept.wantEcho(t, "still here")
	g.eventually("it is logged as killed", func() bool {
		return g.lines(func(e entry) bool { return e.text("conn") == found[0].ID && e.text("reason") == "killed" }) == 1
	})
	wantExit(t, "kill by id", g.ctl("kill", found[0].ID, list()[0].ID), 0, "not open: "+found[0].ID+"\n", "1 connection reset\n")
	kept.wantReset(t)
}

// The read socket shows what the control socket shows, and changes nothing.
func TestReadSocket(t *testing.T) {
	t.Parallel()
	path := filepath.Join(shortFolder(t), "read.sock")
	g, servers := newOperated(t, fmt.Sprintf("control: {read_socket: {path: %q, mode: \"0640\"}}", path))
	g.reached("a.example")
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o640 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
	read := func(arguments ...string) result { return command(t, append(arguments, "--control", path)...) }
	wantExit(t, "status", read("status"), 0, "OK: ")
	wantExit(t, "backends", read("backends"), 0, servers[0].address)
	wantExit(t, "conns", read("conns"), 0)
	wantExit(t, "cert show", read("cert", "show", "a.example"), 0, "a.example")
	wantExit(t, "explain", read("explain", "a.example"), 0, "served from the cache")
	for _, change := range [][]string{
		{"flush", "a.example"},
		{"drain", "main", servers[0].address},
		{"kill", "--all"},
		{"reload"},
		{"shutdown"},
		{"prefetch", "b.example"},
		{"explain", "b.example", "--fetch"},
		{"upgrade"},
	} {
		got := read(change...)
		wantExit(t, change[0], got, 1)
		if !strings.Contains(got.stderr, "read-only") {
			t.Errorf("%s: %s", change[0], got.stderr)
		}
	}
	if state := g.serverAt(servers[0].address).State; state != "up" {
		t.Errorf("the server is %s", state)
	}
	wantExit(t, "cert show", g.ctl("cert", "show", "a.example"), 0)
}

// metric is the value of a metric in Prometheus' text, and whether it is there.
func metric(text, series string) (float64, bool) {
	found := regexp.MustCompile(`(?m)^` + regexp.QuoteMeta(series) + ` (\S+)$`).FindStringSubmatch(text)
	if found == nil {
		return 0, false
	}
	value, err := strconv.ParseFloat(found[1], 64)
	return value, err == nil
}

// Metrics on the admin address tell what connections did, without their names, and readiness ends with the drain while the
// process lives on.
func TestAdminAddress(t *testing.T) {
	t.Parallel()
	admin := freeAddress(t)
	g, servers := newOperated(t, fmt.Sprintf("admin: {address: %q}", admin))
	ask := func(path string) (int, string) {
		t.Helper()
		answer, err := (&http.Client{Timeout: patience, Transport: &http.Transport{DisableKeepAlives: true}}).Get("http://" + admin + path)
		if err != nil {
			t.Fatal(err)
		}
		defer answer.Body.Close()
		return answer.StatusCode, string(must(io.ReadAll(answer.Body)))
	}
	if code, text := ask("/readyz"); code != 200 {
		t.Errorf("not ready: %d %s", code, text)
	}
	g.reached("a.example")
	held := g.dial("a.example")
	held.wantTold(t)
	if _, err := handshake(g.address, ""); err == nil {
		t.Error("a client without a name was served")
	}
	handshakes := `hellogate_handshakes_total{version="TLS 1.3",group="X25519MLKEM768",resumed="false"}`
	want := map[string]float64{
		handshakes: 2, "hellogate_connections_active": 1, "hellogate_connections_total": 3, `hellogate_refused_total{reason="no_sni"}`: 1,
		`hellogate_stage_seconds_count{stage="handshake"}`: 1, `hellogate_stage_seconds_bucket{stage="connect",le="+Inf"}`: 1,
		`hellogate_stage_seconds_count{stage="hello"}`: 2, `hellogate_ready`: 1,
		fmt.Sprintf(`hellogate_server_up{backend="main",server=%q}`, servers[0].address):                1,
		fmt.Sprintf(`hellogate_server_connections_total{backend="main",server=%q}`, servers[1].address): 1,
	}
	var text string
	g.eventually("the metrics are as they should be", func() bool {
		_, text = ask("/metrics")
		for series, value := range want {
			if got, ok := metric(text, series); !ok || got != value {
				return false
			}
		}
		return true
	})
	if sum, _ := metric(text, `hellogate_stage_seconds_sum{stage="handshake"}`); sum <= 0 || sum > patience.Seconds() {
		t.Errorf("a handshake took %v s", sum)
	}
	if strings.Contains(text, "a.example") {
		t.Error("a name is in the metrics")
	}
	for _, path := range []string{"/certs", "/connections", "/debug/pprof/"} {
		if code, _ := ask(path); code != 404 {
			t.Errorf("%s: %d", path, code)
		}
	}
	g.terminate()
	g.eventually("it is not ready while it drains", func() bool { code, _ := ask("/readyz"); return code == 503 })
	if code, text := ask("/healthz"); code != 200 {
		t.Errorf("not alive while it drains: %d %s", code, text)
	}
	held.Close()
	select {
	case <-g.ended:
	case <-time.After(patience):
		t.Error("it does not end")
	}
}

// check --explain says of a file what explain says of the process that runs on it, and what its clients get.
func TestCheckExplain(t *testing.T) {
	t.Parallel()
	g, _ := newOperated(t, `
routes:
- {match: {names: [".example"], client_ips: [10.0.0.0/8], alpn: [imap]}, backend: main}
- {match: {names_regex: ["c[0-9]+[.]example"]}, action: passthrough, backend: main}
- {match: {names: [bad.example]}, action: reject}
- {match: {names: [h2.example]}, backend: main, tls: {alpn: [h2]}}
`)
	for _, c := range []struct {
		client []string // its name first
		want   []string // route, action, backend
		alert  int      // that a client from here gets; 0: it is not tried
	}{
		{[]string{"a.example", "--client", "10.1.2.3", "--alpn", "imap"}, []string{".example", "terminate", "main"}, 0},
		{[]string{"a.example", "--client", "127.0.0.1", "--listener", g.address}, []string{"", "", ""}, alertUnrecognizedName},
		{[]string{"c12.example"}, []string{"~c[0-9]+[.]example", "passthrough", "main"}, 0},
		{[]string{"bad.example"}, []string{"bad.example", "reject", ""}, alertAccessDenied},
		{[]string{"h2.example", "--alpn", "imap"}, []string{"h2.example", "terminate", ""}, alertNoApplication},
	} {
		told := func(got result) (text string, parts []string) {
			t.Helper()
			wantExit(t, strings.Join(c.client, " "), got, 0)
			explained := struct{ Explanation *explanation }{new(explanation)}
			_ = json.Unmarshal([]byte(got.stdout), explained.Explanation)
			if err := json.Unmarshal([]byte(got.stdout), &explained); err != nil {
				t.Fatalf("%v in %s", err, got.stdout)
			}
			e := explained.Explanation
			for _, step := range e.Steps {
				if step.Step == "route" {
					text += step.Result + "\n"
				}
			}
			return text, []string{e.Route, e.Action, e.Backend}
		}
		file, parts := told(command(t, append([]string{"check", g.config, "--json", "--explain"}, c.client...)...))
		if strings.Join(parts, "|") != strings.Join(c.want, "|") {
			t.Errorf("%v: the file says %q, want %q", c.client, parts, c.want)
		}
		running, parts := told(g.ctl(append([]string{"explain", "--json"}, c.client...)...))
		if strings.Join(parts, "|") != strings.Join(c.want, "|") || running != file {
			t.Errorf("%v: the process says %q and\n%s, the file\n%s", c.client, parts, running, file)
		}
		if c.alert == 0 {
			continue
		}
		var options []option
		if c.alert == alertNoApplication {
			options = append(options, protocols("imap"))
		}
		g.refused(c.client[0], c.alert, options...)
	}
}

// explanation is what the control plane says of a client.
type explanation struct {
	Route, Action, Backend string
	Steps                  []struct{ Step, Result string }
}
