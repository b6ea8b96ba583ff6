package control

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"
)

func TestClientStreamsALongList(t *testing.T) {
	t.Parallel()
	r := serve(t, nil)
	const count = 20_000
	for i := range count {
		r.cache.infos = append(r.cache.infos, certificate(fmt.Sprintf("n%d.example", i)))
	}
	got := 0
	for cert, err := range r.client.Certs(t.Context(), CertsRequest{}) {
		if err != nil {
			t.Fatal(err)
		}
		if cert.Name != fmt.Sprintf("n%d.example", got) {
			t.Fatalf("%d: %s", got, cert.Name)
		}
		got++
	}
	if got != count {
		t.Errorf("got %d of %d", got, count)
	}
	for range r.client.Certs(t.Context(), CertsRequest{Pattern: "*.example"}) {
		break // whoever stops early leaves nothing behind: goleak looks
	}
}

func TestClientSeesAListThatIsCutShort(t *testing.T) {
	for _, body := range []string{`{"certs":[`, `{"certs":[{"name":"a.example"}`, `{"certs":[{"name":"a.ex`, ``} {
		path := socketPath(t)
		listener, err := net.Listen("unix", path)
		if err != nil {
			t.Fatal(err)
		}
		go func() {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			defer conn.Close()
			io.ReadAtLeast(conn, make([]byte, 4096), 1)
			fmt.Fprintf(conn, "HTTP/1.0 200 OK\r\n\r\n%s", body)
		}()
		client := NewClient(path)
		var last error
		for _, err := range client.Certs(t.Context(), CertsRequest{}) {
			last = err
		}
		if last == nil {
			t.Errorf("%q is taken for the whole list", body)
		}
		client.Close()
		listener.Close()
	}
}

func TestClientPrefetches(t *testing.T) {
	r := serve(t, nil)
	results := map[string]string{}
	for result, err := range r.client.Prefetch(t.Context(), []string{"a.example", "unknown.example"}) {
		if err != nil {
			t.Fatal(err)
		}
		results[result.Name] = result.Result
	}
	if results["a.example"] != "fetched" || results["unknown.example"] != "unknown" || len(results) != 2 {
		t.Errorf("got %v", results)
	}
}

// Prefetching goes on for longer than any single timeout of the server.
func TestAPrefetchMayTakeLong(t *testing.T) {
	t.Parallel()
	slow := &fakeCache{prefetch: func(ctx context.Context, _ string) (string, string) {
		select {
		case <-time.After(time.Second):
			return "fetched", ""
		case <-ctx.Done():
			return "failed", ctx.Err().Error()
		}
	}}
	path := socketPath(t)
	server := &http.Server{
		Handler:     NewServer(Options{Certificates: slow, Log: zerolog.Nop()}).everything(),
		ReadTimeout: 200 * time.Millisecond, WriteTimeout: 200 * time.Millisecond,
	}
	ended := make(chan error)
	socket := listenAt(t, path)
	go func() { ended <- server.Serve(socket) }()
	client := NewClient(path)
	results := 0
	for result, err := range client.Prefetch(t.Context(), []string{"a.example"}) {
		if err != nil || result.Result != "fetched" {
			t.Errorf("%+v, %v", result, err)
		}
		results++
	}
	if results != 1 {
		t.Errorf("%d results", results)
	}
	client.Close()
	server.Close()
	<-ended
}

func TestAClientThatGoesEndsItsPrefetch(t *testing.T) {
	r := serve(t, nil)
	began, ended := make(chan struct{}, 1000), make(chan struct{}, 1000)
	r.cache.prefetch = func(ctx context.Context, _ string) (string, string) {
		began <- struct{}{}
		<-ctx.Done()
		ended <- struct{}{}
		return "failed", "cancelled"
	}
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		<-began
		cancel()
	}()
	for range r.client.Prefetch(ctx, make([]string, 0, 1000)) {
	}
	names := make([]string, 1000)
	for i := range names {
		names[i] = fmt.Sprintf("n%d.example", i)
	}
	for range r.client.Prefetch(ctx, names) {
	}
	select {
	case <-ended:
	case <-time.After(5 * time.Second):
		t.Error("still fetching")
	}
	time.Sleep(50 * time.Millisecond)
	if left := len(began); left > 2*prefetchers {
		t.Errorf("%d more were begun", left)
	}
}

