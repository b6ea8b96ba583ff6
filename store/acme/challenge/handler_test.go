package challenge

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"
)

// serve serves a handler with a Server on a port of loopback.
func serve(t *testing.T, handler http.Handler) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	server := NewServer(handler, zerolog.Nop())
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
		defer cancel()
		_ = server.Shutdown(ctx)
		if err := <-served; err != nil {
			t.Errorf("serve: %v", err)
		}
	})
	return listener.Addr().String()
}

// exchange sends a request as it is written here, and returns the answer.
func exchange(t *testing.T, address, request string) *http.Response {
	t.Helper()
	conn, err := net.Dial("tcp", address)
	must(t, err)
	t.Cleanup(func() { conn.Close() })
	must(t, conn.SetDeadline(time.Now().Add(10*time.Second)))
	_, err = io.WriteString(conn, request)
	must(t, err)
	method, _, _ := strings.Cut(request, " ")
	response, err := http.ReadResponse(bufio.NewReader(conn), &http.Request{Method: method})
	must(t, err)
	return response
}

func TestHandler(t *testing.T) {
	storage := newMemory()
	presents, answers := pendingIn(storage), pendingIn(storage)
	must(t, presents.HTTP01().Present(t.Context(), asks(http01, "a.example", "to_ken-1")))
	must(t, presents.TLSALPN01().Present(t.Context(), asks(alpn, "a.example", "hidden")))
	storage.set("certificates/a.example/p256.pem", "a key")
	address := serve(t, answers.Handler())
	const path = "/.well-known/acme-challenge/"
	tests := map[string]struct {
		request  string // up to the headers that come with all
		host     string // "-": no Host
		status   int
		body     string
		location string
	}{
		"the answer":              {request: "GET " + path + "to_ken-1 HTTP/1.1", status: 200, body: "to_ken-1.thumbprint"},
		"with a port":             {request: "GET " + path + "to_ken-1 HTTP/1.1", host: "A.example:80", status: 200, body: "to_ken-1.thumbprint"},
		"the absolute form":       {request: "GET http://a.example" + path + "to_ken-1 HTTP/1.1", status: 200, body: "to_ken-1.thumbprint"},
		"its head":                {request: "HEAD " + path + "to_ken-1 HTTP/1.1", status: 200},
		"another name":            {request: "GET " + path + "to_ken-1 HTTP/1.1", host: "b.example", status: 301, location: "https://b.example" + path + "to_ken-1"},
		"no such token":           {request: "GET " + path + "other HTTP/1.1", status: 301, location: "https://a.example" + path + "other"},
		"no token":                {request: "GET " + path + " HTTP/1.1", status: 301, location: "https://a.example" + path},
		"another challenge's":     {request: "GET " + path + "hidden HTTP/1.1", status: 301, location: "https://a.example" + path + "hidden"},
		"a path out":              {request: "GET " + path + "../../certificates/a.example/p256.pem HTTP/1.1", status: 301, location: "https://a.example" + path + "../../certificates/a.example/p256.pem"},
		"a path out, escaped":     {request: "GET " + path + "..%2f..%2fcertificates%2fa.example%2fp256.pem HTTP/1.1", status: 301, location: "https://a.example" + path + "..%2f..%2fcertificates%2fa.example%2fp256.pem"},
		"a NUL":                   {request: "GET " + path + "%00 HTTP/1.1", status: 301, location: "https://a.example" + path + "%00"},
		"anything else":           {request: "GET /x%20y?a=b&c=%0d%0ad HTTP/1.1", status: 301, location: "https://a.example/x%20y?a=b&c=%0d%0ad"},
		"anything else, a port":   {request: "GET / HTTP/1.1", host: "a.example:8080", status: 301, location: "https://a.example/"},
		"head of anything else":   {request: "HEAD /x HTTP/1.1", status: 301, location: "https://a.example/x"},
		"two slashes":             {request: "GET //b.example/x HTTP/1.1", status: 301, location: "https://a.example//b.example/x"},
		"absolute, without path":  {request: "GET http://a.example HTTP/1.1", status: 301, location: "https://a.example/"},
		"a URL with no path":      {request: "GET x:.b.example/ HTTP/1.1", status: 400},
		"post":                    {request: "POST / HTTP/1.1", status: 405},
		"post of a challenge":     {request: "POST " + path + "to_ken-1 HTTP/1.1", status: 405},
		"options":                 {request: "OPTIONS * HTTP/1.1", status: 405},
		"connect":                 {request: "CONNECT a.example:443 HTTP/1.1", status: 405},
		"no host":                 {request: "GET / HTTP/1.0", host: "-", status: 400},
		"an address":              {request: "GET / HTTP/1.1", host: "127.0.0.1", status: 400},
		"an address of version 6": {request: "GET / HTTP/1.1", host: "[::1]:80", status: 400},
		"a host that is none":     {request: "GET / HTTP/1.1", host: "a..example", status: 400},
		"a host with a path":      {request: "GET / HTTP/1.1", host: "a.example/x", status: 400},
		"not the protocol":        {request: "\x16\x03\x01", status: 400},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			answers.looks.refill()
			header := "Host: " + test.host + "\r\n"
			switch test.host {
			case "-":
				header = ""
			case "":
				header = "Host: a.example\r\n"
			}
			response := exchange(t, address, test.request+"\r\n"+header+"Connection: close\r\n\r\n")
			body, _ := io.ReadAll(response.Body)
			if response.StatusCode != test.status || response.Header.Get("Location") != test.location {
				t.Errorf("%s, location %q", response.Status, response.Header.Get("Location"))
			}
			if test.status == 200 && (string(body) != test.body || response.Header.Get("Content-Type") != "text/plain") {
				t.Errorf("%q of type %q", body, response.Header.Get("Content-Type"))
			}
			if test.status == 405 && response.Header.Get("Allow") != "GET, HEAD" {
				t.Errorf("allows %q", response.Header.Get("Allow"))
			}
		})
	}
}

