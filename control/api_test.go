package control

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/rs/zerolog"

	"hellogate/breaker"
	"hellogate/cache"
	"hellogate/cache/permission"
	"hellogate/store"
	"hellogate/store/chain"
	"hellogate/terminate/pool"
)

// running is a Server on a real socket.
type running struct {
	path      string
	cache     *fakeCache
	client    *Client
	log       *logged
	shutdowns atomic.Int64
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

func serve(t *testing.T, change func(*Options), names ...string) *running {
	t.Helper()
	r := &running{path: socketPath(t), cache: new(fakeCache), log: new(logged)}
	for _, name := range names {
		r.cache.infos = append(r.cache.infos, certificate(name))
	}
	options := Options{
		Version:      "1.2.3",
		Started:      time.Now().Add(-time.Minute),
		Certificates: r.cache,
		Traffic:      fakeTraffic{},
		Stores:       storesOf(fakeStore{Name: "store"}),
		Backends:     pools(pool.Status{Name: "mail", Servers: []pool.ServerStatus{{Address: "127.0.0.1:1", Weight: 1}}}),
		Shutdown:     func() { r.shutdowns.Add(1) },
		Log:          zerolog.New(r.log),
	}
	if change != nil {
		change(&options)
	}
	socket, err := Listen(SocketOptions{Path: r.path})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- NewServer(options).Serve(ctx, socket) }()
	r.client = NewClient(r.path)
	t.Cleanup(func() {
		r.client.Close()
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		socket.Close()
	})
	return r
}

// socketPath is short enough for a socket, which that of t.TempDir need not be.
func socketPath(t *testing.T) string {
	t.Helper()
	directory, err := os.MkdirTemp("", "hg")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(directory) })
	return filepath.Join(directory, "control.sock")
}

