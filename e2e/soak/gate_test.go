package soak

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"hellogate/control"
)

// gate is the hellogate under test.
type gate struct {
	t       *testing.T
	folder  string
	address string
	socket  string
	control *control.Client
	command *exec.Cmd
	logFile *os.File
	ended   chan struct{}
	once    sync.Once
}

const configuration = `
listeners: [{address: "127.0.0.1:0"}]
limits:
  connections: %d
  hello_timeout: %v
  handshake_timeout: %v
  idle_timeout: %v
  half_close_timeout: %v
  drain_timeout: %v
stores: [{http: {url: "http://%s/certs", timeout: 1s}}]
breaker: {failures: 5, reset: 1s}
cache: {min_ttl: 2s, ttl: 5s, negative_ttl: 2s, lookup_timeout: 3s, san_aliases: off}
backends: {main: {servers: [{address: %q}, {address: %q}]}}
routes: [{backend: main}]
control: {socket: %q}
log: {level: info}
`

// startGate runs hellogate and waits until it serves.
func startGate(t *testing.T, store string, backends []*backend) *gate {
	t.Helper()
	folder, err := os.MkdirTemp("", "hgsoak")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(folder) })
	g := &gate{t: t, folder: folder, socket: filepath.Join(folder, "control.sock"), ended: make(chan struct{})}
	text := fmt.Sprintf(configuration, connectionLimit, helloTimeout, handshakeTimeout, idleTimeout, halfCloseTimeout,
		drainTimeout, store, backends[0].address, backends[1].address, g.socket)
	file := filepath.Join(folder, "hellogate.yaml")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if g.logFile, err = os.Create(filepath.Join(folder, "log")); err != nil {
		t.Fatal(err)
	}
	g.control = control.NewClient(g.socket)
	g.start("run", "--config", file, "--pprof")
	return g
}

func (g *gate) start(arguments ...string) {
	g.t.Helper()
	if !servesProfiles() {
		arguments = arguments[:len(arguments)-1]
	}
	g.command = exec.Command(program, arguments...)
	g.command.Stderr = g.logFile
	if err := g.command.Start(); err != nil {
		g.t.Fatal(err)
	}
	go func() {
		defer close(g.ended)
		g.command.Wait()
	}()
	g.awaitReady()
}

// servesProfiles tells whether the program knows --pprof; one of old does not.
func servesProfiles() bool {
	help, _ := exec.Command(program, "run", "--help").Output()
	return strings.Contains(string(help), "--pprof")
}

func (g *gate) awaitReady() {
	g.t.Helper()
	for began := time.Now(); ; time.Sleep(10 * time.Millisecond) {
		if _, err := g.control.Status(context.Background()); err == nil {
			break
		}
		if g.hasEnded() || time.Since(began) > patience {
			g.kill()
			g.t.Fatalf("hellogate does not start:\n%s", g.tail())
		}
	}
	for _, line := range g.lines(`"message":"started"`) {
		var started struct{ Listeners []string }
		if json.Unmarshal([]byte(line), &started) == nil && len(started.Listeners) == 1 {
			g.address = started.Listeners[0]
			return
		}
	}
	g.kill()
	g.t.Fatalf("the log does not say where hellogate listens:\n%s", g.tail())
}

func (g *gate) hasEnded() bool {
	select {
	case <-g.ended:
		return true
	default:
		return false
	}
}

func (g *gate) kill() {
	g.command.Process.Kill()
	<-g.ended
}

// close ends hellogate as SIGTERM does, and checks that it ends well.
func (g *gate) close() {
	g.once.Do(func() {
		g.control.Close()
		if g.hasEnded() {
			g.t.Errorf("hellogate ended with %v:\n%s", g.command.ProcessState, g.tail())
			return
		}
		g.command.Process.Signal(syscall.SIGTERM)
		select {
		case <-g.ended:
		case <-time.After(patience):
			g.command.Process.Signal(syscall.SIGABRT) // it says what its goroutines do
			<-g.ended
		}
		if code := g.command.ProcessState.ExitCode(); code != 0 {
			g.t.Errorf("hellogate exited with %d:\n%s", code, g.tail())
		}
	})
}

// goroutines are what hellogate's goroutines do, to explain a leak; empty where it serves no profiles.
func (g *gate) goroutines() string {
	text, err := g.askProfile(context.Background(), "goroutine?debug=1")
	if err != nil {
		return err.Error()
	}
	return text
}

// askProfile gets a profile, which is an error where hellogate serves none.
func (g *gate) askProfile(ctx context.Context, which string) (string, error) {
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", g.socket)
	}
	client := http.Client{Transport: &http.Transport{DialContext: dial, DisableKeepAlives: true}}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://hellogate/debug/pprof/"+which, nil)
	if err != nil {
		return "", err
	}
	response, err := client.Do(request)
	if err != nil {
		return "", err
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err == nil && response.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s", response.Status, text)
	}
	return string(text), err
}

func (g *gate) logPath() string { return filepath.Join(g.folder, "log") }

// lines are those of the log that hold a text.
func (g *gate) lines(text string) (found []string) {
	file, err := os.Open(g.logPath())
	if err != nil {
		return nil
	}
	defer file.Close()
	scanner := bufio.NewScanner(file)
	scanner.Buffer(nil, 1<<20)
	for scanner.Scan() {
		if strings.Contains(scanner.Text(), text) {
			found = append(found, scanner.Text())
		}
	}
	return found
}

// lineOf is what the access log says last of the client at an address, which it may say a moment later.
func (g *gate) lineOf(client string) string {
	for range 10 {
		if found := g.lines(`"client":"` + client + `"`); len(found) > 0 {
			return found[len(found)-1]
		}
		time.Sleep(100 * time.Millisecond)
	}
	return "has no line for it"
}

func (g *gate) tail() string {
	text, _ := os.ReadFile(g.logPath())
	return string(text[max(0, len(text)-8000):])
}

// keepLog saves the log from the end of the test, and gives its path.
func (g *gate) keepLog() string {
	kept := filepath.Join(os.TempDir(), fmt.Sprintf("hellogate-soak-%d.log", os.Getpid()))
	text, err := os.ReadFile(g.logPath())
	if err == nil {
		err = os.WriteFile(kept, text, 0o600)
	}
	if err != nil {
		return err.Error()
	}
	return kept
}

// isExpected reports whether a line of the log follows from what was done to the store.
func isExpected(line string) bool { return strings.HasSuffix(line, `"message":"breaker"}`) }

// checkLog looks for what no log may have.
func (w *world) checkLog() {
	for _, text := range []string{`"reason":"internal"`, `"level":"error"`, `"level":"fatal"`, "panic:", "DATA RACE", "goroutine "} {
		found := slices.DeleteFunc(w.lines(text), isExpected)
		for _, line := range found[:min(3, len(found))] {
			w.t.Errorf("the log has %s: %.2000s", text, line)
		}
	}
}
