// Package e2e runs the hellogate binary against real peers: stores that misbehave, backends that judge, clients that do
// not follow the rules. One behaviour a test.
package e2e

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/goccy/go-yaml"
)

// hellogate is the program under test: HELLOGATE_BINARY, or built here.
var hellogate = os.Getenv("HELLOGATE_BINARY")

// withRace tells that the program was built with the race detector: it is slow then, and large.
var withRace = os.Getenv("HELLOGATE_E2E_RACE") == "1"

// buildTags are those that it is built with here: noepoll has goroutines carry its connections, as elsewhere than on Linux.
var buildTags = os.Getenv("HELLOGATE_E2E_TAGS")

var discardLog = log.New(io.Discard, "", 0)

func TestMain(m *testing.M) { os.Exit(runTests(m)) }

func runTests(m *testing.M) int {
	if hellogate != "" {
		return m.Run()
	}
	folder, err := os.MkdirTemp("", "hellogate-e2e-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(folder)
	hellogate = filepath.Join(folder, "hellogate")
	arguments := []string{"build", "-tags", buildTags, "-o", hellogate}
	if withRace {
		arguments = append(arguments, "-race")
	}
	build := exec.Command("go", append(arguments, "hellogate/cmd/hellogate")...)
	if output, err := build.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "%s: %v\n%s", build, err, output)
		return 1
	}
	return m.Run()
}

// program finds a peer. Without it the test is skipped, or fails where HELLOGATE_REQUIRE_PEERS is 1.
func program(t testing.TB, name string) string {
	t.Helper()
	for _, candidate := range []string{name, "/usr/sbin/" + name, "/usr/local/sbin/" + name} {
		if path, err := exec.LookPath(candidate); err == nil {
			return path
		}
	}
	if os.Getenv("HELLOGATE_REQUIRE_PEERS") == "1" {
		t.Fatalf("%s is not installed", name)
	}
	t.Skipf("%s is not installed: not tested against it", name)
	return ""
}

// world is what most tests need: a store, a backend that echoes, and hellogate between them.
type world struct {
	*gate
	store   *fakeStore
	backend *backend
}

// newWorld starts one; each of overrides is YAML laid over the configuration that start makes.
func newWorld(t testing.TB, overrides ...string) *world {
	t.Helper()
	w := &world{store: newStore(t), backend: newBackend(t, echo)}
	w.gate = start(t, append([]string{usesStore(w.store), usesBackend(w.backend.address)}, overrides...)...)
	return w
}

func usesStore(s *fakeStore) string { return waitsForStore(s, 2*time.Second) }

// waitsForStore gives the store a timeout other than the 2 seconds that most tests give it.
func waitsForStore(s *fakeStore, timeout time.Duration) string {
	return fmt.Sprintf("stores: [{http: {url: %q, timeout: %v}}]", s.url(), timeout)
}

// usesBackend sends everything to the servers at the addresses, in turn.
func usesBackend(addresses ...string) string {
	var servers []string
	for _, address := range addresses {
		servers = append(servers, fmt.Sprintf("{address: %q}", address))
	}
	return fmt.Sprintf("backends: {main: {servers: [%s]}}", strings.Join(servers, ", "))
}

// gate is a hellogate that runs.
type gate struct {
	t       testing.TB
	address string // of its first listener
	control string // path of its control socket
	config  string // path of its file
	command *exec.Cmd
	log     *logBook
	ended   chan struct{}
	ending  bool // it was told to end
	stopped atomic.Bool
	launch  func(*exec.Cmd) error // nil: it is started as it is
}

const defaults = `
listeners: [{address: %q}]
limits: {drain_timeout: 5s}
cache: {lookup_timeout: 5s}
backends: {main: {servers: [], send_proxy: v2}}
routes: [{action: terminate, backend: main}]
control: {socket: %q}
log: {level: debug}
`

