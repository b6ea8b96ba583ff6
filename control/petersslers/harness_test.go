package petersslers

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"
	"go.uber.org/goleak"

	"hellogate/cache"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const prefix = "/.peter_sslers/nginx/shared_cache"

// fakeCache holds the names that a test put into it.
type fakeCache struct {
	mu             sync.Mutex
	names, unknown []string
	flushes        []string      // as they were asked for
	fails          error         // of a flush
	began, wait    chan struct{} // of a flush of everything; nil: it takes no time
}

func (f *fakeCache) FlushAll() (flushed, pinned []string, err error) {
	if f.wait != nil {
		close(f.began)
		<-f.wait
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.flushes = append(f.flushes, "*")
	flushed, f.names, f.unknown = f.names, nil, nil
	return flushed, nil, f.fails
}

func (f *fakeCache) Flush(names ...string) (flushed, pinned []string, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.flushes = append(f.flushes, names...)
	f.names = slices.DeleteFunc(f.names, func(name string) bool {
		if slices.Contains(names, name) {
			flushed = append(flushed, name)
			return true
		}
		return false
	})
	return flushed, nil, f.fails
}

func (f *fakeCache) Sample(count int) (infos []cache.Info) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, name := range f.names[:min(count, len(f.names))] {
		infos = append(infos, cache.Info{Name: name})
	}
	return infos
}

func (f *fakeCache) Unknown(count int) []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.unknown[:min(count, len(f.unknown))]
}

// says is a password that never changes.
func says(password string) func() (string, error) {
	return func() (string, error) { return password, nil }
}

// logged is a log that can be read while it is written.
type logged struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *logged) Write(line []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(line)
}

func (l *logged) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// running is a Server on a real port.
type running struct {
	url    string
	cache  *fakeCache
	log    *logged
	client *http.Client
	end    context.CancelFunc
	ended  chan error
}

func serve(t *testing.T, change func(*Options)) *running {
	t.Helper()
	r := &running{cache: new(fakeCache), log: new(logged), client: &http.Client{Transport: new(http.Transport), Timeout: 5 * time.Second}}
	options := Options{Address: "127.0.0.1:0", Certificates: r.cache, Version: "1.2.3", Log: zerolog.New(r.log)}
	if change != nil {
		change(&options)
	}
	server, err := Listen(options)
	if err != nil {
		t.Fatal(err)
	}
	r.url = "http://" + server.Addr().String()
	ctx, cancel := context.WithCancel(context.Background())
	r.end, r.ended = cancel, make(chan error, 1)
	go func() { r.ended <- server.Serve(ctx) }()
	t.Cleanup(func() {
		r.client.CloseIdleConnections()
		cancel()
		if err := <-r.ended; err != nil {
			t.Error(err)
		}
	})
	return r
}

// ask sends a request and returns its answer, whose header every answer has to have.
func (r *running) ask(t *testing.T, method, path, user string) (status int, body string, header http.Header) {
	t.Helper()
	request, err := http.NewRequest(method, r.url+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	if username, password, found := strings.Cut(user, ":"); found {
		request.SetBasicAuth(username, password)
	}
	response, err := r.client.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	if kind, version := response.Header.Get("Content-Type"), response.Header.Get("x-peter-sslers"); kind != "application/json" || version != "1.2.3" {
		t.Errorf("%s %s: content type %q, version %q", method, path, kind, version)
	}
	return response.StatusCode, string(text), response.Header
}

func dial(t *testing.T, address string) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

// get sends a request and reads its answer, and leaves the connection open.
func get(t *testing.T, conn net.Conn, path string) {
	t.Helper()
	_ = conn.SetDeadline(time.Now().Add(5 * time.Second))
	if _, err := io.WriteString(conn, "GET "+path+" HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	response, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil || response.StatusCode != http.StatusOK {
		t.Fatalf("%+v, %v", response, err)
	}
	if _, err := io.Copy(io.Discard, response.Body); err != nil {
		t.Fatal(err)
	}
}
