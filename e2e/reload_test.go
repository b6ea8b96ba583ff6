package e2e

import (
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/goccy/go-yaml"
)

// rewrite lays YAML over the configuration file, as an editor would: a new file in its place.
func (g *gate) rewrite(overrides ...string) {
	g.t.Helper()
	var config any
	if err := yaml.Unmarshal(must(os.ReadFile(g.config)), &config); err != nil {
		g.t.Fatal(err)
	}
	for _, text := range overrides {
		var layer any
		if err := yaml.Unmarshal([]byte(text), &layer); err != nil {
			g.t.Fatalf("%v in %s", err, text)
		}
		config = overlay(config, layer)
	}
	g.replaceConfig(string(must(yaml.Marshal(config))))
}

func (g *gate) replaceConfig(text string) {
	g.t.Helper()
	writeFile(g.t, g.config+".new", text)
	if err := os.Rename(g.config+".new", g.config); err != nil {
		g.t.Fatal(err)
	}
}

// reloaded is the answer to a reload.
type reloaded struct {
	Result       string   `json:"result"`
	Changed      []string `json:"changed"`
	AfterRestart []string `json:"after_a_restart"`
}

// reload rewrites the configuration and has it read.
func (g *gate) reload(overrides ...string) (r reloaded) {
	g.t.Helper()
	g.rewrite(overrides...)
	g.post("POST", "/reload", "", &r)
	return r
}

// reloadFails checks that a reload is refused, and that its reason has all of these.
func (g *gate) reloadFails(what string, reasons ...string) {
	g.t.Helper()
	code, text, err := g.request("POST", "/reload", "")
	if err != nil || code != http.StatusUnprocessableEntity {
		g.t.Errorf("%s: status %d, %v: %s", what, code, err, text)
	}
	for _, reason := range reasons {
		if !strings.Contains(text, reason) {
			g.t.Errorf("%s: no %q in %s", what, reason, text)
		}
	}
}

// load is clients that come and go all the time, and count what fails.
type load struct {
	group   sync.WaitGroup
	ended   atomic.Bool
	visits  atomic.Int64
	mutex   sync.Mutex
	failed  []error
	names   []string
	address string
}

// underLoad starts n clients, each of which makes one whole connection after another, with an echo and a clean end.
func underLoad(t testing.TB, address string, n int, names ...string) *load {
	l := &load{address: address, names: names}
	for number := range n {
		l.group.Go(func() {
			for i := number; !l.ended.Load(); i++ {
				l.visit(l.names[i%len(l.names)])
			}
		})
	}
	t.Cleanup(func() { l.end() })
	return l
}

func (l *load) end() { l.ended.Store(true); l.group.Wait() }

func (l *load) visit(name string) {
	err := wholeConnection(l.address, name)
	l.visits.Add(1)
	if err != nil {
		l.mutex.Lock()
		defer l.mutex.Unlock()
		l.failed = append(l.failed, fmt.Errorf("%s: %w", name, err))
	}
}

func wholeConnection(address, name string) error {
	c, err := handshake(address, name, within(patience))
	if c != nil {
		defer c.wire.TCPConn.Close()
	}
	if err != nil {
		return err
	}
	return errors.Join(echoes(c), c.CloseWrite(), endOf(c))
}

// echoes sends a text and reads it back.
func echoes(c *client) error {
	const text = "hello, and back"
	if _, err := io.WriteString(c, text); err != nil {
		return err
	}
	got := make([]byte, len(text))
	if _, err := io.ReadFull(c, got); err != nil || string(got) != text {
		return fmt.Errorf("got %q back: %w", got, err)
	}
	return nil
}

func endOf(c *client) error {
	if rest, err := io.ReadAll(c); err != nil || len(rest) > 0 || !c.wire.closedCleanly() {
		return fmt.Errorf("ended with %q, %w", rest, err)
	}
	return nil
}