// ask sends a request as curl would.
func (r *running) ask(t *testing.T, method, path, body string) (status int, text string, header http.Header) {
	t.Helper()
	request, err := http.NewRequest(method, "http://hellogate"+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	response, err := r.client.http.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	answer, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response.StatusCode, string(answer), response.Header
}

func TestAnswers(t *testing.T) {
	t.Parallel()
	const long = "a.example"
	for _, c := range []struct {
		name, method, path, body string
		status                   int
		want                     string // in the answer
	}{
		{"version", "GET", "/version", "", 200, `"version":"1.2.3"`},
		{"status", "GET", "/status", "", 200, `"connections":{"active":3,"total":9,"limit":100`},
		{"status takes no parameters", "GET", "/status?x=1", "", 400, `unknown parameter \"x\"`},
		{"certs", "GET", "/certs", "", 200, `{"certs":[{"name":"a.example"`},
		{"certs by pattern", "GET", "/certs?pattern=b.example", "", 200, `{"certs":[{"name":"b.example"`},
		{"certs by bad pattern", "GET", "/certs?pattern=**", "", 400, `"result":"error"`},
		{"cert", "GET", "/certs/" + long, "", 200, `"name":"a.example"`},
		{"cert with a trailing dot", "GET", "/certs/a.example.", "", 200, `"name":"a.example"`},
		{"cert in upper case", "GET", "/certs/A.EXAMPLE", "", 200, `"name":"a.example"`},
		{"cert of an unknown name", "GET", "/certs/other.example", "", 404, `not in the cache`},
		{"cert of no name", "GET", "/certs/a_b..c", "", 400, `"result":"error"`},
		{"cert of a path", "GET", "/certs/..%2Fetc", "", 400, `"result":"error"`},
		{"backends", "GET", "/backends", "", 200, `{"backends":[{"name":"mail","balance":"round_robin","queued":0,"panic":false,"servers":[{"address":"127.0.0.1:1","endpoint":"","state":"up"`},
		{"explain", "GET", "/explain/a.example", "", 200, `"route":".example","action":"terminate","backend":"mail"`},
		{"explain with a bad flag", "GET", "/explain/a.example?fetch=perhaps", "", 400, `fetch is true or false`},
		{"explain what is rejected", "GET", "/explain/rejected.example", "", 200, `"action":"reject"`},
		{"explain what no route takes", "GET", "/explain/a.nowhere", "", 200, `"outcome":"refused with alert 112 (unrecognized_name): no route takes this name"`},
		{"explain with protocols", "GET", "/explain/alpn.example?alpn=rejected", "", 200, `"action":"reject"`},
		{"explain without a route", "GET", "/explain/a.nowhere", "", 200, `no route`},
		{"flush a name", "POST", "/flush/a.example", "", 200, `{"result":"success","flushed":["a.example"],"pinned":[]}`},
		{"flush an unknown name", "POST", "/flush/other.example", "", 200, `{"result":"success","flushed":[],"pinned":[]}`},
		{"flush no name", "POST", "/flush/-", "", 400, `"result":"error"`},
		{"flush all", "POST", "/flush/all", "", 200, `"flushed":["a.example","b.example"]`},
		{"flush names", "POST", "/flush", `{"names":["B.example.","a.example"]}`, 200, `"flushed":["a.example","b.example"]`},
		{"flush by pattern", "POST", "/flush", `{"pattern":"*.example"}`, 200, `"flushed":["a.example","b.example"]`},
		{"flush by fingerprint", "POST", "/flush", `{"fingerprint":"` + fmt.Sprintf("%064x", 9) + `"}`, 200, `"flushed":["a.example","b.example"]`},
		{"flush by bad fingerprint", "POST", "/flush", `{"fingerprint":"00"}`, 400, `not 64 hexadecimal digits`},
		{"flush everything by body", "POST", "/flush", `{"all":true}`, 200, `"flushed":["a.example","b.example"]`},
		{"flush nothing", "POST", "/flush", `{}`, 400, `nothing to flush`},
		{"flush with an empty body", "POST", "/flush", ``, 400, `body: EOF`},
		{"flush an unknown field", "POST", "/flush", `{"name":"a.example"}`, 400, `unknown field`},
		{"flush two values", "POST", "/flush", `{"all":true}{}`, 400, `more than one JSON value`},
		{"flush one bad name of two", "POST", "/flush", `{"names":["a.example","b..c"]}`, 400, `"result":"error"`},
		{"prefetch", "POST", "/prefetch", `{"names":["x.example"]}`, 200, `{"name":"x.example","result":"fetched","reason":""}` + "\n"},
		{"prefetch nothing", "POST", "/prefetch", `{"names":[]}`, 400, `nothing to fetch`},
		{"shutdown", "POST", "/shutdown", "", 200, `{"result":"success"}`},
		{"wrong method", "POST", "/status", "", 405, `takes GET`},
		{"wrong method of a name", "PUT", "/flush/a.example", "", 405, `takes POST`},
		{"delete what is not pinned", "DELETE", "/certs/a.example", "", 404, `not pinned`},
		{"delete everything", "DELETE", "/certs", "", 405, `takes GET`},
		{"put without a disk", "PUT", "/certs/a.example", `{}`, 409, `--ephemeral`},
		{"put what is refused", "PUT", "/certs/refused.example?ephemeral=true", pairJSON, 400, `refused`},
		{"put nonsense", "PUT", "/certs/new.example?ephemeral=true", `{"cert":"x","key":"y"}`, 400, `certificate for \"new.example\": json: key holds`},
		{"put too much", "PUT", "/certs/new.example?ephemeral=true", strings.Repeat("x", store.MaxBody+1), 413, `more than`},
		{"put", "PUT", "/certs/new.example?ephemeral=true", pairJSON, 200, `{"result":"success"}`},
		{"certs that expire soon", "GET", "/certs?expiring=60", "", 200, `{"certs":[]}`},
		{"certs that expire some time", "GET", "/certs?expiring=999999999&pattern=b.example", "", 200, `{"certs":[{"name":"b.example"`},
		{"certs that expire some day", "GET", "/certs?expiring=7d", "", 400, `seconds expected`},
		{"events where there are none", "GET", "/events", "", 404, `no such path`},
		{"reload without a file", "POST", "/reload", "", 404, `no such path`},
		{"upgrade where there is none", "POST", "/upgrade", "", 404, `no such path`},
		{"health", "GET", "/healthz", "", 200, `{"result":"success"}`},
		{"readiness", "GET", "/readyz", "", 200, `{"result":"success"}`},
		{"explain with a bad client", "GET", "/explain/a.example?client=mail", "", 400, `client \"mail\": an IP address expected`},
		{"explain with an unknown listener", "GET", "/explain/a.example?listener=x", "", 400, `listener \"x\": there is none of that name, but inside, outside`},
		{"unknown path", "GET", "/nothing", "", 404, `{"result":"error","reason":"no such path: \"/nothing\""}`},
		{"root", "GET", "/", "", 404, `no such path`},
		{"path that is not clean", "GET", "//status", "", 404, `no such path`},
		{"body that is too large", "POST", "/flush", `{"pattern":"` + strings.Repeat("x", bodyBytes) + `"}`, 413, `larger than`},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := serve(t, nil, "a.example", "b.example")
			status, text, header := r.ask(t, c.method, c.path, c.body)
			if status != c.status || !strings.Contains(text, c.want) {
				t.Errorf("got %d %s, want %d %s", status, text, c.status, c.want)
			}
			if kind := header.Get("Content-Type"); kind != "application/json" && kind != "application/x-ndjson" {
				t.Errorf("content type %q", kind)
			}
			if status >= 400 {
				var problem Problem
				if err := json.Unmarshal([]byte(text), &problem); err != nil || problem.Result != "error" || problem.Reason == "" {
					t.Errorf("not an error: %s (%v)", text, err)
				}
			}
			if status == 405 && header.Get("Allow") == "" {
				t.Error("no Allow header")
			}
		})
	}
}

