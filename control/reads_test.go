package control

import (
	"context"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"hellogate/control/events"
)

// aside serves the same Server on another listener, and returns what asks there.
func aside(t *testing.T, listener net.Listener, serve func(context.Context, net.Listener) error) func(method, path string) (int, string, http.Header) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- serve(ctx, listener) }()
	address := listener.Addr()
	client := &http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, address.Network(), address.String())
		},
	}}
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return func(method, path string) (int, string, http.Header) {
		t.Helper()
		request, err := http.NewRequest(method, "http://hellogate"+path, strings.NewReader(`{"all":true}`))
		if err != nil {
			t.Fatal(err)
		}
		response, err := client.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		defer response.Body.Close()
		text, err := io.ReadAll(response.Body)
		if err != nil {
			t.Fatal(err)
		}
		return response.StatusCode, string(text), response.Header
	}
}

// everyOption is a Server that has every request there is.
func everyOption(t *testing.T) (*Server, *fakeCache) {
	held := &fakeCache{prefetch: func(context.Context, string) (string, string) {
		t.Error("a store was asked")
		return "", ""
	}}
	held.infos = append(held.infos, certificate("a.example"))
	never := func() { t.Error("shut down") }
	return NewServer(Options{
		Version: "1.2.3", Certificates: held, Traffic: fakeTraffic{connections: someConnections()}, Backends: twoServers(), Profiles: true,
		Disk: func() DiskStatus { return DiskStatus{} }, Shutdown: never, Events: events.NewHub(),
		Reload:  func() (ReloadResult, error) { never(); return ReloadResult{}, nil },
		Upgrade: func(context.Context) (int, error) { never(); return 0, nil },
	}), held
}

func TestTheReadSocketChangesNothing(t *testing.T) {
	server, held := everyOption(t)
	listener, err := net.Listen("unix", socketPath(t))
	if err != nil {
		t.Fatal(err)
	}
	ask := aside(t, listener, server.ServeReads)
	for _, path := range []string{
		"/status", "/version", "/certs", "/certs/a.example", "/backends", "/connections", "/metrics", "/healthz", "/readyz", "/explain/a.example",
	} {
		if status, text, _ := ask("GET", path); status != 200 {
			t.Errorf("GET %s: %d %s", path, status, text)
		}
		if status, text, _ := ask("HEAD", path); status != 200 || text != "" {
			t.Errorf("HEAD %s: %d %s", path, status, text)
		}
	}
	for _, c := range []struct{ method, path string }{
		{"POST", "/flush"},
		{"POST", "/flush/all"},
		{"POST", "/flush/a.example"},
		{"POST", "/prefetch"},
		{"POST", "/shutdown"},
		{"POST", "/reload"},
		{"POST", "/upgrade"},
		{"PUT", "/certs/b.example?ephemeral=true"},
		{"DELETE", "/certs/a.example"},
		{"POST", "/backends/mail/%5B::1%5D:143/drain"},
		{"POST", "/connections/kill"},
		{"POST", "/debug/pprof/symbol"},
		{"POST", "/status"},
		{"PATCH", "/status"},
		{"OPTIONS", "/status"},
		{"POST", "/nothing"},
	} {
		status, text, header := ask(c.method, c.path)
		if status != 405 || header.Get("Allow") != "GET, HEAD" || !strings.Contains(text, "read-only") {
			t.Errorf("%s %s: %d %s", c.method, c.path, status, text)
		}
	}
	for _, c := range []struct {
		path   string
		status int
	}{
		{"/debug/pprof", 404},
		{"/debug/pprof/", 404},
		{"/debug/pprof/heap", 404},
		{"/debug/pprof/cmdline", 404},
		{"/explain/a.example?fetch=true", 403},
		{"/flush/all", 404},
		{"/shutdown", 404},
		{"/backends/mail/%5B::1%5D:143/drain", 404},
		{"//status", 404},
	} {
		if status, text, _ := ask("GET", c.path); status != c.status || !strings.Contains(text, `"result":"error"`) {
			t.Errorf("GET %s: %d %s", c.path, status, text)
		}
	}
	if len(held.locked()) != 1 {
		t.Errorf("%d certificates are left", len(held.locked()))
	}
}

// The TCP address has what machines look with, and not one thing more.
func TestTheAdminAddress(t *testing.T) {
	server, _ := everyOption(t)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ask := aside(t, listener, server.ServeAdmin)
	for path, want := range map[string]string{
		"/status": `"version":"1.2.3"`, "/metrics": "hellogate_connections_active 3\n", "/healthz": `{"result":"success"}`, "/readyz": `{"result":"success"}`,
	} {
		if status, text, _ := ask("GET", path); status != 200 || !strings.Contains(text, want) {
			t.Errorf("GET %s: %d %s", path, status, text)
		}
		if status, _, header := ask("POST", path); status != 405 || header.Get("Allow") != "GET, HEAD" {
			t.Errorf("POST %s: %d", path, status)
		}
	}
	for _, path := range []string{"/certs", "/certs/a.example", "/connections", "/backends", "/events", "/explain/a.example", "/version", "/debug/pprof/", "/debug/pprof/heap", "/"} {
		if status, text, _ := ask("GET", path); status != 404 || !strings.Contains(text, "no such path") {
			t.Errorf("GET %s: %d %s", path, status, text)
		}
	}
}

func TestReadiness(t *testing.T) {
	yes, no := func() bool { return true }, func() bool { return false }
	for _, c := range []struct {
		name            string
		ready, draining func() bool
		status          int
		want            string
	}{
		{"ready", yes, no, 200, `"success"`},
		{"nothing said", nil, nil, 200, `"success"`},
		{"starting", no, no, 503, `"reason":"starting: `},
		{"draining", yes, yes, 503, `"reason":"draining: `},
		{"draining before it was ready", no, yes, 503, `"reason":"draining: `},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := serve(t, func(o *Options) { o.Ready, o.Draining = c.ready, c.draining })
			if status, text, _ := r.ask(t, "GET", "/readyz", ""); status != c.status || !strings.Contains(text, c.want) {
				t.Errorf("%d %s", status, text)
			}
			if status, _, _ := r.ask(t, "GET", "/healthz", ""); status != 200 {
				t.Errorf("not alive: %d", status)
			}
		})
	}
}

// Whoever reaches the TCP address can't keep others from being answered for long.
func TestAbuseOfTheAdminAddress(t *testing.T) {
	if testing.Short() {
		t.Skip("takes as long as the server's header timeout")
	}
	t.Parallel()
	server, _ := everyOption(t)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ask := aside(t, listener, server.ServeAdmin)
	for range 2 * ConnectionLimit {
		conn, err := net.Dial("tcp", listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		io.WriteString(conn, "GET /metrics HTTP/1.1\r\nHost: x\r\nX: ")
	}
	began := time.Now()
	if status, _, _ := ask("GET", "/healthz"); status != 200 {
		t.Errorf("%d", status)
	}
	if took := time.Since(began); took < headerTimeout/2 {
		t.Errorf("answered after %v beside %d that wait: there is no limit", took, 2*ConnectionLimit)
	}
}
