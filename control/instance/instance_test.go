package instance

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"
	"go.uber.org/goleak"

	"hellogate/control"
	"hellogate/control/config"
	"hellogate/sni"
	"hellogate/terminate/libcrypto"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// configuration is one that works, with what a test adds to it.
func configuration(t *testing.T, more string) *config.Config {
	t.Helper()
	directory, err := os.MkdirTemp("", "hg")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(directory) })
	text := fmt.Sprintf(`
stores: [{dir: {path: %q}}]
backends: {mail: {servers: [{address: "127.0.0.1:9"}]}, web: {servers: [{address: "127.0.0.1:9"}], send_proxy: v1}}
routes:
  - match: {names: ["*.mail.example"], alpn: [imap]}
    backend: mail
    truncation: reset
  - match: {names: ["*.mail.example"]}
    action: reject
  - backend: web
    tls: {min_version: "1.3", alpn: [h2]}
control: {socket: %q}
%s`, directory, filepath.Join(directory, "control.sock"), more)
	if !strings.Contains(more, "listeners:") {
		text += "\nlisteners: [{address: \"127.0.0.1:0\"}]"
	}
	loaded, err := config.Parse("test.yaml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return loaded
}

func TestRunsUntilShutdown(t *testing.T) {
	loaded := configuration(t, "")
	balancer, err := New(loaded, Options{Version: "1.2.3", Log: zerolog.Nop()})
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		balancer.Run(context.Background())
	}()
	address := balancer.Addresses()[0].String()
	client := control.NewClient(loaded.Control.Socket)
	defer client.Close()
	status, err := client.Status(t.Context())
	if err != nil || status.Version != "1.2.3" || status.State != control.StateOK {
		t.Errorf("%+v, %v", status, err)
	}
	if got := status.Process.RSASignatures; got != libcrypto.Describe() || got == "" {
		t.Errorf("RSA signatures by %q", got)
	}
	if err := client.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
	<-ended
	if _, err := os.Lstat(loaded.Control.Socket); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("control socket: %v", err)
	}
	if conn, err := net.Dial("tcp", address); err == nil {
		conn.Close()
		t.Error("still listening")
	}
}

func TestControlAnswersWhileDraining(t *testing.T) {
	loaded := configuration(t, "limits: {drain_timeout: 5s, hello_timeout: 5s}")
	balancer, err := New(loaded, Options{Log: zerolog.Nop()})
	if err != nil {
		t.Fatal(err)
	}
	conn, err := net.Dial("tcp", balancer.Addresses()[0].String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		balancer.Run(ctx)
	}()
	client := control.NewClient(loaded.Control.Socket)
	defer client.Close()
	waitFor(t, client, func(status control.Status) bool { return status.Connections.Active == 1 })
	cancel()
	waitFor(t, client, func(status control.Status) bool { return status.State == control.StateDraining })
	conn.Close()
	select {
	case <-ended:
	case <-time.After(4 * time.Second):
		t.Error("does not end with its last connection")
		<-ended
	}
}

func waitFor(t *testing.T, client *control.Client, holds func(control.Status) bool) {
	t.Helper()
	for deadline := time.Now().Add(5 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		status, err := client.Status(t.Context())
		if err == nil && holds(status) {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%+v, %v", status, err)
		}
	}
}

func TestRoutes(t *testing.T) {
	balancer, err := New(configuration(t, ""), Options{Log: zerolog.Nop()})
	if err != nil {
		t.Fatal(err)
	}
	defer balancer.Close()
	for _, c := range []struct {
		name      string
		protocols []string
		want      string
	}{
		{"a.mail.example", []string{"imap"}, "terminate mail 1.2 reset"},
		{"a.mail.example", nil, "reject - 1.2 fin"},
		{"other.example", nil, "terminate web 1.3 fin"},
	} {
		route, _, ok := balancer.traffic.Route(sni.Query{Name: c.name, Protocols: c.protocols})
		if !ok {
			t.Errorf("%s: no route", c.name)
			continue
		}
		backend, truncation := "-", "fin"
		if route.Backend != nil {
			backend = route.Backend.Name
		}
		if route.ResetOnTruncation {
			truncation = "reset"
		}
		got := fmt.Sprintf("%s %s %s %s", route.Action, backend, config.TLSVersion(route.MinVersion), truncation)
		if got != c.want {
			t.Errorf("%s %v: %s, want %s", c.name, c.protocols, got, c.want)
		}
	}
}

