package redis

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// server is a redis-server of the test's own, on loopback and with nothing kept on disk.
type server struct {
	address string
	folder  string
	login   []string // the AUTH of the test itself
	words   []string
	command *exec.Cmd
	output  bytes.Buffer
}

// program finds redis-server. Without it the test is skipped, or fails where HELLOGATE_REQUIRE_PEERS is 1.
func program(t testing.TB) string {
	t.Helper()
	if path, err := exec.LookPath("redis-server"); err == nil {
		return path
	}
	if os.Getenv("HELLOGATE_REQUIRE_PEERS") == "1" {
		t.Fatal("redis-server is not installed")
	}
	t.Skip("redis-server is not installed: not tested against it")
	return ""
}

// start starts one; options are added to its command line.
func start(t testing.TB, options ...string) *server {
	t.Helper()
	s := &server{address: freeAddress(t), folder: t.TempDir()}
	_, port, _ := net.SplitHostPort(s.address)
	s.words = append([]string{
		program(t), "--port", port, "--bind", "127.0.0.1", "--dir", s.folder, "--save", "", "--appendonly", "no",
		"--unixsocket", filepath.Join(s.folder, "s"), "--loglevel", "warning",
	}, options...)
	s.restart(t)
	t.Cleanup(func() { s.kill(t) })
	return s
}

// startFile starts what needs a configuration file that it may write to, such as a sentinel.
func startFile(t testing.TB, text string, options ...string) *server {
	t.Helper()
	s := &server{address: freeAddress(t), folder: t.TempDir()}
	_, port, _ := net.SplitHostPort(s.address)
	file := filepath.Join(s.folder, "redis.conf")
	text = fmt.Sprintf("port %s\nbind 127.0.0.1\ndir %s\n%s\n", port, s.folder, text)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	s.words = append([]string{program(t), file}, options...)
	s.restart(t)
	t.Cleanup(func() { s.kill(t) })
	return s
}

func freeAddress(t testing.TB) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	return listener.Addr().String()
}

func (s *server) port() string {
	_, port, _ := net.SplitHostPort(s.address)
	return port
}

func (s *server) restart(t testing.TB) {
	t.Helper()
	s.command = exec.Command(s.words[0], s.words[1:]...)
	s.command.Stdout, s.command.Stderr = &s.output, &s.output
	if err := s.command.Start(); err != nil {
		t.Fatal(err)
	}
	until(t, "redis-server answers", func() bool {
		conn, err := net.Dial("tcp", s.address)
		if err != nil {
			return false
		}
		return conn.Close() == nil
	})
}

// kill is kill -9.
func (s *server) kill(testing.TB) {
	if s.command != nil {
		_ = s.command.Process.Kill()
		_ = s.command.Wait()
		s.command = nil
	}
}

func (s *server) signal(t testing.TB, signal syscall.Signal) {
	t.Helper()
	if err := s.command.Process.Signal(signal); err != nil {
		t.Fatal(err)
	}
}

// do sends a command to database 0 and returns the answer as text; an error of Redis ends the test.
func (s *server) do(t testing.TB, words ...string) string {
	t.Helper()
	answer, err := s.try(words...)
	if err != nil {
		t.Fatalf("%s: %v", words[0], err)
	}
	return answer
}

func (s *server) try(words ...string) (string, error) {
	conn, err := net.Dial("tcp", s.address)
	if err != nil {
		return "", err
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
	reader := bufio.NewReader(conn)
	if s.login != nil {
		if err := send(conn, s.login...); err != nil {
			return "", err
		}
		if _, err := receive(reader); err != nil {
			return "", err
		}
	}
	if err := send(conn, words...); err != nil {
		return "", err
	}
	return receive(reader)
}

func send(conn io.Writer, words ...string) error {
	var text strings.Builder
	fmt.Fprintf(&text, "*%d\r\n", len(words))
	for _, word := range words {
		fmt.Fprintf(&text, "$%d\r\n%s\r\n", len(word), word)
	}
	_, err := io.WriteString(conn, text.String())
	return err
}

// receive reads an answer; the elements of an array are joined by commas.
func receive(reader *bufio.Reader) (string, error) {
	line, err := reader.ReadString('\n')
	if err != nil {
		return "", err
	}
	line = strings.TrimRight(line, "\r\n")
	number, _ := strconv.Atoi(line[1:])
	switch line[0] {
	case '-':
		return "", fmt.Errorf("redis: %s", line[1:])
	case '$':
		if number < 0 {
			return "(nil)", nil
		}
		value := make([]byte, number+2)
		_, err := io.ReadFull(reader, value)
		return string(value[:number]), err
	case '*':
		var parts []string
		for range number {
			part, err := receive(reader)
			if err != nil {
				return "", err
			}
			parts = append(parts, part)
		}
		return strings.Join(parts, ","), nil
	}
	return line[1:], nil
}

// until waits for at most ten seconds.
func until(t testing.TB, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); !holds(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("10 s and not: %s", what)
		}
	}
}

// newStore makes a store and closes it at the end of the test.
func newStore(t testing.TB, options Options) *Redis {
	t.Helper()
	r, err := New(options)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.Close)
	return r
}

// at is the options for the server's database 0.
func (s *server) at(layout string) Options {
	return Options{URL: "redis://" + s.address, Layout: layout}
}
