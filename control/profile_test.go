package control

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"
)

func withProfiles(options *Options) { options.Profiles = true }

func TestProfilesAreOffUnlessAskedFor(t *testing.T) {
	r := serve(t, nil)
	for _, path := range []string{"/debug/pprof", "/debug/pprof/", "/debug/pprof/heap", "/debug/pprof/cmdline", "/debug/pprof/none"} {
		for _, method := range []string{"GET", "POST"} {
			status, text, _ := r.ask(t, method, path, "")
			if want := `{"result":"error","reason":"profiles are off: hellogate run --pprof serves them"}`; status != 404 || strings.TrimSpace(text) != want {
				t.Errorf("%s %s: got %d %s", method, path, status, text)
			}
		}
	}
}

func TestProfiles(t *testing.T) {
	for _, c := range []struct {
		name, method, path, body string
		status                   int
		want                     string // in the answer
	}{
		{"index", "GET", "/debug/pprof/", "", 200, "goroutine?debug=1"},
		{"index without its slash", "GET", "/debug/pprof", "", 200, "goroutine?debug=1"},
		{"goroutines", "GET", "/debug/pprof/goroutine?debug=1", "", 200, "goroutine profile: total "},
		{"goroutines with arguments", "GET", "/debug/pprof/goroutine?debug=2", "", 400, "debug: 0 or 1"},
		{"goroutines with arguments, written otherwise", "GET", "/debug/pprof/goroutine?debug=%2B02", "", 400, "debug: 0 or 1"},
		{"heap", "GET", "/debug/pprof/heap?debug=1&gc=1", "", 200, "heap profile: "},
		{"memory over a time", "GET", "/debug/pprof/allocs?seconds=1", "", 200, "\x1f\x8b"},
		{"CPU", "GET", "/debug/pprof/profile?seconds=1", "", 200, "\x1f\x8b"},
		{"trace", "GET", "/debug/pprof/trace?seconds=0.1", "", 200, "go 1."},
		{"command line", "GET", "/debug/pprof/cmdline", "", 200, "control.test"},
		{"symbol", "GET", "/debug/pprof/symbol", "", 200, "num_symbols: 1"},
		{"symbols", "POST", "/debug/pprof/symbol", "0x1", 200, "num_symbols: 1"},
		{"unknown", "GET", "/debug/pprof/none", "", 404, "Unknown profile"},
		{"wrong method", "POST", "/debug/pprof/heap", "", 405, "takes GET"},
		{"path that is not clean", "GET", "/debug/pprof//heap", "", 404, "no such path"},
		{"elsewhere", "GET", "/debug/", "", 404, "no such path"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			r := serve(t, withProfiles)
			status, text, _ := r.ask(t, c.method, c.path, c.body)
			if status != c.status || !strings.Contains(text, c.want) {
				t.Errorf("got %d %.300q, want %d %q", status, text, c.status, c.want)
			}
		})
	}
}

// A profile outlives the server's deadlines, which are for requests that end at once.
func TestProfileLongerThanTheDeadlines(t *testing.T) {
	handler := NewServer(Options{Profiles: true, Log: zerolog.Nop()})
	for _, path := range []string{"/debug/pprof/allocs?seconds=1", "/debug/pprof/profile?seconds=1", "/debug/pprof/trace?seconds=1"} {
		t.Run(path, func(t *testing.T) {
			server := httptest.NewUnstartedServer(handler.everything())
			server.Config.ReadTimeout, server.Config.WriteTimeout = 200*time.Millisecond, 200*time.Millisecond
			server.Start()
			defer server.Close()
			response, err := server.Client().Get(server.URL + path)
			if err != nil {
				t.Fatal(err)
			}
			defer response.Body.Close()
			body, err := io.ReadAll(response.Body)
			if err != nil || response.StatusCode != http.StatusOK {
				t.Errorf("got %s %.100q: %v", response.Status, body, err)
			}
		})
	}
}

// A profile that was asked for does not hold up the end, and what there is of it is still delivered.
func TestProfileIsCutShortByTheEnd(t *testing.T) {
	for _, c := range []struct {
		name, path string
		whole      func(answer []byte) error
	}{
		{"CPU", "/debug/pprof/profile?seconds=60", gunzip},
		{"trace", "/debug/pprof/trace?seconds=60", nothing},
	} {
		t.Run(c.name, func(t *testing.T) {
			path := socketPath(t)
			socket, err := Listen(SocketOptions{Path: path})
			if err != nil {
				t.Fatal(err)
			}
			defer socket.Close()
			ctx, cancel := context.WithCancel(t.Context())
			ended := make(chan error, 1)
			go func() {
				ended <- NewServer(Options{Profiles: true, Log: zerolog.Nop()}).Serve(ctx, socket)
			}()
			conn := connect(t, path)
			io.WriteString(conn, "GET "+c.path+" HTTP/1.1\r\nHost: hellogate\r\nConnection: close\r\n\r\n")
			time.Sleep(300 * time.Millisecond)
			cancel()
			began := time.Now()
			response := readResponse(t, conn)
			if err := <-ended; err != nil {
				t.Error(err)
			}
			if took := time.Since(began); took > closeTimeout {
				t.Errorf("ended after %v", took)
			}
			if err := c.whole(response); err != nil {
				t.Errorf("%d bytes: %v", len(response), err)
			}
		})
	}
}

func readResponse(t *testing.T, conn net.Conn) []byte {
	t.Helper()
	all, err := io.ReadAll(conn)
	if err != nil {
		t.Fatal(err)
	}
	response, err := http.ReadResponse(bufio.NewReader(bytes.NewReader(all)), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil || response.StatusCode != http.StatusOK || len(body) == 0 {
		t.Errorf("got %s with %d bytes: %v", response.Status, len(body), err)
	}
	return body
}

func gunzip(answer []byte) error {
	reader, err := gzip.NewReader(bytes.NewReader(answer))
	if err == nil {
		_, err = io.Copy(io.Discard, reader)
	}
	return err
}

func nothing([]byte) error { return nil }
