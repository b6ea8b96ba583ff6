package proxyproto

import (
	"bytes"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// patience bounds every wait for another program.
const patience = 5 * time.Second

// program finds a peer. Without it the test is skipped, or fails where HELLOGATE_REQUIRE_PEERS is 1.
func program(t *testing.T, name string) string {
	t.Helper()
	for _, name := range []string{name, filepath.Join("/usr/sbin", name)} {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	if os.Getenv("HELLOGATE_REQUIRE_PEERS") == "1" {
		t.Fatalf("no %s", name)
	}
	t.Skipf("no %s", name)
	return ""
}

// run runs a peer on a configuration until the test ends, and waits until it listens at the socket.
func run(t *testing.T, socket, configuration, name string, arguments ...string) {
	t.Helper()
	path := program(t, name)
	file := filepath.Join(t.TempDir(), "configuration")
	if err := os.WriteFile(file, []byte(configuration), 0o600); err != nil {
		t.Fatal(err)
	}
	command := exec.Command(path, append(arguments, file)...)
	var output bytes.Buffer
	command.Stdout, command.Stderr, command.WaitDelay = &output, &output, patience
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = command.Process.Kill()
		_ = command.Wait()
		if t.Failed() {
			t.Logf("%s: %s", path, output.String())
		}
	})
	for deadline := time.Now().Add(patience); ; time.Sleep(10 * time.Millisecond) {
		if conn, err := net.Dial("unix", socket); err == nil {
			_ = conn.Close()
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s does not listen", path)
		}
	}
}

// dial opens a connection, bounded in time.
func dial(t *testing.T, socket string) net.Conn {
	t.Helper()
	conn, err := net.DialTimeout("unix", socket, patience)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	return conn
}

// told is what an HTTP server that answers with what it read says of a header; empty when it closed the connection.
func told(t *testing.T, socket string, header []byte) string {
	t.Helper()
	conn := dial(t, socket)
	if _, err := conn.Write(append(bytes.Clone(header), "GET / HTTP/1.0\r\n\r\n"...)); err != nil {
		t.Fatal(err)
	}
	answer, _ := io.ReadAll(conn) // a reset is a refusal
	_, body, _ := strings.Cut(string(answer), "\r\n\r\n")
	return body
}
