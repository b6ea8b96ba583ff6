package e2e

import (
	"bytes"
	"crypto/tls"
	"fmt"
	"io"
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
)

// lineage is a hellogate and those that take over from it, one after another. Its gate is about the first.
type lineage struct {
	*world
	program string // what is started the next time
	pids    []int
	wrap    string // a shell's command line that starts it; empty: it is started itself
	extra   []*os.File
	more    []string // environment
	loose   bool     // one that does not start says so on standard error, in the middle of the log
}

// newLineage starts the first.
func newLineage(t testing.TB, overrides ...string) *lineage {
	t.Helper()
	l := prepareLineage(t, overrides...)
	l.start()
	return l
}

func prepareLineage(t testing.TB, overrides ...string) *lineage {
	t.Helper()
	w := &world{store: newStore(t), backend: newBackend(t, echo)}
	w.gate = configured(t, append([]string{usesStore(w.store), usesBackend(w.backend.address)}, overrides...)...)
	l := &lineage{world: w, program: filepath.Join(filepath.Dir(w.config), "hellogate")}
	if err := os.Symlink(must(filepath.Abs(hellogate)), l.program); err != nil {
		t.Fatal(err)
	}
	return l
}

// start runs the first. All of them write to one pipe, which stays open for as long as one does.
func (l *lineage) start() {
	t := l.t
	t.Helper()
	reader, writer, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	l.command = exec.Command(l.program, "run", "--config", l.config)
	if l.wrap != "" {
		l.command = exec.Command("/bin/sh", "-c", l.wrap, "sh", l.program, "run", "--config", l.config)
	}
	l.command.Env = append(append(os.Environ(), "HELLOGATE_STORE_TOKEN="+storeToken), l.more...)
	l.command.Stderr, l.command.ExtraFiles = writer, l.extra
	if err := l.command.Start(); err != nil {
		t.Fatal(err)
	}
	writer.Close()
	l.pids = []int{l.command.Process.Pid}
	go func() {
		l.command.Wait()
		close(l.ended)
	}()
	copied := make(chan struct{})
	go func() {
		defer close(copied)
		io.Copy(l.log, reader)
	}()
	t.Cleanup(func() {
		l.stopAll()
		reader.SetReadDeadline(time.Now().Add(time.Second))
		<-copied
		reader.Close()
		if !l.loose {
			l.log.check(t)
		}
	})
	l.waitUntilReady()
}

// pid is that of the one that serves.
func (l *lineage) pid() int { return l.pids[len(l.pids)-1] }

// upgrade has the next take over.
func (l *lineage) upgrade() {
	l.t.Helper()
	var answer struct {
		Result string
		PID    int
	}
	l.post("POST", "/upgrade", "", &answer)
	if answer.Result != "success" || answer.PID == l.pid() || hasEnded(answer.PID) {
		l.t.Fatalf("%+v", answer)
	}
	l.pids = append(l.pids, answer.PID)
}

// upgradeFails checks that an upgrade is refused, with these in the reason, and gives that.
func (l *lineage) upgradeFails(what string, reasons ...string) {
	l.t.Helper()
	code, text, err := l.request("POST", "/upgrade", "")
	if err != nil || code != http.StatusUnprocessableEntity {
		l.t.Errorf("%s: status %d, %v: %s", what, code, err, text)
	}
	for _, reason := range reasons {
		if !strings.Contains(text, reason) {
			l.t.Errorf("%s: no %q in %s", what, reason, text)
		}
	}
}

// hasEnded tells whether a process is gone. One that nobody has asked how it ended is.
func hasEnded(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return true
	}
	_, after, _ := bytes.Cut(stat, []byte(") "))
	return bytes.HasPrefix(after, []byte("Z")) || bytes.HasPrefix(after, []byte("X"))
}

// stopAll ends them, the newest first, those included that a test which failed did not get to know.
func (l *lineage) stopAll() {
	l.t.Helper()
	lines, _ := l.log.all()
	for _, e := range lines {
		if pid := int(e.number("new_pid")); pid > 0 && !slices.Contains(l.pids, pid) {
			l.pids = append(l.pids, pid)
		}
	}
	for n := len(l.pids) - 1; n >= 0; n-- {
		pid := l.pids[n]
		if !hasEnded(pid) {
			syscall.Kill(pid, syscall.SIGTERM)
		}
		for deadline := time.Now().Add(patience); !hasEnded(pid); time.Sleep(10 * time.Millisecond) {
			if time.Now().After(deadline) {
				syscall.Kill(pid, syscall.SIGABRT)
				l.t.Errorf("process %d does not end on SIGTERM: its log ends\n%s", pid, l.log.tail(60))
				break
			}
		}
		if n == 0 {
			<-l.ended
			if code := l.command.ProcessState.ExitCode(); code != 0 {
				l.t.Errorf("the first exited with %d", code)
			}
		}
	}
	if l.t.Failed() {
		l.t.Logf("the log ends:\n%s", l.log.tail(40))
	}
}

