package permission

import (
	"encoding/pem"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"hellogate/store"
)

// TestRequest: the name is set in the query, whose rest is kept.
func TestRequest(t *testing.T) {
	for path, want := range map[string]string{
		"":                     "/?domain=a.example",
		"/ask":                 "/ask?domain=a.example",
		"/ask/":                "/ask/?domain=a.example",
		"/ask?key=s%20e&x=":    "/ask?domain=a.example&key=s+e&x=",
		"/ask?domain=b&domain": "/ask?domain=a.example",
		"/a%2Fb":               "/a%2Fb?domain=a.example",
	} {
		t.Run(path, func(t *testing.T) {
			var got *http.Request
			url, _ := serve(t, func(w http.ResponseWriter, r *http.Request) { got = r })
			if err := open(t, Options{URL: url + path}).Ask(t.Context(), name); err != nil {
				t.Fatal(err)
			}
			if got.Method != http.MethodGet || got.RequestURI != want {
				t.Errorf("%s %s, want GET %s", got.Method, got.RequestURI, want)
			}
		})
	}
}

// TestOutage: whatever goes wrong is a failure, within its time, and the next request may succeed.
func TestOutage(t *testing.T) {
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed.Close()
	hang := func(w http.ResponseWriter, r *http.Request) { <-r.Context().Done() }
	raw := func(answer string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			conn, _, err := w.(http.Hijacker).Hijack()
			if err == nil {
				io.WriteString(conn, answer)
				conn.Close()
			}
		}
	}
	for _, test := range []struct {
		name        string
		handle      http.HandlerFunc // nil: nobody listens
		says        string
		unreachable bool
	}{
		{"nobody listens", nil, "connection refused", true},
		{"hangs", hang, "no answer within 200ms", false},
		{"hangs up", raw(""), "EOF", false},
		{"no HTTP", raw("220 mail ready\r\n"), "malformed HTTP", false},
		{"a long line", raw("HTTP/1.1 " + strings.Repeat("x", 5000) + "\r\n\r\n"), "malformed HTTP status code", false},
		{"huge headers", raw("HTTP/1.1 200 OK\r\nX: " + strings.Repeat("x", 1<<20) + "\r\n\r\n"), "exceeded", false},
	} {
		t.Run(test.name, func(t *testing.T) {
			url := "http://" + closed.Addr().String()
			if test.handle != nil {
				url, _ = serve(t, test.handle)
			}
			p := open(t, Options{URL: url, Timeout: 200 * time.Millisecond})
			err := p.Ask(t.Context(), name)
			failure, ok := errors.AsType[*store.Failure](err)
			if means(err) != failed || !ok || !strings.Contains(err.Error(), test.says) || failure.Unreachable != test.unreachable {
				t.Errorf("%v (%+v), want it to say %q, unreachable %t", err, failure, test.says, test.unreachable)
			}
			if len(err.Error()) > 500 {
				t.Errorf("error of %d bytes", len(err.Error()))
			}
			if _, known := p.Recall(name); known {
				t.Error("it was remembered")
			}
		})
	}
}

// TestEndlessBody: an answer counts when its head is there; what is behind it costs nothing.
func TestEndlessBody(t *testing.T) {
	url, _ := serve(t, func(w http.ResponseWriter, r *http.Request) {
		block := make([]byte, 64<<10)
		for r.Context().Err() == nil {
			if _, err := w.Write(block); err != nil {
				return
			}
		}
	})
	if err := open(t, Options{URL: url}).Ask(t.Context(), name); err != nil {
		t.Error(err)
	}
}

func TestUnixSocket(t *testing.T) {
	directory, err := os.MkdirTemp("", "hg")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(directory) })
	path := filepath.Join(directory, "s")
	listener, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	var uri atomic.Value
	server := &http.Server{Handler: http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { uri.Store(r.RequestURI) })}
	var serving sync.WaitGroup
	serving.Go(func() { server.Serve(listener) })
	t.Cleanup(func() { server.Close(); serving.Wait() })
	p := open(t, Options{URL: "unix://" + path + ":/ask?x=1"})
	if err := p.Ask(t.Context(), name); err != nil || uri.Load() != "/ask?domain=a.example&x=1" {
		t.Errorf("%v, asked %v", err, uri.Load())
	}
}

func TestTLS(t *testing.T) {
	server := httptest.NewUnstartedServer(status(http.StatusOK))
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.StartTLS()
	t.Cleanup(server.Close)
	if err := open(t, Options{URL: server.URL}).Ask(t.Context(), name); means(err) != failed {
		t.Errorf("with the system's roots: %v", err)
	}
	roots := filepath.Join(t.TempDir(), "ca.pem")
	text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	if err := os.WriteFile(roots, text, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := open(t, Options{URL: server.URL, CAFile: roots}).Ask(t.Context(), name); err != nil {
		t.Error(err)
	}
}

// TestNoProxy: the environment, which net/http reads once in a process, sends nobody's question elsewhere.
func TestNoProxy(t *testing.T) {
	if p := open(t, Options{URL: "https://ask.example"}); p.transport.Proxy != nil {
		t.Error("a proxy may be used")
	}
}

func TestOptions(t *testing.T) {
	empty := filepath.Join(t.TempDir(), "empty.pem")
	if err := os.WriteFile(empty, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		options Options
		says    string // "": no error
	}{
		{Options{URL: "https://ask.example/x"}, ""},
		{Options{URL: "http://localhost:1/x"}, ""},
		{Options{URL: "http://[::1]:1"}, ""},
		{Options{URL: "http://ask.example/x", Plaintext: true}, ""},
		{Options{URL: "unix:///run/ask.sock"}, ""},
		{Options{URL: ""}, "scheme"},
		{Options{URL: "http://ask.example/x?key=secret"}, "use https"},
		{Options{URL: "https:///x"}, "no host"},
		{Options{URL: "https://user:secret@ask.example"}, "user name or password"},
		{Options{URL: "https://user:secret@ask.exam ple"}, "malformed"},
		{Options{URL: "https://ask.example/#x"}, "malformed"},
		{Options{URL: "ftp://ask.example/?key=secret"}, "https, http or unix"},
		{Options{URL: "unix://run/ask.sock"}, "three slashes"},
		{Options{URL: "https://ask.example", CAFile: empty}, "no certificate in PEM"},
		{Options{URL: "https://ask.example", CAFile: empty + "x"}, "no such file"},
	} {
		t.Run(test.options.URL, func(t *testing.T) {
			p, err := New(test.options)
			if err == nil {
				p.Close()
			}
			if (err == nil) != (test.says == "") || err != nil && !strings.Contains(err.Error(), test.says) {
				t.Errorf("%v, want it to say %q", err, test.says)
			}
			if err != nil && strings.Contains(err.Error(), "secret") {
				t.Errorf("%v: tells a secret", err)
			}
		})
	}
}