// pairJSON is a pair that can be decoded.
var pairJSON = func() string {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		panic(err)
	}
	chain := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: []byte("not looked at here")})
	body, _ := json.Marshal(map[string]string{
		"cert": string(chain), "key": string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})),
	})
	return string(body)
}()

// What was put there by hand is shown as that, stays through a flush, and can be removed.
func TestPinned(t *testing.T) {
	r := serve(t, func(o *Options) { o.Disk = func() DiskStatus { return DiskStatus{Path: "/x", Records: 7} } })
	for _, c := range []struct{ method, path, body, want string }{
		{"PUT", "/certs/new.example", pairJSON, `{"result":"success"}`},
		{"GET", "/certs/new.example", "", `"source":"pinned"`},
		{"POST", "/flush/all", "", `{"result":"success","flushed":[],"pinned":["new.example"]}`},
		{"GET", "/status", "", `"disk":{"path":"/x","records":7`},
		{"DELETE", "/certs/new.example", "", `{"result":"success"}`},
		{"GET", "/certs/new.example", "", `not in the cache`},
	} {
		if _, text, _ := r.ask(t, c.method, c.path, c.body); !strings.Contains(text, c.want) {
			t.Errorf("%s %s: got %s, want %s", c.method, c.path, text, c.want)
		}
	}
}

// histogramPart is what the names of a histogram's values end with.
var histogramPart = regexp.MustCompile(`_(bucket|sum|count)$`)

// Metrics are in Prometheus' text format: every line is a comment or a value, every value has its type before it.
func TestMetrics(t *testing.T) {
	r := serve(t, nil, "a.example")
	status, text, header := r.ask(t, "GET", "/metrics", "")
	if status != 200 || !strings.HasPrefix(header.Get("Content-Type"), "text/plain; version=0.0.4") {
		t.Fatalf("%d, %s", status, header.Get("Content-Type"))
	}
	typed, seen := map[string]bool{}, map[string]bool{}
	line := regexp.MustCompile(`^([a-z_]+)(\{[a-z_]+="[^"]*"(?:,[a-z_]+="[^"]*")*\})? -?[0-9.e+-]+$`)
	for text := range strings.Lines(text) {
		if name, found := strings.CutPrefix(text, "# TYPE "); found {
			typed[strings.Fields(name)[0]] = true
			continue
		}
		if strings.HasPrefix(text, "# HELP ") {
			continue
		}
		matched := line.FindStringSubmatch(strings.TrimSuffix(text, "\n"))
		if matched == nil || !typed[histogramPart.ReplaceAllString(matched[1], "")] && !typed[matched[1]] {
			t.Errorf("not a metric: %s", text)
			continue
		}
		if series := strings.Fields(text)[0]; seen[series] {
			t.Errorf("twice: %s", series)
		} else {
			seen[series] = true
		}
	}
	for _, want := range []string{
		"hellogate_connections_active 3\n", `hellogate_certificates_total{source="hit"} 7`,
		`hellogate_breaker_state{store="store",state="closed"} 1`, `hellogate_server_up{backend="mail",server="127.0.0.1:1"} 1`,
	} {
		if !strings.Contains(text, want) {
			t.Errorf("no %s", want)
		}
	}
	if strings.Contains(text, "a.example") {
		t.Error("a name is in the metrics")
	}
}