// TestHandlerWithABrokenStorage: it says that it can't tell, rather than redirect.
func TestHandlerWithABrokenStorage(t *testing.T) {
	storage := newMemory()
	storage.failWith(errors.New("input/output error"))
	response := exchange(t, serve(t, pendingIn(storage).Handler()), "GET "+wellKnown+"token HTTP/1.1\r\nHost: a.example\r\n\r\n")
	body, _ := io.ReadAll(io.LimitReader(response.Body, 1000))
	if response.StatusCode != 503 || strings.Contains(string(body), "input/output") {
		t.Errorf("%s: %s", response.Status, body)
	}
}

// TestOddTokensAreNotLookedFor: the storage never sees what is no token.
func TestOddTokensAreNotLookedFor(t *testing.T) {
	storage := newMemory()
	address := serve(t, pendingIn(storage).Handler())
	for _, token := range []string{"", "../x", "..%2fx", "a%00", "a.b", "a/b", strings.Repeat("a", maxToken+1)} {
		exchange(t, address, "GET "+wellKnown+token+" HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\n\r\n")
		if loads, lists := storage.asked(); loads+lists > 0 {
			t.Errorf("%q was looked for", token)
		}
	}
}

// TestServerIsBounded: a header that is too big is refused.
func TestServerIsBounded(t *testing.T) {
	address := serve(t, pendingIn(newMemory()).Handler())
	response := exchange(t, address, "GET / HTTP/1.1\r\nHost: a.example\r\nX: "+strings.Repeat("x", 20_000)+"\r\n\r\n")
	if response.StatusCode != http.StatusRequestHeaderFieldsTooLarge {
		t.Errorf("%s", response.Status)
	}
	s := NewServer(nil, zerolog.Nop()).http
	for what, limit := range map[string]time.Duration{"header": s.ReadHeaderTimeout, "read": s.ReadTimeout, "write": s.WriteTimeout, "idle": s.IdleTimeout} {
		if limit <= 0 || limit > 30*time.Second {
			t.Errorf("%s: %s", what, limit)
		}
	}
}

// TestShutdown: a request under way is answered, one that hangs is cut off, and nothing is accepted any more.
func TestShutdown(t *testing.T) {
	for name, hangs := range map[string]bool{"answers": false, "hangs": true} {
		t.Run(name, func(t *testing.T) {
			listener, err := net.Listen("tcp", "127.0.0.1:0")
			must(t, err)
			begun, release := make(chan struct{}), make(chan struct{})
			server := NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				close(begun)
				<-release
				fmt.Fprint(w, "done")
			}), zerolog.Nop())
			var group sync.WaitGroup
			group.Go(func() {
				if err := server.Serve(listener); err != nil {
					t.Errorf("serve: %v", err)
				}
			})
			conn, err := net.Dial("tcp", listener.Addr().String())
			must(t, err)
			defer conn.Close()
			_, err = io.WriteString(conn, "GET / HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\n\r\n")
			must(t, err)
			<-begun
			if !hangs {
				time.AfterFunc(100*time.Millisecond, func() { close(release) })
			}
			ctx, cancel := context.WithTimeout(t.Context(), map[bool]time.Duration{true: 200 * time.Millisecond, false: 5 * time.Second}[hangs])
			defer cancel()
			err = server.Shutdown(ctx)
			if (err != nil) != hangs {
				t.Errorf("shutdown: %v", err)
			}
			must(t, conn.SetDeadline(time.Now().Add(5*time.Second)))
			answer, err := io.ReadAll(conn)
			if errors.Is(err, os.ErrDeadlineExceeded) {
				t.Error("the connection is still open")
			}
			if strings.HasSuffix(string(answer), "done") == hangs {
				t.Errorf("answered %q", answer)
			}
			if hangs {
				close(release)
			}
			group.Wait()
			if again, err := net.Dial("tcp", listener.Addr().String()); err == nil {
				again.Close()
				t.Error("it goes on to accept")
			}
		})
	}
}

func FuzzHandler(fuzz *testing.F) {
	for _, each := range [][2]string{{"a.example", "/x"}, {"a.example:80", "http://b.example"}, {"", "*"}, {"A", "//x?y"}, {"a.example", "x:.b.example/"}} {
		fuzz.Add(each[0], each[1])
	}
	handler := pendingIn(newMemory()).Handler()
	fuzz.Fuzz(func(t *testing.T, host, target string) {
		request, err := http.ReadRequest(bufio.NewReader(strings.NewReader("GET " + target + " HTTP/1.1\r\nHost: " + host + "\r\n\r\n")))
		if err != nil || strings.HasPrefix(request.URL.Path, wellKnown) {
			return
		}
		recorder := httptest.NewRecorder()
		handler.ServeHTTP(recorder, request)
		switch recorder.Code {
		case http.StatusBadRequest:
		case http.StatusMovedPermanently:
			name, _ := hostOf(request.Host)
			location, err := url.Parse(recorder.Header().Get("Location"))
			if err != nil || location.Scheme != "https" || location.Host != name || name == "" || location.Path != "" && location.Path[0] != '/' {
				t.Errorf("%q of %q: redirected to %q, %v", target, host, recorder.Header().Get("Location"), err)
			}
		default:
			t.Errorf("%d", recorder.Code)
		}
	})
}