// What fails to open leaves nothing open: goleak looks, and so does the second attempt.
func TestWhatCannotBeOpened(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	address := taken.Addr().String()
	for _, c := range []struct{ name, more, want string }{
		{"port in use", fmt.Sprintf("listeners: [{address: \"127.0.0.1:0\"}, {address: %q}]", address), "listeners[1].address: listen tcp " + address + ": bind: address already in use"},
		{"no fallback certificate", `fallback: {cert_file: /nonexistent.crt, key_file: /nonexistent.key}`, "fallback: /nonexistent.crt with /nonexistent.key: open /nonexistent.crt: no such file or directory"},
		{"no roots", `cache: {alias_ca_file: /nonexistent.crt}`, "cache.alias_ca_file: open /nonexistent.crt"},
	} {
		t.Run(c.name, func(t *testing.T) {
			loaded := configuration(t, c.more)
			for range 2 {
				balancer, err := New(loaded, Options{Log: zerolog.Nop()})
				if err == nil {
					balancer.Close()
					t.Fatal("opened")
				}
				if !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "\n") {
					t.Errorf("got %v, want %s", err, c.want)
				}
			}
			if _, err := os.Lstat(loaded.Control.Socket); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("control socket: %v", err)
			}
		})
	}
}

func TestControlSocketInUse(t *testing.T) {
	loaded := configuration(t, "")
	first, err := New(loaded, Options{Log: zerolog.Nop()})
	if err != nil {
		t.Fatal(err)
	}
	defer first.Close()
	if _, err := New(loaded, Options{Log: zerolog.Nop()}); err == nil || !strings.Contains(err.Error(), "is in use by a running hellogate") {
		t.Errorf("got %v", err)
	}
}

// Whatever the user wrote names the setting: a flag where there is no file.
func TestErrorsNameFlags(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	folder := t.TempDir()
	good := config.Small{Listen: []string{"127.0.0.1:0"}, Backends: []string{"127.0.0.1:9"}, Store: folder, Control: filepath.Join(folder, "s")}
	for _, c := range []struct {
		change func(*config.Small)
		want   string
	}{
		{func(s *config.Small) { s.Listen = append(s.Listen, taken.Addr().String()) }, "--listen: listen tcp " + taken.Addr().String() + ": bind: "},
		{func(s *config.Small) { s.Store = filepath.Join(folder, "none") }, "--store: "},
		{func(s *config.Small) { s.FallbackCert, s.FallbackKey = "/nonexistent.crt", "/nonexistent.key" }, "--fallback-cert: /nonexistent.crt with "},
	} {
		small := good
		c.change(&small)
		loaded, _, err := config.FromSmall(small)
		if err != nil {
			t.Fatal(err)
		}
		balancer, err := New(loaded, Options{Log: zerolog.Nop()})
		if err == nil {
			balancer.Close()
			t.Errorf("%s: opened", c.want)
		} else if !strings.HasPrefix(err.Error(), c.want) {
			t.Errorf("got %v, want %s", err, c.want)
		}
	}
}

// A fetch takes descriptors too, whatever the store.
func TestDescriptorsOfFetchesAreKept(t *testing.T) {
	most, files := possibleConnections(&plane{config: config.Defaults(), stores: &stores{}})
	if files > 1<<30 {
		t.Skip("files without limit")
	}
	for _, c := range []struct {
		name, store string
		files       int
	}{
		{"dir", "dir: {path: /}", dirFetches * dirFiles},
		{"http", "http: {url: \"http://127.0.0.1:9\", fetches: 100}", 100},
	} {
		loaded, err := config.Parse("test.yaml", []byte("listeners: [{address: \":0\"}]\nbackends: {b: {servers: [{address: \"h:1\"}]}}\nstores: [{"+c.store+"}]"))
		if err != nil {
			t.Fatal(err)
		}
		balancer := &Instance{config: loaded}
		if err := balancer.openStores(); err != nil {
			t.Fatal(err)
		}
		got, _ := possibleConnections(&plane{config: loaded, stores: balancer.stores})
		if kept := (most - got) * descriptorsEach; kept != c.files {
			t.Errorf("%s: %d descriptors kept, want %d", c.name, kept, c.files)
		}
		balancer.closeDownTo(0)
	}
}

