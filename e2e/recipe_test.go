package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// newTenants runs hellogate in front of two servers, told apart by name: tenant1.DOMAIN and tenant2.DOMAIN. What listener
// says is the listener's, what pool says is that of both backends, as in "starttls: imap" and "send_proxy: off".
func newTenants(t testing.TB, domain, listener, pool string, servers [2]string, overrides ...string) *gate {
	t.Helper()
	routing := fmt.Sprintf(`
backends:
  main: {servers: [{address: %q}], %[3]s}
  second: {servers: [{address: %[2]q}], %[3]s}
routes:
  - {match: {names: [tenant1.%[4]s]}, backend: main}
  - {match: {names: [tenant2.%[4]s]}, backend: second}
`, servers[0], servers[1], pool, domain)
	return startListener(t, listener, append([]string{usesStore(newStore(t)), routing}, overrides...)...)
}

// startListener is start with settings of the one listener.
func startListener(t testing.TB, listener string, overrides ...string) *gate {
	t.Helper()
	address := freeAddress(t)
	layer := fmt.Sprintf("listeners: [{name: front, address: %q, %s}]", address, listener)
	g := configured(t, append([]string{layer}, overrides...)...)
	g.address = address
	g.run("run", "--config", g.config)
	return g
}

// port is that of the first listener.
func (g *gate) port() string { return itoa(portOf(g.address)) }

// openFolder is a folder for a server that runs as another user.
func openFolder(t testing.TB) string {
	t.Helper()
	folder := shortFolder(t)
	if err := os.Chmod(folder, 0o755); err != nil {
		t.Fatal(err)
	}
	return folder
}

// account is the first of the users that this machine has.
func account(t testing.TB, names ...string) *user.User {
	t.Helper()
	for _, name := range names {
		if found, err := user.Lookup(name); err == nil {
			return found
		}
	}
	t.Fatalf("none of the users %v is there", names)
	return nil
}

// as has a command run as another user, where the test may do that; where it may not it is no root either.
func as(command *exec.Cmd, owner *user.User) {
	if os.Geteuid() != 0 {
		return
	}
	uid, _ := strconv.Atoi(owner.Uid)
	gid, _ := strconv.Atoi(owner.Gid)
	command.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}}
}

// give makes a file or a folder the user's.
func give(t testing.TB, path string, owner *user.User) {
	t.Helper()
	if os.Geteuid() != 0 {
		return
	}
	uid, _ := strconv.Atoi(owner.Uid)
	gid, _ := strconv.Atoi(owner.Gid)
	if err := os.Chown(path, uid, gid); err != nil {
		t.Fatal(err)
	}
}

// needsRoot skips a test of a server that only root can start, or fails it where peers are required.
func needsRoot(t testing.TB, what string) {
	t.Helper()
	if os.Geteuid() == 0 {
		return
	}
	if os.Getenv("HELLOGATE_REQUIRE_PEERS") == "1" {
		t.Fatalf("%s takes root", what)
	}
	t.Skipf("%s takes root: not tested against it", what)
}

// runPeer runs a server until the test's end, ends it by the signal, and waits until it listens at address.
func runPeer(t testing.TB, address string, command *exec.Cmd, signal syscall.Signal) {
	t.Helper()
	command.WaitDelay = patience
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		command.Process.Signal(signal)
		timer := time.AfterFunc(patience, func() { command.Process.Kill() })
		command.Wait()
		timer.Stop()
	})
	awaitListener(t, address)
}

// awaitText waits until a file, as a server's log is one, has a text.
func awaitText(t testing.TB, path, want string) {
	t.Helper()
	var text []byte
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		if text, _ = os.ReadFile(path); strings.Contains(string(text), want) {
			return
		}
	}
	t.Errorf("%s has no %q:\n%s", filepath.Base(path), want, text)
}

// run is execute that has to end well; it gives what was printed.
func run(t testing.TB, input, path string, arguments ...string) string {
	t.Helper()
	got := execute(t, input, path, arguments...)
	if got.code != 0 {
		t.Fatalf("%s %v ended with %d: %s%s", filepath.Base(path), arguments, got.code, got.stdout, got.stderr)
	}
	return got.stdout
}