// wait returns when the clients have made that many connections more.
func (l *load) wait(g *gate, more int64) {
	g.t.Helper()
	until := l.visits.Load() + more
	g.eventually("the clients come and go", func() bool { return l.visits.Load() >= until })
}

// wantNoFailure ends the load: not one connection may have failed.
func (l *load) wantNoFailure(t testing.TB) {
	t.Helper()
	l.end()
	if len(l.failed) > 0 {
		t.Errorf("%d of %d connections failed, the first: %v", len(l.failed), l.visits.Load(), l.failed[0])
	}
	t.Logf("%d connections", l.visits.Load())
}

// forgetPeers has a backend not remember who came.
func (b *backend) forgetPeers() {
	b.t.Cleanup(func() { close(b.accepted) })
	go func() {
		for range b.accepted {
		}
	}()
}

// Reloaded again and again under load, with routes, listeners and limits that change: not one connection fails, those that were
// open before go on, and what is new is so for the next client.
func TestReloadUnderLoad(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "log: {level: info, access: false}")
	other := newBackend(t, func(p *peer) { defer p.Close(); io.WriteString(p, "other"); io.Copy(io.Discard, p) })
	extra := freeAddress(t)
	w.visit("a.example")
	w.backend.forgetPeers()
	before := w.dial("a.example")
	before.wantEcho(t, "before")
	clients := underLoad(t, w.address, 6, "a.example", "b.example", "c.example")
	clients.wait(w.gate, 20)
	for n := range 12 {
		moved := "moved" + itoa(n) + ".example"
		listeners, limit := fmt.Sprintf("listeners: [{address: %q}]", w.address), "limits: {connections: 5000}"
		if n%2 == 0 {
			listeners, limit = fmt.Sprintf("listeners: [{address: %q}, {address: %q}]", w.address, extra), "limits: {connections: 6000, handshakes: 300}"
		}
		w.reload(listeners, limit, fmt.Sprintf("backends: {other: {servers: [{address: %q}]}}", other.address),
			fmt.Sprintf("routes: [{match: {names: [%s]}, backend: other}, {backend: main}]", moved))
		if text := w.hears(t, moved, 5); text != "other" {
			t.Fatalf("reload %d: %s was sent elsewhere, and heard %q", n, moved, text)
		}
		conn, err := net.Dial("tcp", extra)
		if err == nil {
			conn.Close()
		}
		if listens := err == nil; listens != (n%2 == 0) {
			t.Fatalf("reload %d: the other listener: %v", n, err)
		}
		clients.wait(w.gate, 10)
	}
	clients.wantNoFailure(t)
	before.wantEcho(t, "after all of it")
}

// hears is what a client of a name is sent first.
func (g *gate) hears(t testing.TB, name string, length int) string {
	t.Helper()
	c := g.dial(name)
	defer c.Close()
	text := make([]byte, length)
	_, _ = io.ReadFull(c, text)
	return string(text)
}

// A listener that a reload adds serves, those who connected to one before it was removed are served to their end.
func TestReloadListeners(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	first, second := w.address, freeAddress(t)
	w.reload(fmt.Sprintf("listeners: [{address: %q}, {address: %q}]", first, second))
	w.address = second
	w.visit("a.example")
	stays := w.dial("a.example")
	halfway, err := net.Dial("tcp", second) // its hello comes when the listener is gone
	if err != nil {
		t.Fatal(err)
	}
	defer halfway.Close()
	w.eventually("both are accepted", func() bool { return w.status().Connections.Active == 2 })
	w.reload(fmt.Sprintf("listeners: [{address: %q}]", first))
	if conn, err := net.Dial("tcp", second); err == nil {
		conn.Close()
		t.Error("the listener that was removed takes connections")
	}
	stays.wantEcho(t, "still there")
	session := tls.Client(halfway, &tls.Config{RootCAs: ca().pool, ServerName: "a.example"})
	halfway.SetDeadline(time.Now().Add(patience))
	if err := session.Handshake(); err != nil {
		t.Errorf("who was accepted before: %v", err)
	}
	w.address = first
	w.visit("a.example")
}

