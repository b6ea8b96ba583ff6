package store_test

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"time"

	"hellogate/store"
	"hellogate/store/certtest"
)

// head begins an answer with 200; what is behind it is up to the case.
const head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"

// TestHTTPFaults: a store that is ill is a failure within its timeout, and costs next to no memory.
func TestHTTPFaults(t *testing.T) {
	body := string(certtest.NewCA(t).Issue(t, name).JSON())
	long := fmt.Sprintf("Content-Length: %d\r\n\r\n", len(body))
	for _, test := range []struct {
		name  string
		reply func(net.Conn)
		want  string
	}{
		{"hangs", hang, "no answer within 300ms"},
		{"hangs up", func(net.Conn) {}, "EOF"},
		{"hangs in the headers", then(text(head), hang), "no answer within 300ms"},
		{"hangs in the body", then(text(head+long+body[:10]), hang), "the body was not complete within 300ms"},
		{"drips", then(text(head+long), drip(body)), "the body was not complete within 300ms"},
		{"drips headers", drip(head), "no answer within 300ms"},
		{"drips a 404", then(text("HTTP/1.1 404 Not Found\r\nContent-Length: 100\r\n\r\n"), drip(body)), "unknown name"},
		{"drips a 429", then(text("HTTP/1.1 429 Slow\r\nContent-Length: 100\r\n\r\n"), drip(body)), "429 Too Many Requests"},
		{"resets", then(text(head+long+body[:10]), reset), "connection reset"},
		{"is cut short", text(head + long + body[:100]), "body cut short after 100 bytes"},
		{"is cut short in a chunk", text(head + "Transfer-Encoding: chunked\r\n\r\n40\r\n" + body[:20]), "body cut short after 20 bytes"},
		{"cuts its JSON", text(head + "Content-Length: 100\r\n\r\n" + body[:100]), "json: cut short"},
		{"cuts its PEM", text("HTTP/1.0 200 OK\r\n\r\n-----BEGIN CERTIFICATE-----\nMIIB"), "1 of 1 PEM blocks are malformed or cut short"},
		{"is a web page", text("HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 6\r\n\r\n<html>"), "no PEM block in 6 bytes"},
		{"is empty", text(head + "Content-Length: 0\r\n\r\n"), "json: cut short"},
		{"says 10 GB", text(head + "Content-Length: 10737418240\r\n\r\n"), "body of 10737418240 bytes: at most 1048576 allowed"},
		{"sends 10 GB", then(text(head+"\r\n"), flood([]byte(strings.Repeat(" ", 64<<10)), 10<<30)), "body of more than 1048576 bytes"},
		{"sends 10 GB in one chunk", then(text(head+"Transfer-Encoding: chunked\r\n\r\n280000000\r\n"),
			flood(make([]byte, 64<<10), 10<<30)), "body of more than 1048576 bytes"},
		{
			"sends a gzip bomb", then(text(head+"Content-Encoding: gzip\r\n\r\n"), flood(zipped(make([]byte, 32<<20)), 1)),
			"body of more than 1048576 bytes",
		},
		{
			"sends gzip of nothing for ever", then(text(head+"Content-Encoding: gzip\r\n\r\n"), flood(zipped(nil), 10<<30)),
			"body of more than 1048576 bytes",
		},
		{"cuts its gzip", text(head + "Content-Encoding: gzip\r\n\r\n" + string(zipped([]byte(body))[:200])), "body cut short after"},
		{"sends what is no gzip", text(head + "Content-Encoding: gzip\r\n\r\n" + body), "gzip: invalid header"},
		{"sends brotli", text(head + "Content-Encoding: br\r\n\r\nx"), `content encoding "br", which was not asked for`},
		{"packs twice", text(head + "Content-Encoding: gzip\r\nContent-Encoding: gzip\r\n\r\nx"), `content encoding "gzip, gzip"`},
		{"sends 5 M brackets", then(text(head+"\r\n"), flood(bytes.Repeat([]byte("["), 64<<10), 5<<20)), "body of more than"},
		{"sends deep JSON", text(head + "\r\n" + `{"x":` + strings.Repeat("[", 1<<19)), "json: malformed at byte"},
		{"sends 3 MB of headers", then(text(head+"X: "), flood(bytes.Repeat([]byte("x"), 64<<10), 3<<20)), "exceeded 65536 bytes"},
		{"sends headers for ever", then(text(head), flood([]byte("X-Y: z\r\n"), 10<<30)), "exceeded 65536 bytes"},
		{"says 100 for ever", flood([]byte("HTTP/1.1 100 Continue\r\n\r\n"), 10<<30), ""},
		{"is no HTTP", text("SSH-2.0-OpenSSH_9.2\r\n"), "malformed HTTP"},
		{"echoes the token", text("HTTP/1.1 " + token + strings.Repeat("x", 1000) + "\r\n\r\n"), `malformed HTTP status code "TOKENxxx`},
	} {
		t.Run(test.name, func(t *testing.T) {
			url := listen(t, test.reply)
			asks := newHTTP(t, store.HTTPOptions{URL: url, Token: token, Timeout: 300 * time.Millisecond})
			before, began := allocated(), time.Now()
			_, err := asks.Fetch(t.Context(), store.Request{Name: name})
			took, cost := time.Since(began), allocated()-before
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Fatalf("error %v, want it to say %q", err, test.want)
			}
			if !errors.Is(err, store.ErrUnknown) && failureOf(t, err).Unreachable {
				t.Errorf("%v: unreachable, though it was reached", err)
			}
			if took > 2*time.Second {
				t.Errorf("took %s", took)
			}
			if cost > 16<<20 {
				t.Errorf("allocated %d MB", cost>>20)
			}
			if len(err.Error()) > 500 {
				t.Errorf("error of %d bytes", len(err.Error()))
			}
		})
	}
}