func TestConnectionsFitTheDescriptors(t *testing.T) {
	loaded := configuration(t, "limits: {connections: 1000000000}")
	balancer, err := New(loaded, Options{Log: zerolog.Nop()})
	if err != nil {
		t.Fatal(err)
	}
	defer balancer.Close()
	possible, files := possibleConnections(&plane{config: loaded, stores: balancer.stores})
	if got := balancer.traffic.Plan().Limits.Connections; got != possible || uint64(got)*2+descriptorsKept > files {
		t.Errorf("%d connections with %d descriptors", got, files)
	}
}

// A store whose changes can't be seen is among what is wrong, for as long as that is so.
func TestStatusSaysWhetherChangesAreSeen(t *testing.T) {
	loaded := configuration(t, "")
	loaded.Stores[0].Dir.Path = t.TempDir() // its own has the control socket in it
	client := running(t, loaded)
	seen := func(is bool, problem string) func(control.Status) bool {
		return func(status control.Status) bool {
			watching := status.Stores[0].Watching
			return watching != nil && *watching == is && strings.Contains(strings.Join(status.Problems, "\n"), problem) &&
				(problem == "") == (status.State == control.StateOK)
		}
	}
	waitFor(t, client, seen(true, ""))
	folder := loaded.Stores[0].Dir.Path
	if err := os.Rename(folder, folder+".away"); err != nil {
		t.Fatal(err)
	}
	waitFor(t, client, seen(false, "what changes in it may be served late"))
	if err := os.Rename(folder+".away", folder); err != nil {
		t.Fatal(err)
	}
	waitFor(t, client, seen(true, ""))
}

// A permission endpoint that is down is cut off as configured, and said to be.
func TestPermissionIsCutOff(t *testing.T) {
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed.Close()
	client := running(t, configuration(t, fmt.Sprintf("permission: {url: \"http://%s/ask?key=marker\", breaker: {failures: 2}}", closed.Addr())))
	for result, err := range client.Prefetch(t.Context(), []string{"a.example", "b.example", "c.example", "d.example"}) {
		if err != nil || result.Result != "failed" {
			t.Errorf("%+v, %v", result, err)
		}
	}
	waitFor(t, client, func(status control.Status) bool {
		asked := status.Permission
		return asked != nil && asked.Breaker == "open" && asked.Failures >= 2 && asked.URL == "http://"+closed.Addr().String()+"/ask" &&
			strings.Contains(strings.Join(status.Problems, "\n"), "is not asked, it kept failing")
	})
	explanation, err := client.Explain(t.Context(), "e.example", control.ExplainOptions{ALPN: []string{"h2"}})
	if err != nil || !strings.Contains(explanation.Outcome, "kept failing and is not asked") {
		t.Errorf("%+v, %v", explanation, err)
	}
}

// What is said of a store's time-outs reaches the store.
func TestAutocertTimeout(t *testing.T) {
	loaded, err := config.Parse("test.yaml", []byte(`
listeners: [{address: "127.0.0.1:0"}]
stores: [{http: {url: "https://s.example/x", form: peter_sslers, autocert: true, autocert_timeout: 90s}}]
backends: {mail: {servers: [{address: "127.0.0.1:9"}]}}
`))
	if err != nil {
		t.Fatal(err)
	}
	if got := (&Instance{}).httpOptions(loaded.Stores[0], "").AutocertTimeout; got != 90*time.Second {
		t.Errorf("%v", got)
	}
}

// running runs a balancer until the test ends.
func running(t *testing.T, loaded *config.Config) *control.Client {
	t.Helper()
	balancer, err := New(loaded, Options{Log: zerolog.Nop()})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		balancer.Run(ctx)
	}()
	client := control.NewClient(loaded.Control.Socket)
	t.Cleanup(func() {
		client.Close()
		cancel()
		<-ended
	})
	return client
}