// configured writes a configuration file, the defaults with the overrides laid over them, and gives the gate to run.
func configured(t testing.TB, overrides ...string) *gate {
	t.Helper()
	folder := shortFolder(t)
	g := &gate{
		t: t, address: freeAddress(t), log: newLogBook(), ended: make(chan struct{}),
		control: filepath.Join(folder, "control.sock"), config: filepath.Join(folder, "hellogate.yaml"),
	}
	var config any
	for _, text := range append([]string{fmt.Sprintf(defaults, g.address, g.control)}, overrides...) {
		var layer any
		if err := yaml.Unmarshal([]byte(text), &layer); err != nil {
			t.Fatalf("%v in %s", err, text)
		}
		config = overlay(config, layer)
	}
	writeFile(t, g.config, string(must(yaml.Marshal(config))))
	return g
}

// overlay lays one YAML value over another: maps are merged, nothing changes nothing, anything else is replaced.
func overlay(under, over any) any {
	if over == nil {
		return under
	}
	base, baseIsMap := under.(map[string]any)
	layer, layerIsMap := over.(map[string]any)
	if !baseIsMap || !layerIsMap {
		return over
	}
	for key, value := range layer {
		base[key] = overlay(base[key], value)
	}
	return base
}

// shortFolder is a folder whose path leaves room for a socket's name.
func shortFolder(t testing.TB) string {
	t.Helper()
	folder, err := os.MkdirTemp("", "hg")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(folder) })
	return folder
}

// start runs hellogate and waits until it serves. The test's end stops it and checks what every run has to keep to.
func start(t testing.TB, overrides ...string) *gate {
	t.Helper()
	g := configured(t, overrides...)
	g.run("run", "--config", g.config)
	return g
}

func (g *gate) run(arguments ...string) {
	g.t.Helper()
	g.runWith(g.log, arguments...)
}

// runWith is run with the log going elsewhere.
func (g *gate) runWith(stderr io.Writer, arguments ...string) {
	g.t.Helper()
	g.command = exec.Command(hellogate, arguments...)
	g.command.Env = append(os.Environ(), "HELLOGATE_STORE_TOKEN="+storeToken)
	g.command.Stderr = stderr
	g.command.WaitDelay = patience
	launch := (*exec.Cmd).Start
	if g.launch != nil {
		launch = g.launch
	}
	if err := launch(g.command); err != nil {
		g.t.Fatal(err)
	}
	go func() {
		g.command.Wait()
		close(g.ended)
	}()
	g.t.Cleanup(g.stop)
	g.waitUntilReady()
}

func (g *gate) waitUntilReady() {
	g.t.Helper()
	for deadline := time.Now().Add(patience); ; time.Sleep(10 * time.Millisecond) {
		if _, err := g.ask("GET", "/status", ""); err == nil {
			return
		}
		select {
		case <-g.ended:
			g.t.Fatalf("hellogate ended with %v:\n%s", g.command.ProcessState, g.log)
		default:
		}
		if time.Now().After(deadline) {
			g.stopped.Store(true)
			g.command.Process.Kill()
			g.t.Fatalf("hellogate is not ready after %v:\n%s", patience, g.log)
		}
	}
}

func (g *gate) pid() int { return g.command.Process.Pid }

// terminate sends SIGTERM, once: a second one would end it without a drain. It does not wait.
func (g *gate) terminate() {
	g.t.Helper()
	if g.ending || g.hasEnded() {
		return
	}
	g.ending = true
	if err := g.command.Process.Signal(syscall.SIGTERM); err != nil {
		g.t.Error(err)
	}
}

// stop ends hellogate and checks that it exits with 0 and that its log is as a log has to be.
func (g *gate) stop() {
	g.t.Helper()
	if g.stopped.Swap(true) {
		return
	}
	g.terminate()
	select {
	case <-g.ended:
	case <-time.After(2 * patience):
		g.command.Process.Signal(syscall.SIGABRT)
		<-g.ended
		g.t.Errorf("hellogate did not end on SIGTERM:\n%.20000s", g.log)
	}
	if code := g.command.ProcessState.ExitCode(); code != 0 {
		g.t.Errorf("hellogate exited with %d:\n%.20000s", code, g.log)
	}
	g.log.check(g.t)
	if g.t.Failed() {
		g.t.Logf("its log ends:\n%s", g.log.tail(30))
	}
}