// A process that is stopped still has its connections taken, by the kernel, and what is sent on them.
func TestClientOfOneThatDoesNotAnswer(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name   string
		answer string // that is sent before it stops
		ask    func(*Client) error
	}{
		{"status", "", func(c *Client) error { _, err := c.Status(t.Context()); return err }},
		{"copy", "", func(c *Client) error { return c.Copy(t.Context(), io.Discard, "/status") }},
		{"shutdown", "", func(c *Client) error { return c.Shutdown(t.Context()) }},
		{"more than the socket takes", "", func(c *Client) error {
			_, err := c.Flush(t.Context(), FlushRequest{Pattern: strings.Repeat("x", 4<<20)})
			return err
		}},
		{"half an answer", "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{", func(c *Client) error { _, err := c.Status(t.Context()); return err }},
		{"half a list", "HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{\"certs\":[", func(c *Client) error { return last(c.Certs(t.Context(), CertsRequest{})) }},
		{"prefetch", "", func(c *Client) error { return last(c.Prefetch(t.Context(), []string{"a.example"})) }},
		{"explain with a fetch", "", func(c *Client) error {
			_, err := c.Explain(t.Context(), "a.example", ExplainOptions{Fetch: true})
			return err
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			path := socketPath(t)
			listener, err := net.Listen("unix", path)
			if err != nil {
				t.Fatal(err)
			}
			defer listener.Close()
			if c.answer != "" {
				go func() {
					if conn, err := listener.Accept(); err == nil {
						t.Cleanup(func() { conn.Close() })
						conn.Read(make([]byte, 4096)) // an answer before the request would be another fault
						io.WriteString(conn, c.answer)
					}
				}()
			}
			client := newClient(path, 200*time.Millisecond, time.Minute)
			defer client.Close()
			ended := make(chan error, 1)
			go func() { ended <- c.ask(client) }()
			select {
			case err = <-ended:
			case <-time.After(5 * time.Second):
				t.Fatal("hangs")
			}
			if want := "control socket " + path + ": no answer (is hellogate stopped, or overloaded?)"; err == nil || err.Error() != want {
				t.Errorf("got %v, want %s", err, want)
			}
		})
	}
}

// last is the error that ends a list.
func last[V any](list iter.Seq2[V, error]) (err error) {
	for _, err = range list {
	}
	return err
}

// What a store is waited for may take longer than any other answer.
func TestClientWaitsForAFetch(t *testing.T) {
	t.Parallel()
	const answer = 200 * time.Millisecond
	r := serve(t, nil)
	r.cache.prefetch = func(context.Context, string) (string, string) {
		time.Sleep(3 * answer)
		return "fetched", ""
	}
	client := newClient(r.path, answer, time.Minute)
	defer client.Close()
	if err := last(client.Prefetch(t.Context(), []string{"a.example"})); err != nil {
		t.Errorf("prefetch: %v", err)
	}
	explanation, err := client.Explain(t.Context(), "a.example", ExplainOptions{Fetch: true})
	if err != nil || !slices.Contains(explanation.Steps, Step{Step: "fetch", Result: "fetched"}) {
		t.Errorf("explain: %+v, %v", explanation, err)
	}
	if err := client.ExplainJSON(t.Context(), io.Discard, "a.example", ExplainOptions{Fetch: true}); err != nil {
		t.Errorf("explain as JSON: %v", err)
	}
}

func TestClientOfAPathThatIsTooLong(t *testing.T) {
	_, err := NewClient("/" + strings.Repeat("x", 199)).Status(t.Context())
	if err == nil || !strings.HasSuffix(err.Error(), "x: 200 bytes long: a socket's path has at most 103") {
		t.Errorf("got %v", err)
	}
}

func TestClientErrors(t *testing.T) {
	gone := NewClient(socketPath(t))
	_, err := gone.Status(t.Context())
	if err == nil || !strings.Contains(err.Error(), "is hellogate running?") || strings.Contains(err.Error(), "\n") {
		t.Errorf("got %v", err)
	}
	r := serve(t, nil)
	_, err = r.client.Cert(t.Context(), "a.example")
	if refused, ok := errors.AsType[*Refused](err); !ok || refused.Code != 404 || err.Error() != "a.example: not in the cache" {
		t.Errorf("got %v", err)
	}
	_, err = r.client.Flush(t.Context(), FlushRequest{})
	if err == nil || !strings.Contains(err.Error(), "nothing to flush") {
		t.Errorf("got %v", err)
	}
}

// F42: whoever may connect can't keep others from being answered for long, nor make the server hold much.
func TestAbuse(t *testing.T) {
	if testing.Short() {
		t.Skip("takes as long as the server's header timeout")
	}
	t.Parallel()
	r := serve(t, nil, "a.example")
	for range 2 * ConnectionLimit {
		conn := connect(t, r.path)
		io.WriteString(conn, "POST /flush HTTP/1.1\r\nHost: x\r\nContent-Le")
	}
	endless := connect(t, r.path)
	go func() {
		line := []byte(strings.Repeat("x", 64<<10))
		endless.Write([]byte("GET /"))
		for range 1000 {
			if _, err := endless.Write(line); err != nil {
				return
			}
		}
		t.Error("64 MB of request line were taken")
	}()
	ctx, cancel := context.WithTimeout(t.Context(), 3*headerTimeout)
	defer cancel()
	if _, err := r.client.Status(ctx); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(r.path); err != nil {
		t.Error(err)
	}
}