func TestHTTPUnpacks(t *testing.T) {
	body := certtest.NewCA(t).Issue(t, name).JSON()
	url := listen(t, text(head+"Content-Encoding: gzip\r\n\r\n"+string(zipped(body))))
	bundle, err := newHTTP(t, store.HTTPOptions{URL: url}).Fetch(t.Context(), store.Request{Name: name})
	if err != nil || len(bundle.Pairs) != 1 {
		t.Errorf("%+v, %v", bundle, err)
	}
}

// TestHTTPRecovers: after a hang and after a reset the next fetch is served.
func TestHTTPRecovers(t *testing.T) {
	body := string(certtest.NewCA(t).Issue(t, name).JSON())
	replies := make(chan func(net.Conn), 1)
	url := listen(t, func(conn net.Conn) { (<-replies)(conn) })
	asks := newHTTP(t, store.HTTPOptions{URL: url, Timeout: 300 * time.Millisecond, Fetches: 1})
	for _, ill := range []func(net.Conn){hang, reset} {
		replies <- ill
		if _, err := asks.Fetch(t.Context(), store.Request{Name: name}); err == nil {
			t.Fatal("no error")
		}
		replies <- text(head + "Connection: close\r\n\r\n" + body)
		if _, err := asks.Fetch(t.Context(), store.Request{Name: name}); err != nil {
			t.Error(err)
		}
	}
}

// listen answers every request on a connection of its own with reply.
func listen(t *testing.T, reply func(net.Conn)) (url string) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			answer(conn, reply)
		}
	}()
	t.Cleanup(func() { listener.Close(); <-done })
	return "http://" + listener.Addr().String()
}

func answer(conn net.Conn, reply func(net.Conn)) {
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(5 * time.Second))
	if _, err := http.ReadRequest(bufio.NewReader(conn)); err == nil {
		reply(conn)
	}
}

func text(answer string) func(net.Conn) {
	return func(conn net.Conn) { _, _ = io.WriteString(conn, answer) }
}

func then(first, second func(net.Conn)) func(net.Conn) {
	return func(conn net.Conn) { first(conn); second(conn) }
}

// hang waits until the client has left.
func hang(conn net.Conn) { _, _ = io.Copy(io.Discard, conn) }

func reset(conn net.Conn) { _ = conn.(*net.TCPConn).SetLinger(0) }

func drip(text string) func(net.Conn) {
	return func(conn net.Conn) {
		for i := range len(text) {
			if _, err := io.WriteString(conn, text[i:i+1]); err != nil {
				return
			}
			time.Sleep(20 * time.Millisecond)
		}
	}
}

// flood writes piece until at least total bytes are out, or the client has left.
func flood(piece []byte, total int) func(net.Conn) {
	piece = bytes.Repeat(piece, max(1, 4096/len(piece)))
	return func(conn net.Conn) {
		for sent := 0; sent < total; sent += len(piece) {
			if _, err := conn.Write(piece); err != nil {
				return
			}
		}
	}
}

func zipped(plain []byte) []byte {
	var packed bytes.Buffer
	writer := gzip.NewWriter(&packed)
	_, _ = writer.Write(plain)
	_ = writer.Close()
	return packed.Bytes()
}

func allocated() uint64 {
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	return stats.TotalAlloc
}

func quiet() *log.Logger { return log.New(io.Discard, "", 0) }