func (g *gate) hasEnded() bool {
	select {
	case <-g.ended:
		return true
	default:
		return false
	}
}

// dial makes a connection for name and checks that the certificate is for it.
func (g *gate) dial(name string, options ...option) *client {
	g.t.Helper()
	c, err := handshake(g.address, name, options...)
	if err != nil {
		g.t.Fatalf("handshake for %q: %v", name, err)
	}
	g.t.Cleanup(func() { c.wire.TCPConn.Close() })
	return c
}

// visit is a whole connection: a handshake, an echo, and a clean end.
func (g *gate) visit(name string, options ...option) {
	g.t.Helper()
	c := g.dial(name, options...)
	c.wantEcho(g.t, "hello "+name)
	c.Close()
}

// refused checks that a client that asks for name gets one of the alerts, and gives the time that took.
func (g *gate) refused(name string, alert int, options ...option) time.Duration {
	g.t.Helper()
	began := time.Now()
	c, err := handshake(g.address, name, options...)
	if c == nil {
		g.t.Fatalf("%q: %v", name, err)
	}
	defer c.wire.TCPConn.Close()
	switch {
	case err == nil:
		g.t.Errorf("%q was served %q, want alert %d", name, c.ConnectionState().PeerCertificates[0].Subject, alert)
	case c.wire.alert() != alert:
		g.t.Errorf("%q: got alert %d (%v), want %d", name, c.wire.alert(), err, alert)
	}
	return time.Since(began)
}

// serves tells whether a handshake for name succeeds.
func (g *gate) serves(name string, options ...option) bool {
	c, err := handshake(g.address, name, options...)
	if c != nil {
		c.wire.TCPConn.Close()
	}
	return err == nil
}

// freeAddress is a port on 127.0.0.1 that nobody listens on. It is below those that the kernel gives to clients, so that
// none of the many connections of these tests takes it before it is used.
func freeAddress(t testing.TB) string {
	t.Helper()
	return freeAddressOn(t, "127.0.0.1")
}

func freeAddressOn(t testing.TB, host string) string {
	t.Helper()
	// A process that another test starts has the listener too, until it runs its program.
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	for range 1000 {
		address := net.JoinHostPort(host, strconv.Itoa(12000+int(lastPort.Add(1)%20000)))
		if listener, err := net.Listen("tcp", address); err == nil {
			listener.Close()
			return address
		}
	}
	t.Fatalf("no free port on %s", host)
	return ""
}

var lastPort = func() *atomic.Uint32 {
	var last atomic.Uint32
	last.Store(rand.Uint32N(20000))
	return &last
}()

// result is what a command printed and how it ended.
type result struct {
	stdout, stderr string
	code           int
}

// command runs hellogate with arguments until it ends.
func command(t testing.TB, arguments ...string) result {
	t.Helper()
	return execute(t, "", hellogate, arguments...)
}

// execute runs a program with an input until it ends.
func execute(t testing.TB, input, path string, arguments ...string) result {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 2*patience)
	defer cancel()
	var stdout, stderr bytes.Buffer
	run := exec.CommandContext(ctx, path, arguments...)
	run.Stdin, run.Stdout, run.Stderr, run.WaitDelay = strings.NewReader(input), &stdout, &stderr, time.Second
	err := run.Run()
	var exit *exec.ExitError
	if err != nil && (!errors.As(err, &exit) || ctx.Err() != nil) {
		t.Fatalf("%s %v: %v\n%s%s", path, arguments, err, &stdout, &stderr)
	}
	return result{stdout: stdout.String(), stderr: stderr.String(), code: run.ProcessState.ExitCode()}
}

func itoa(n int) string { return strconv.Itoa(n) }

// logged is how many lines of the log have a text.
func (g *gate) logged(text string) (count int) {
	for line := range strings.Lines(g.log.String()) {
		if strings.Contains(line, text) {
			count++
		}
	}
	return count
}
