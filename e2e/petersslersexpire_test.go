package e2e

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
)

// flushListener is what a peter_sslers server is told of nginx: where its routes are, and who may call them.
type flushListener struct {
	address, username, password string
}

const flushPassword = "e2e-flush-password-that-no-log-may-hold"

// listensForPeterSSLers has hellogate answer a peter_sslers server.
func listensForPeterSSLers(t testing.TB) (*flushListener, string) {
	t.Helper()
	listener := &flushListener{freeAddress(t), "admin", flushPassword}
	file := filepath.Join(t.TempDir(), "password")
	writeFile(t, file, flushPassword+"\n")
	return listener, fmt.Sprintf("control: {peter_sslers: {address: %q, username: admin, password_file: %q}}", listener.address, file)
}

// get calls a route as a peter_sslers server does: a GET with basic authentication.
func (l *flushListener) get(t testing.TB, path string) (code int, body map[string]any, header http.Header) {
	t.Helper()
	request := must(http.NewRequest("GET", "http://"+l.address+"/.peter_sslers/nginx/shared_cache/"+path, nil))
	request.SetBasicAuth(l.username, l.password)
	response, err := (&http.Client{Timeout: patience}).Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	text := must(io.ReadAll(response.Body))
	wantNoSecrets(t, path, string(text))
	if err := json.Unmarshal(text, &body); err != nil {
		t.Fatalf("%s: %v in %s", path, err, text)
	}
	return response.StatusCode, body, response.Header
}

// want calls a route and checks its status and members of its answer.
func (l *flushListener) want(t testing.TB, path string, code int, members map[string]string) {
	t.Helper()
	gotCode, body, header := l.get(t, path)
	if gotCode != code || header.Get("Content-Type") != "application/json" || header.Get("X-Peter-Sslers") == "" {
		t.Errorf("%s: status %d, want %d; header %v", path, gotCode, code, header)
	}
	for member, want := range members {
		if body[member] != want {
			t.Errorf("%s: %s is %v, want %q, in %v", path, member, body[member], want, body)
		}
	}
	for _, member := range []string{"server", "server_version"} {
		if text, _ := body[member].(string); text == "" {
			t.Errorf("%s: no %s in %v", path, member, body)
		}
	}
}

// A peter_sslers server that has renewed a certificate expires the one name, or all: it is served anew at the next
// handshake. Other names stay as they are, and what is not cached is a success too.
func TestPeterSSLersExpire(t *testing.T) {
	t.Parallel()
	listener, listens := listensForPeterSSLers(t)
	w := newWorld(t, listens)
	w.store.on("unknown.example", status(404))
	w.visit("a.example")
	w.visit("b.example")
	w.refused("unknown.example", alertUnrecognizedName)

	renewed := w.store.rotate("a.example")
	listener.want(t, "expire/domain/a.example", 200, map[string]string{"result": "success", "expired": "domain", "domain": "a.example"})
	w.gives("a.example", renewed)
	w.visit("b.example")
	w.store.wantRequests(t, "b.example", 1)
	w.store.works("unknown.example")
	listener.want(t, "expire/domain/unknown.example", 200, map[string]string{"result": "success"})
	w.visit("unknown.example")
	listener.want(t, "expire/domain/nobody.example", 200, map[string]string{"result": "success"})

	renewed = w.store.rotate("b.example")
	listener.want(t, "expire/all", 200, map[string]string{"result": "success", "expired": "all"})
	w.gives("b.example", renewed)
	w.visit("a.example")
	w.store.wantRequests(t, "a.example", 3)

	listener.want(t, "expire/nonsense", 404, map[string]string{"result": "error", "expired": "None", "reason": "Unknown URI"})
	listener.want(t, "expire/domain/", 404, map[string]string{"result": "error"})
	listener.want(t, "expire/domain/a..example", 400, map[string]string{"result": "error"})
}

// Its status lists the names that have a certificate and those that are remembered as unknown, in its own shape.
func TestPeterSSLersStatus(t *testing.T) {
	t.Parallel()
	listener, listens := listensForPeterSSLers(t)
	w := newWorld(t, listens)
	w.store.on("unknown.example", status(404))
	w.visit("a.example")
	w.visit("b.example")
	w.refused("unknown.example", alertUnrecognizedName)
	listener.want(t, "status", 200, map[string]string{"result": "success"})
	_, body, _ := listener.get(t, "status")
	want := `{"autocert":[],"invalid":["unknown.example"],"valid":["a.example","b.example"]}`
	if got := string(must(json.Marshal(body["keys"]))); got != want {
		t.Errorf("keys are %s, want %s", got, want)
	}
	config, _ := body["config"].(map[string]any)
	expiries, _ := config["expiries"].(map[string]any)
	items, _ := config["maxitems"].(map[string]any)
	for what, value := range map[string]any{
		"cert_cache": expiries["ngx.shared.cert_cache"], "lrucache": expiries["resty.lrucache"], "maxitems": items["resty.lrucache"],
	} {
		if _, isNumber := value.(float64); !isNumber {
			t.Errorf("%s is %v in %v", what, value, config)
		}
	}
}

// Whoever does not show the password is told nothing and changes nothing.
func TestPeterSSLersWrongPassword(t *testing.T) {
	t.Parallel()
	listener, listens := listensForPeterSSLers(t)
	w := newWorld(t, listens)
	w.visit("a.example")
	for _, login := range [][2]string{{"admin", "wrong"}, {"admin", ""}, {"", ""}, {"root", flushPassword}} {
		stranger := &flushListener{listener.address, login[0], login[1]}
		for _, path := range []string{"expire/all", "expire/domain/a.example", "status", "nonsense"} {
			code, body, header := stranger.get(t, path)
			if code != 401 || body["result"] != "error" || body["keys"] != nil || !strings.HasPrefix(header.Get("Www-Authenticate"), "Basic ") {
				t.Errorf("%s as %q: status %d, header %v, body %v", path, login, code, header, body)
			}
		}
	}
	w.visit("a.example")
	w.store.wantRequests(t, "a.example", 1)
	if strings.Contains(w.log.String(), flushPassword) {
		t.Error("the log has the password")
	}
}

// On anything but loopback the listener needs a password.
func TestPeterSSLersListenerNeedsPassword(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for address, want := range map[string]int{"0.0.0.0:6080": 1, ":6080": 1, "127.0.0.1:6080": 0} {
		open := configured(t, usesStore(w.store), usesBackend(w.backend.address), fmt.Sprintf("control: {peter_sslers: {address: %q}}", address))
		got := command(t, "check", "-c", open.config)
		if got.code != want || want != 0 && !strings.Contains(got.stdout+got.stderr, "control.peter_sslers.address") {
			t.Errorf("%s: check exits with %d:\n%s%s", address, got.code, got.stdout, got.stderr)
		}
	}
}