// What is not there has no metrics; what is has all of its, and no label that is not in the configuration.
func TestMetricsOfParts(t *testing.T) {
	want := []string{
		"disk_records 7", "disk_bytes 4096", "disk_failing 1", "disk_written_total 4", "disk_dropped_total 2", "disk_damaged_total 3",
		`permission_total{result="yes"} 5`, `permission_total{result="no"} 6`, `permission_total{result="failed"} 7`,
		`permission_total{result="cut_off"} 8`, `permission_total{result="remembered"} 9`, "permission_held 10",
		`permission_breaker_state{state="open"} 1`, `permission_breaker_state{state="closed"} 0`,
		`hooks_total{result="ok"} 8`, `hooks_total{result="failed"} 3`, `hooks_total{result="dropped"} 2`,
		`store_watching{store="store"} 1`,
	}
	for name, change := range map[string]func(*Options){"none": nil, "all": func(o *Options) {
		o.Disk = func() DiskStatus {
			return DiskStatus{Path: "/x", Records: 7, FileBytes: 4096, Written: 4, Dropped: 2, Damaged: 3, LastError: "full"}
		}
		o.Permission = fakePermission{
			breaker.Status{Name: "p", State: breaker.Open, CutOff: 8},
			permission.Stats{Yes: 5, No: 6, Failures: 7, Remembered: 9, Held: 10},
		}
		o.Hooks = fakeHooks{Runs: 11, Failed: 3, Dropped: 2}
		o.Watching = func() map[string]chain.Sight { return map[string]chain.Sight{"store": {Seen: true}} }
	}} {
		_, text, _ := serve(t, change).ask(t, "GET", "/metrics", "")
		for _, line := range want {
			if strings.Contains(text, "hellogate_"+line+"\n") != (change != nil) {
				t.Errorf("%s: of %s: %s", name, line, text)
			}
		}
	}
}

// A status says of a store whether changes in it are seen, and of permission what became of it.
func TestStatusOfWatchesAndPermission(t *testing.T) {
	at := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	r := serve(t, func(o *Options) {
		o.Stores = storesOf(fakeStore{Name: "a"}, fakeStore{Name: "b"}, fakeStore{Name: "c"})
		o.Watching = func() map[string]chain.Sight {
			return map[string]chain.Sight{"a": {Seen: true}, "b": {Problem: errors.New("lost")}}
		}
		o.Permission = fakePermission{
			breaker.Status{Name: "p", State: breaker.Open, Failures: 5, RetryIn: 3 * time.Second, CutOff: 8, LastError: "timeout", LastErrorAt: at},
			permission.Stats{Yes: 5, No: 6, Failures: 7, Remembered: 9, Held: 10},
		}
	})
	_, text, _ := r.ask(t, "GET", "/status", "")
	for _, want := range []string{
		`"name":"a","breaker":"closed","failures":0,"retry_in_seconds":0,"requests":0,"unknown":0,"failed":0,"cut_off":0,"last_error":"","watching":true}`,
		`"last_error":"","watching":false,"watching_problem":"lost"},{"name":"c"`,
		`"last_error":""}]`, // of c, which does not watch
		`"permission":{"url":"p","breaker":"open","failures":5,"retry_in_seconds":3,"yes":5,"no":6,"failed":7,"cut_off":8,"remembered":9,"held":10,` +
			`"last_error":"timeout","last_error_at":"2026-11-22T12:00:00Z"}`,
	} {
		if !strings.Contains(text, want) {
			t.Errorf("no %s in %s", want, text)
		}
	}
}

// The shapes are a contract: these keys are there, under these names.
func TestShapes(t *testing.T) {
	r := serve(t, nil, "a.example")
	for _, c := range []struct {
		path string
		keys []string
	}{
		{"/status", []string{"version", "uptime_seconds", "connections", "cache", "stores", "backends", "names"}},
		{"/certs/a.example", []string{
			"name", "names", "issuer", "fingerprint_sha256", "key_type", "store", "source", "fetched_at",
			"refetch_in_seconds", "expires_in_seconds", "not_after", "last_error",
		}},
		{"/explain/a.example", []string{"name", "route", "action", "backend", "certificate", "steps"}},
	} {
		_, text, _ := r.ask(t, "GET", c.path, "")
		var fields map[string]json.RawMessage
		if err := json.Unmarshal([]byte(text), &fields); err != nil {
			t.Fatal(err)
		}
		for _, key := range c.keys {
			if _, ok := fields[key]; !ok {
				t.Errorf("%s has no %q: %s", c.path, key, text)
			}
		}
	}
}

func TestNothingIsNullInAnEmptyStatus(t *testing.T) {
	r := serve(t, func(options *Options) { options.Stores, options.Backends = nil, nil })
	if _, text, _ := r.ask(t, "GET", "/status", ""); strings.Contains(text, "null") {
		t.Errorf("got %s", text)
	}
}