// gone waits until one of them has ended.
func (l *lineage) gone(pid int) {
	l.t.Helper()
	l.eventually(fmt.Sprintf("process %d has ended", pid), func() bool { return hasEnded(pid) })
}

// Upgraded again and again under load: not one connection fails, those that were open before go on in the process that has
// them, which ends with the last of them.
func TestUpgradeUnderLoad(t *testing.T) {
	t.Parallel()
	l := newLineage(t, "log: {level: info, access: false}", "limits: {drain_timeout: 5s}")
	l.backend.forgetPeers()
	clients := underLoad(t, l.address, 6, "a.example", "b.example", "c.example")
	clients.wait(l.gate, 20)
	var stay []*client
	rounds := 8
	if withRace {
		rounds = 4
	}
	for range rounds {
		c := l.dial("a.example")
		c.wantEcho(t, "before")
		stay = append(stay, c)
		l.upgrade()
		var status struct{ Process struct{ PID int } }
		if l.get("/status", &status); status.Process.PID != l.pid() {
			t.Fatalf("process %d answers, not %d", status.Process.PID, l.pid())
		}
		clients.wait(l.gate, 60)
	}
	clients.wantNoFailure(t)
	for n, c := range stay {
		c.wantEcho(t, "after")
		if pid := l.pids[n]; hasEnded(pid) {
			t.Errorf("process %d has ended, and had a connection", pid)
		}
		c.Close()
		l.gone(l.pids[n])
	}
	l.visit("a.example")
}

// What one process knows the next knows: tickets, what is on disk, what the operator set and pinned.
func TestUpgradeHandsOver(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ name, cache string }{{"with a disk tier", "{dir: %q}"}, {"without", "{dir: \"\"}"}} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			onDisk := strings.Contains(c.cache, "%q")
			cache := "cache: " + c.cache
			if onDisk {
				cache = fmt.Sprintf(cache, shortFolder(t))
			}
			read := filepath.Join(shortFolder(t), "read.sock")
			admin := freeAddress(t)
			l := newLineage(t, cache, fmt.Sprintf("control: {read_socket: {path: %q}}", read), fmt.Sprintf("admin: {address: %q}", admin))
			tickets := &wallet{}
			l.visit("a.example", sessions(tickets))
			pinned := ca().issue([]string{"pinned.example"})
			certFile, keyFile := pinned.write(t, shortFolder(t), "pinned")
			pin := []string{"cert", "put", "pinned.example", "--cert", certFile, "--key", keyFile}
			if !onDisk {
				pin = append(pin, "--ephemeral")
			}
			wantExit(t, "pin", l.ctl(pin...), 0)
			wantExit(t, "weight", l.ctl("weight", "main", l.backend.address, "9"), 0)
			l.upgradeByCommand()
			l.gone(l.pids[0])
			c := l.dial("a.example", sessions(tickets))
			if !c.ConnectionState().DidResume {
				t.Error("a ticket from before is not taken")
			}
			c.Close()
			if onDisk {
				l.store.wantRequests(t, "a.example", 1)
				if l.disk().Records == 0 {
					t.Error("the new process has nothing on disk")
				}
			}
			if got := l.dial("pinned.example"); got.fingerprint() != pinned.fingerprint() {
				t.Error("what was pinned is not served any more")
			}
			if weight := l.status().Backends[0].Servers[0].Weight; weight != 9 {
				t.Errorf("weight %d, and the operator set it to 9", weight)
			}
			reading := &gate{t: t, control: read}
			if _, err := reading.ask("GET", "/status", ""); err != nil {
				t.Errorf("the socket for reading: %v", err)
			}
			if response, err := http.Get("http://" + admin + "/readyz"); err != nil || response.StatusCode != http.StatusOK {
				t.Errorf("the admin address: %v, %v", response, err)
			}
			for _, path := range []string{l.control, read} {
				if info, err := os.Lstat(path); err != nil || info.Mode() != os.ModeSocket|0o600 {
					t.Errorf("%s: %v, %v", path, info, err)
				}
			}
		})
	}
}

