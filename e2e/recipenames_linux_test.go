package e2e

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// knowing has a command, which takes no address beside the name, find the names at 127.0.0.1. It starts it.
func knowing(t testing.TB, command *exec.Cmd, names ...string) {
	t.Helper()
	hosts := filepath.Join(shortFolder(t), "hosts")
	writeFile(t, hosts, "127.0.0.1 localhost "+strings.Join(names, " ")+"\n")
	if err := os.Chmod(hosts, 0o644); err != nil {
		t.Fatal(err)
	}
	err := onThread(func() error {
		if err := mountOver(hosts, "/etc/hosts"); err != nil {
			return err
		}
		return command.Start()
	})
	if errors.Is(err, unix.EPERM) && os.Getenv("HELLOGATE_REQUIRE_PEERS") != "1" {
		t.Skip("a mount namespace takes root: not tested")
	}
	if err != nil {
		t.Fatal(err)
	}
}

// runsKnowing is execute for such a command.
func runsKnowing(t testing.TB, input, name, path string, arguments ...string) result {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 2*patience)
	defer cancel()
	var stdout, stderr bytes.Buffer
	command := exec.CommandContext(ctx, path, arguments...)
	command.Stdin, command.Stdout, command.Stderr = strings.NewReader(input), &stdout, &stderr
	knowing(t, command, name)
	command.Wait()
	if ctx.Err() != nil {
		t.Fatalf("%s hangs after %q %q", path, &stdout, &stderr)
	}
	return result{stdout: stdout.String(), stderr: stderr.String(), code: command.ProcessState.ExitCode()}
}

// Two Mosquittos behind one port, told apart by name: what is published on one is not on the other, and a subscriber gets what
// is published later as well as what was retained. That of Debian 12, version 2.0.11, reads no PROXY header.
func TestMosquittoTenants(t *testing.T) {
	t.Parallel()
	var servers [2]string
	for i := range servers {
		servers[i] = newMosquitto(t)
	}
	g := newTenants(t, "mqtt.example", "starttls: \"\"", "send_proxy: off", servers)
	words := func(name string, more ...string) []string {
		return append([]string{"-h", name, "-p", g.port(), "--cafile", ca().rootFile(t), "-t", "e2e", "-q", "1"}, more...)
	}
	publish := func(name string, more ...string) {
		t.Helper()
		if got := runsKnowing(t, "", name, program(t, "mosquitto_pub"), words(name, more...)...); got.code != 0 {
			t.Errorf("mosquitto_pub to %s: %d %s", name, got.code, got.stderr)
		}
	}
	const first, second = "tenant1.mqtt.example", "tenant2.mqtt.example"
	publish(first, "-r", "-m", "retained by tenant1")
	publish(second, "-r", "-m", "retained by tenant2")
	for _, name := range []string{first, second} {
		tenant, _, _ := strings.Cut(name, ".")
		subscriber := exec.Command(program(t, "mosquitto_sub"), words(name, "-C", "2", "-W", "20")...)
		heard := bufio.NewReader(must(subscriber.StdoutPipe()))
		knowing(t, subscriber, name)
		line, _ := heard.ReadString('\n')
		publish(name, "-m", "said to "+tenant)
		more, _ := heard.ReadString('\n')
		if err := subscriber.Wait(); err != nil || line+more != fmt.Sprintf("retained by %[1]s\nsaid to %[1]s\n", tenant) {
			t.Errorf("%s: heard %q %q: %v", name, line, more, err)
		}
	}
}

func newMosquitto(t testing.TB) string {
	t.Helper()
	address, config := freeAddress(t), filepath.Join(openFolder(t), "mosquitto.conf")
	writeFile(t, config, fmt.Sprintf("listener %d 127.0.0.1\nallow_anonymous true\npersistence false\nlog_dest none\n", portOf(address)))
	runPeer(t, address, exec.Command(program(t, "mosquitto"), "-c", config), syscall.SIGTERM)
	return address
}

// Two slapds behind one port, told apart by name. ldapsearch -ZZ, which goes on only with TLS and a certificate that verifies,
// finds each one's entries, and so it does with TLS from the first byte. That of Debian 12 is OpenLDAP 2.5, which reads a PROXY header at
// listeners that are called pldap.
func TestSlapdTenants(t *testing.T) {
	t.Parallel()
	for scheme, listener := range map[string]string{"ldap": "starttls: ldap", "ldaps": "starttls: \"\""} {
		first, firstLog := newSlapd(t, "one")
		second, secondLog := newSlapd(t, "two")
		g := newTenants(t, "ldap.example", listener, "send_proxy: v2", [2]string{first, second})
		for name, want := range map[string]struct{ suffix, log string }{
			"tenant1.ldap.example": {"dc=one", firstLog}, "tenant2.ldap.example": {"dc=two", secondLog},
		} {
			arguments := []string{
				"LDAPTLS_CACERT=" + ca().rootFile(t), program(t, "ldapsearch"), "-x", "-LLL", "-o", "nettimeout=10",
				"-H", scheme + "://" + name + ":" + g.port(), "-b", want.suffix, "-s", "base", "description",
			}
			if scheme == "ldap" {
				arguments = append(arguments, "-ZZ")
			}
			got := runsKnowing(t, "", name, "/usr/bin/env", arguments...)
			if got.code != 0 || !strings.Contains(got.stdout, "dn: "+want.suffix+"\n") {
				t.Errorf("%s %s: %d, %q: %s", scheme, name, got.code, got.stdout, got.stderr)
			}
			awaitText(t, want.log, "ACCEPT from IP="+g.access("name", name).text("client"))
		}
	}
}