func TestStatusSaysWhatIsWrong(t *testing.T) {
	t.Parallel()
	expiring := certificate("old.example")
	expiring.NotAfter, expiring.RefetchAt = time.Now().Add(time.Hour), time.Now().Add(-time.Hour)
	withdrawn := certificate("gone.example")
	withdrawn.Withdrawn = true
	failing := certificate("failing.example")
	failing.LastError = "timeout"
	pinned := certificate("pinned.example")
	pinned.Source, pinned.RefetchAt, pinned.NotAfter = "pinned", time.Time{}, time.Now().Add(time.Hour)
	lastTenth := certificate("tenth.example")
	lastTenth.Expiring, lastTenth.NotAfter = true, time.Now().Add(8*24*time.Hour)
	short := certificate("short.example") // lives for an hour, and is renewed in time
	short.NotAfter, short.RefetchAt = time.Now().Add(time.Hour), time.Now().Add(time.Minute)
	for _, c := range []struct {
		name   string
		change func(*Options)
		infos  []cache.Info
		want   []string
	}{
		{"nothing", func(*Options) {}, []cache.Info{certificate("a.example"), short}, []string{}},
		{"open breaker", func(o *Options) {
			o.Stores = storesOf(fakeStore{Name: "s", State: breaker.Open, RetryIn: 12 * time.Second})
		}, nil, []string{"store s is not asked, it kept failing: breaker open, retry in 12s"}},
		{
			"half open breaker", func(o *Options) { o.Stores = storesOf(fakeStore{Name: "s", State: breaker.HalfOpen}) }, nil,
			[]string{"store s kept failing: breaker half open, one request probes it"},
		},
		{"a watch that can't see", func(o *Options) {
			o.Watching = func() map[string]chain.Sight {
				return map[string]chain.Sight{"store": {Problem: errors.New("connection refused")}}
			}
		}, nil, []string{"store store: what changes in it may be served late: connection refused"}},
		{"a watch that sees", func(o *Options) {
			o.Watching = func() map[string]chain.Sight { return map[string]chain.Sight{"store": {Seen: true}} }
		}, nil, []string{}},
		{"a watch that begins", func(o *Options) {
			o.Watching = func() map[string]chain.Sight { return map[string]chain.Sight{"store": {}} }
		}, nil, []string{}},
		{"permission cut off", func(o *Options) {
			o.Permission = fakePermission{status: breaker.Status{Name: "p", State: breaker.Open, RetryIn: 12 * time.Second}}
		}, nil, []string{"permission p is not asked, it kept failing, and names without a certificate get none: breaker open, retry in 12s"}},
		{"permission probed", func(o *Options) {
			o.Permission = fakePermission{status: breaker.Status{Name: "p", State: breaker.HalfOpen}}
		}, nil, []string{"permission p kept failing: breaker half open, one request probes it"}},
		{"permission", func(o *Options) { o.Permission = fakePermission{} }, nil, []string{}},
		{"the only server down", func(o *Options) {
			o.Backends = pools(pool.Status{Name: "b", Servers: []pool.ServerStatus{{State: pool.StateDown}}})
		}, nil, []string{"backend b: no server takes connections", "backend b: 1 of 1 server down"}},
		{"server down", func(o *Options) {
			o.Backends = pools(pool.Status{Name: "b", Servers: []pool.ServerStatus{{State: pool.StateDown}, {}}})
		}, nil, []string{"backend b: 1 of 2 servers down"}},
		{"servers ejected, in panic, and a queue", func(o *Options) {
			o.Backends = pools(pool.Status{
				Name: "b", Panic: true, Queued: 2,
				Servers: []pool.ServerStatus{{State: pool.StateEjected}, {State: pool.StateEjected}, {}},
			})
		}, nil, []string{
			"backend b: too few servers are well, and all are used",
			"backend b: 2 of 3 servers ejected: connections to it failed",
			"backend b: 2 connections wait for a server with room",
		}},
		{"a server drained by hand", func(o *Options) {
			o.Backends = pools(pool.Status{Name: "b", Servers: []pool.ServerStatus{{State: pool.StateDrain}, {}}})
		}, nil, []string{}},
		{"all servers drained by hand", func(o *Options) {
			o.Backends = pools(pool.Status{Name: "b", Servers: []pool.ServerStatus{{State: pool.StateDrain}, {State: pool.StateDisabled}}})
		}, nil, []string{"backend b: no server takes connections"}},
		{"failing disk", func(o *Options) {
			o.Disk = func() DiskStatus { return DiskStatus{Path: "/tier", Records: 3, LastError: "no space left"} }
		}, nil, []string{"disk tier /tier: what changes does not survive a restart: no space left"}},
		{"working disk", func(o *Options) { o.Disk = func() DiskStatus { return DiskStatus{Path: "/tier"} } }, nil, []string{}},
		{
			"disk that could not be had", func(o *Options) { o.NoDisk = "in use" }, nil,
			[]string{"no disk tier, nothing survives a restart: in use"},
		},
		{"pinned", func(*Options) {}, []cache.Info{pinned}, []string{
			"certificates: 1 pinned by hand expires soon: put a newer one there, or it gives way to the store",
		}},
		{"last tenth", func(*Options) {}, []cache.Info{lastTenth}, []string{
			"certificates: 1 expires soon, and no newer one could be had",
		}},
		{"several", func(*Options) {}, []cache.Info{expiring, expiring, withdrawn, withdrawn, pinned, pinned}, []string{
			"certificates: 2 expire soon, and no newer ones could be had",
			"certificates: 2 pinned by hand expire soon: put newer ones there, or they give way to the store",
			"certificates: 2 withdrawn: their stores know the names no more",
		}},
		{"certificates", func(*Options) {}, []cache.Info{expiring, withdrawn, failing}, []string{
			"certificates: 1 expires soon, and no newer one could be had",
			"certificates: 1 withdrawn: its store knows the name no more",
			"certificates: 1 could not be fetched again at the last attempt",
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := serve(t, c.change)
			r.cache.infos = c.infos
			status, err := r.client.Status(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.want, status.Problems); diff != "" {
				t.Error(diff)
			}
			if state := status.State; (state == StateOK) != (len(c.want) == 0) {
				t.Errorf("state %s", state)
			}
		})
	}
}