// upgradeByCommand is upgrade as an operator does it.
func (l *lineage) upgradeByCommand() {
	l.t.Helper()
	got, pid := l.ctl("upgrade"), 0
	if n, err := fmt.Sscanf(got.stdout, "upgraded: process %d has taken over\n", &pid); n != 1 || got.code != 0 {
		l.t.Fatalf("%v: %+v", err, got)
	}
	l.pids = append(l.pids, pid)
	l.eventually("the lock names the new process", func() bool {
		return string(must(os.ReadFile(l.control+".lock"))) == fmt.Sprintf("%d\n", pid)
	})
}

// A new binary or configuration that does not work leaves the old process serving, with all that it had, and the answer says
// why. The next upgrade works.
func TestUpgradeThatFails(t *testing.T) {
	t.Parallel()
	l := newLineage(t, fmt.Sprintf("cache: {dir: %q}", shortFolder(t)))
	l.loose = true
	l.visit("a.example")
	good, binary := string(must(os.ReadFile(l.config))), must(os.Readlink(l.program))
	taken := freeAddress(t)
	stranger := newBackend(t, leave)
	put := func(what string) {
		t.Helper()
		os.Remove(l.program)
		if what == "" {
			return
		}
		writeFile(t, l.program, what)
		os.Chmod(l.program, 0o755)
	}
	for _, c := range []struct {
		name   string
		does   func()
		reason string
	}{
		{"bad configuration", func() { l.replaceConfig(good + "\nadress: 1\n") }, "unknown key"},
		{"address in use", func() {
			l.replaceConfig(strings.Replace(good, "listeners:", fmt.Sprintf("listeners:\n- address: %q\n- address: %q", taken, stranger.address), 1))
		}, "address already in use"},
		{"no binary", func() { put("") }, "no such file"},
		{"no program", func() { put("\x7fELF nonsense") }, "exec format error"},
		{"ends at once", func() { put("#!/bin/sh\nexit 3\n") }, "exit status 3"},
		{"is killed", func() { put("#!/bin/sh\nkill -9 $$\n") }, "killed"},
		{"is something else", func() { put("#!/bin/sh\necho what is this >&3\nsleep 1\n") }, "as it starts"},
	} {
		c.does()
		l.upgradeFails(c.name, c.reason)
		l.visit("a.example")
		var f flushed
		if l.post("POST", "/flush/nobody.example", "", &f); f.Result != "success" {
			t.Errorf("%s: a flush after it: %+v", c.name, f)
		}
		if _, err := os.Lstat(l.control); err != nil {
			t.Errorf("%s: %v", c.name, err)
		}
		l.replaceConfig(good)
		put("")
		if err := os.Symlink(binary, l.program); err != nil {
			t.Fatal(err)
		}
	}
	l.upgradeByCommand()
	l.gone(l.pids[0])
	l.store.on("a.example", status(http.StatusInternalServerError))
	l.visit("a.example")
	l.store.wantRequests(t, "a.example", 1)
}

// An upgrade by signal, and two at once of which one is refused.
func TestUpgradeAtOnce(t *testing.T) {
	t.Parallel()
	l := newLineage(t)
	os.Remove(l.program)
	writeFile(t, l.program, "#!/bin/sh\nsleep 1\nexec "+must(filepath.Abs(hellogate))+" \"$@\"\n")
	os.Chmod(l.program, 0o755)
	syscall.Kill(l.pid(), syscall.SIGUSR2)
	l.await("the beginning", func(e entry) bool { return strings.HasPrefix(e.text("message"), "upgrade: starting") })
	code, text, err := l.request("POST", "/upgrade", "")
	if err != nil || code != http.StatusConflict || !strings.Contains(text, "under way") {
		t.Errorf("the second: status %d, %v: %s", code, err, text)
	}
	e := l.await("the end", func(e entry) bool { return e["new_pid"] != nil })
	l.pids = append(l.pids, int(e.number("new_pid")))
	l.gone(l.pids[0])
	l.visit("a.example")
}