// What is wrong with a file leaves everything as it was, whatever it is, and is said.
func TestReloadOfWhatIsWrong(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.visit("a.example")
	good := string(must(os.ReadFile(w.config)))
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	added := freeAddress(t)
	for _, c := range []struct{ name, text, reason string }{
		{"no YAML", "listeners: [", ""},
		{"unknown key", good + "\nadress: 1\n", "unknown key"},
		{"no such file", good + "\nfallback: {cert_file: /nonexistent.crt, key_file: /nonexistent.key}\n", "/nonexistent.crt"},
		{"unreachable route", strings.Replace(good, "routes:", "routes:\n- {backend: main}\n- {backend: main}\n- {backend: main}", 1), "routes[1]"},
		{"address in use", strings.Replace(good, "listeners:", fmt.Sprintf("listeners:\n- address: %q\n- address: %q", added, taken.Addr()), 1), "address already in use"},
	} {
		w.replaceConfig(c.text)
		w.reloadFails(c.name, c.reason)
		if got := w.ctl("reload"); got.code != 1 || got.stderr == "" {
			t.Errorf("%s: the command ended with %d: %q", c.name, got.code, got.stderr)
		}
		if conn, err := net.Dial("tcp", added); err == nil {
			conn.Close()
			t.Errorf("%s: a listener of it is open", c.name)
		}
		w.visit("a.example")
	}
	w.command.Process.Signal(syscall.SIGHUP)
	w.eventually("the signal's reload is logged", func() bool { return w.logged("reload failed: everything stays as it was") == 11 })
	w.store.wantRequests(t, "a.example", 1)
	w.replaceConfig(good)
	w.command.Process.Signal(syscall.SIGHUP)
	w.await("a reload that worked", func(e entry) bool { return e.text("message") == "reloaded" })
	w.visit("a.example")
}

// A reload keeps what was learned: tickets, certificates, remembered noes, an open breaker, what the operator set of servers.
func TestReloadKeepsWhatIsKnown(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "breaker: {failures: 2, reset: 10m}", "cache: {negative_ttl: 10m}", "lookups: {rate: 1000, burst: 1000}")
	w.store.on("unknown.example", status(http.StatusNotFound))
	tickets := &wallet{}
	w.visit("a.example", sessions(tickets))
	w.refused("unknown.example", alertUnrecognizedName)
	for n := range 6 {
		name := "broken" + itoa(n) + ".example"
		w.store.on(name, status(http.StatusInternalServerError))
		w.refused(name, alertInternalError)
	}
	if state := w.breaker(); state != "open" {
		t.Fatalf("the breaker is %s", state)
	}
	server := w.backend.address
	wantExit(t, "drain", w.ctl("weight", "main", server, "7"), 0)
	w.reload("limits: {idle_timeout: 10m}", "routes: [{match: {names: [new.example]}, action: reject}, {backend: main}]")
	w.refused("new.example", alertAccessDenied)
	c := w.dial("a.example", sessions(tickets))
	if !c.ConnectionState().DidResume {
		t.Error("a ticket from before is not taken")
	}
	c.Close()
	w.refused("unknown.example", alertUnrecognizedName)
	w.store.wantRequests(t, "a.example", 1)
	w.store.wantRequests(t, "unknown.example", 1)
	if state := w.breaker(); state != "open" {
		t.Errorf("the breaker is %s after the reload", state)
	}
	if weight := w.status().Backends[0].Servers[0].Weight; weight != 7 {
		t.Errorf("the server's weight is %d, and the operator set it to 7", weight)
	}
}