func TestTheFirstToExpireStandsFirst(t *testing.T) {
	r := serve(t, nil)
	for i := range 100 {
		info := certificate(fmt.Sprintf("n%02d.example", i))
		info.LastError, info.NotAfter = "failed", time.Now().Add(time.Duration(1000-i)*time.Hour)
		r.cache.infos = append(r.cache.infos, info)
	}
	status, err := r.client.Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if len(status.Troubled) != sampleSize || status.Troubled[0].Name != "n99.example" || status.Troubled[19].Name != "n80.example" {
		t.Errorf("got %d, from %s", len(status.Troubled), status.Troubled[0].Name)
	}
}

func TestAStormOfStatusWalksTheCacheOnce(t *testing.T) {
	r := serve(t, nil, "a.example")
	for range 20 {
		if _, err := r.client.Status(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if r.cache.walks != 1 {
		t.Errorf("%d walks", r.cache.walks)
	}
}

func TestChangesAreLoggedWithWhoAskedForThem(t *testing.T) {
	r := serve(t, nil, "a.example")
	for _, c := range []struct{ path, body, want string }{
		{"/flush/a.example", "", "control: flush"},
		{"/prefetch", `{"names":["a.example"]}`, "control: prefetch"},
		{"/shutdown", "", "control: shutdown"},
	} {
		r.ask(t, "POST", c.path, c.body)
		if text := r.log.String(); !strings.Contains(text, c.want) {
			t.Errorf("%s: log %s", c.path, text)
		}
	}
	if _, ok := credentials(connect(t, r.path)); !ok {
		t.Skip("peer credentials are not known on this system")
	}
	if want := fmt.Sprintf(`"uid":%d,"pid":%d`, os.Getuid(), os.Getpid()); strings.Count(r.log.String(), want) != 3 {
		t.Errorf("want 3 times %s in %s", want, r.log)
	}
}

func TestShutdownAnswersFirst(t *testing.T) {
	r := serve(t, nil)
	if err := r.client.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(5 * time.Second); r.shutdowns.Load() == 0; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("not called")
		}
	}
}

func TestExplainWithAFetchLooksTheNameUp(t *testing.T) {
	r := serve(t, nil)
	explanation, err := r.client.Explain(t.Context(), "unknown.example", ExplainOptions{Fetch: true})
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Contains(explanation.Steps, Step{Step: "fetch", Result: "unknown: 404"}) {
		t.Errorf("got %+v", explanation.Steps)
	}
}

func connect(t *testing.T, path string) net.Conn {
	t.Helper()
	conn, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}