// What the new configuration does not have is closed with the old process, what it has in addition is opened: listeners, the
// control socket. Nothing of the old one stays.
func TestUpgradeToOtherListeners(t *testing.T) {
	t.Parallel()
	second, third := freeAddress(t), freeAddress(t)
	l := newLineage(t)
	first, control := l.address, l.control
	l.reload(fmt.Sprintf("listeners: [{address: %q}, {address: %q}]", first, second))
	l.control = filepath.Join(filepath.Dir(control), "other.sock")
	l.rewrite(fmt.Sprintf("listeners: [{address: %q}, {address: %q}]", first, third), fmt.Sprintf("control: {socket: %q}", l.control))
	old := &gate{t: t, control: control}
	var answer struct{ PID int }
	old.post("POST", "/upgrade", "", &answer)
	l.pids = append(l.pids, answer.PID)
	l.waitUntilAnswered()
	l.gone(l.pids[0])
	for address, want := range map[string]bool{first: true, second: false, third: true} {
		l.address = address
		if got := l.serves("a.example"); got != want {
			t.Errorf("%s serves: %v, want %v", address, got, want)
		}
	}
	l.address = first
	l.await("what is not used", func(e entry) bool { return strings.Contains(e.text("socket"), second) })
	for _, path := range []string{control, control + ".lock"} {
		if _, err := os.Lstat(path); !os.IsNotExist(err) {
			t.Errorf("%s is left: %v", path, err)
		}
	}
}

func (g *gate) waitUntilAnswered() {
	g.t.Helper()
	g.eventually("the new control socket answers", func() bool { _, err := g.ask("GET", "/status", ""); return err == nil })
}

// What an old process waits for it waits for as long as upgrade_drain_timeout; after SIGTERM no longer than drain_timeout.
func TestUpgradeDrain(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, limits string
		signalled    bool
	}{
		{"timeout", "limits: {drain_timeout: 10m, upgrade_drain_timeout: 1s}", false},
		{"signal", "limits: {drain_timeout: 1s, upgrade_drain_timeout: 10m}", true},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			l := newLineage(t, c.limits)
			stays := l.dial("a.example")
			stays.wantEcho(t, "hello")
			l.upgrade()
			if c.signalled {
				l.await("what is not needed any more is let go of", func(e entry) bool { return strings.Contains(e.text("message"), "let go of") })
				time.Sleep(500 * time.Millisecond) // with that, longer than drain_timeout
				stays.wantEcho(t, "still there")
				syscall.Kill(l.pids[0], syscall.SIGTERM)
			}
			if _, err := io.ReadAll(stays); !isReset(err) {
				t.Errorf("got %v, want a reset", err)
			}
			l.gone(l.pids[0])
			l.rewriteDrain()
			l.visit("a.example")
		})
	}
}

// rewriteDrain has the test's end not wait.
func (l *lineage) rewriteDrain() {
	l.t.Helper()
	l.reload("limits: {drain_timeout: 1s}")
}

// Thousands of idle connections live through a reload, an upgrade and the drain that follows it.
func TestUpgradeWithACrowd(t *testing.T) {
	size := min(crowd(t), 5000)
	backend := startCrowd(t, "backend")
	l := prepareLineage(t, usesBackend(backend.line(t)), "backends: {main: {send_proxy: off}}",
		"log: {level: warn, access: false}", "limits: {drain_timeout: 30s, handshakes: 100000}")
	l.start()
	clients := startCrowd(t, fmt.Sprintf("clients %s %d", l.address, size))
	clients.want(t, "open")
	l.reload("limits: {idle_timeout: 30m}", "routes: [{match: {names: [gone.example]}, action: reject}, {backend: main}]")
	if active := l.status().Connections.Active; active != size {
		t.Errorf("%d connections are open after a reload, want %d", active, size)
	}
	l.upgrade()
	if active := l.status().Connections.Active; active != 0 {
		t.Errorf("the new process has %d connections", active)
	}
	syscall.Kill(l.pids[0], syscall.SIGTERM) // it ends with them, and not before
	clients.say(t, "wake")
	clients.want(t, "answered")
	if hasEnded(l.pids[0]) {
		t.Error("the old process has ended")
	}
	clients.say(t, "leave")
	clients.want(t, "left")
	l.gone(l.pids[0])
}

// Everybody who connects while processes change hands is served, also those who connect and say nothing at first.
func TestUpgradeOfThoseHalfway(t *testing.T) {
	t.Parallel()
	l := newLineage(t)
	l.visit("a.example")
	var group sync.WaitGroup
	for range 40 {
		group.Go(func() {
			c, err := handshake(l.address, "a.example", func(_ *tls.Config, w *wire) {
				w.rewrite = func(to io.Writer, hello []byte) error {
					if _, err := to.Write(hello[:20]); err != nil {
						return err
					}
					time.Sleep(300 * time.Millisecond)
					_, err := to.Write(hello[20:])
					return err
				}
			})
			if err == nil {
				err = echoes(c)
			}
			if err != nil {
				t.Error(err)
			}
			if c != nil {
				c.Close()
			}
		})
	}
	l.eventually("some are halfway", func() bool { return l.status().Connections.Active > 0 })
	l.upgrade()
	group.Wait()
	l.gone(l.pids[0])
}