// What a reload does not have take effect it says, and goes on as before. The level of the log it does: of all but the access
// log.
func TestReloadSaysWhatIsNotInEffect(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "log: {level: info}")
	got := w.reload("limits: {tcp_keepalive: 7m}", "cache: {size: 64m}", "log: {level: warn}")
	if !slices.Equal(got.Changed, []string{"limits", "log.level"}) || !slices.Equal(got.AfterRestart, []string{"cache"}) {
		t.Errorf("%+v", got)
	}
	if got := w.reload("log: {format: text}"); len(got.Changed) != 0 || !slices.Equal(got.AfterRestart, []string{"cache", "log"}) {
		t.Errorf("%+v", got)
	}
	if got := w.ctl("reload"); got.code != 0 || !strings.Contains(got.stdout, "cache") {
		t.Errorf("the command printed %q, %q", got.stdout, got.stderr)
	}
	c := w.dial("a.example")
	c.Close()
	w.accessOf(c)
	if w.logged("cache: fetched") > 0 {
		t.Error("the log has lines below its level")
	}
	w.reload("log: {level: info}")
	w.visit("b.example")
	w.eventually("the log has more in it", func() bool { return w.logged("cache: fetched") > 0 })
}

// Started from flags, there is nothing to read again.
func TestReloadFromFlags(t *testing.T) {
	t.Parallel()
	g := configured(t)
	g.run("run", "--listen", g.address, "--store", t.TempDir(), "--backend", freeAddress(t), "--control", g.control)
	g.reloadFails("reload", "no configuration file", "flags")
	g.command.Process.Signal(syscall.SIGHUP)
	g.await("the same in the log", func(e entry) bool { return strings.Contains(e.text("error"), "from flags") && e.text("message") != "" })
}

// One that ends reads nothing again: it would open listeners that nobody accepts on.
func TestReloadWhileDraining(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "limits: {drain_timeout: 20s}")
	c := w.dial("a.example")
	c.wantEcho(t, "before")
	w.terminate()
	w.await("start of the drain", func(e entry) bool { return e.text("message") == "draining" })
	added := freeAddress(t)
	w.rewrite(fmt.Sprintf("listeners: [{address: %q}, {address: %q}]", w.address, added))
	w.reloadFails("reload", "begun to end")
	if conn, err := net.Dial("tcp", added); err == nil {
		conn.Close()
		t.Error("a listener is open")
	}
	c.wantEcho(t, "after")
	c.Close()
}

// Reloads at once come one after another, and many leave nothing behind: no goroutine, no descriptor, no listener.
func TestReloadLeavesNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	extra := freeAddress(t)
	steps := [2]string{
		fmt.Sprintf(`{"listeners": [{"address": %q}, {"address": %q}], "session_tickets": {"rotate": "2h"}, "limits": {"connections_per_ip": 100},
			"backends": {"main": {"health": {"interval": "1s"}, "on_down": "reset"}, "more": {"servers": [{"address": "localhost:9"}], "health": {"interval": "1s"}}}}`, w.address, extra),
		fmt.Sprintf(`{"listeners": [{"address": %q}], "session_tickets": {"rotate": "3h"}, "backends": {"main": {"health": null}}}`, w.address),
	}
	plain := must(os.ReadFile(w.config))
	both := func() {
		w.reload(steps[0])
		w.replaceConfig(string(plain))
		w.reload(steps[1])
	}
	both()
	w.eventually("it is quiet", func() bool { return w.status().Connections.Active == 0 })
	before := w.process()
	for range 15 {
		both()
	}
	var group sync.WaitGroup
	for range 8 {
		group.Go(func() {
			if text, err := w.ask("POST", "/reload", ""); err != nil || !json.Valid([]byte(text)) {
				t.Errorf("one of several at once: %v: %s", err, text)
			}
		})
	}
	group.Wait()
	w.eventually("nothing is left of them", func() bool {
		now := w.process()
		return now.Goroutines <= before.Goroutines+3 && now.Files <= before.Files+3
	})
	w.visit("a.example")
}
