package server

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"
	"go.uber.org/goleak"

	"hellogate/store/certtest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// logged is what a server logs, safe for concurrent use.
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

// running is a server on a socket of its own.
type running struct {
	url  string
	addr string
	log  *logged
}

func start(t *testing.T, options Options) *running {
	t.Helper()
	out := &logged{}
	options.Log = zerolog.New(out)
	server, err := New(options)
	if err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(ctx, listener, nil) }()
	t.Cleanup(func() {
		http.DefaultClient.CloseIdleConnections()
		stop()
		if err := <-ended; err != nil {
			t.Errorf("Serve: %v", err)
		}
	})
	addr := listener.Addr().String()
	return &running{url: "http://" + addr, addr: addr, log: out}
}

type answer struct {
	status int
	header http.Header
	body   string
}

func (r *running) do(t *testing.T, method, path string, header ...string) answer {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), method, r.url+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i+1 < len(header); i += 2 {
		request.Header.Add(header[i], header[i+1])
	}
	client := http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	response, err := client.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer{response.StatusCode, response.Header, string(body)}
}

func (r *running) get(t *testing.T, path string, header ...string) answer {
	t.Helper()
	return r.do(t, http.MethodGet, path, header...)
}

// leaf returns the certificate that a 200 in JSON holds, having checked its key.
func (a answer) leaf() (*x509.Certificate, error) {
	var pair struct{ Cert, Key string }
	decoder := json.NewDecoder(strings.NewReader(a.body))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&pair); err != nil || a.status != http.StatusOK {
		return nil, fmt.Errorf("status %d, %w, body %q", a.status, err, a.body)
	}
	parsed, err := tls.X509KeyPair([]byte(pair.Cert), []byte(pair.Key))
	return parsed.Leaf, err
}

func wantLeaf(t *testing.T, got answer, want certtest.Issued) {
	t.Helper()
	leaf, err := got.leaf()
	if err != nil {
		t.Fatal(err)
	}
	if !leaf.Equal(want.Leaf) {
		t.Fatalf("got the certificate for %q, want that for %q", leaf.DNSNames, want.Leaf.DNSNames)
	}
}

func wantError(t *testing.T, got answer, status int, reason string) {
	t.Helper()
	want := fmt.Sprintf("{\"result\":\"error\",\"reason\":%q}\n", reason)
	if got.status != status || got.body != want || got.header.Get("Content-Type") != "application/json" {
		t.Errorf("got %d %q %q, want %d %q", got.status, got.header.Get("Content-Type"), got.body, status, want)
	}
}

func TestResolution(t *testing.T) {
	ca, folder := certtest.NewCA(t), t.TempDir()
	issued := map[string]certtest.Issued{}
	add := func(file string, names ...string) {
		issued[file] = ca.Issue(t, names...)
		issued[file].Write(t, folder, file)
	}
	add("a.example", "a.example", "b.example", "san.wild.example")
	add("b.example", "b.example")
	add("shop", "C.Example", "*.c.example", "*.wild.example", "not a name", "_x.c.example")
	add("*.file.example", "*.file.example")
	add("_.low.example", "*.low.example")
	add("*.both.example", "*.both.example")
	add("_.both.example", "*.both.example")
	add("other", "*.both.example", "exact.both.example")
	issued["short"] = ca.IssueWith(t, certtest.Options{Names: []string{"twice.example"}, NotAfter: time.Now().Add(time.Hour)})
	issued["short"].Write(t, folder, "0short")
	add("long", "twice.example")
	ca.Issue(t, "nokey.example").Write(t, folder, "chain-only")
	server := start(t, Options{Path: folder})
	remove(t, folder, "chain-only.key")

	tests := []struct{ name, file string }{
		{"a.example", "a.example"},
		{"A.EXAMPLE", "a.example"},
		{"b.example", "b.example"},
		{"c.example", "shop"},
		{"x.c.example", "shop"},
		{"_x.c.example", "shop"},
		{"san.wild.example", "a.example"},
		{"x.wild.example", "shop"},
		{"x.file.example", "*.file.example"},
		{"x.low.example", "_.low.example"},
		{"x.both.example", "*.both.example"},
		{"exact.both.example", "other"},
		{"twice.example", "long"},
		{"shop", "shop"},
		{"x.y.c.example", ""},
		{"file.example", ""},
		{"unknown.example", ""},
		{"localhost", ""},
		{longName("x"), ""},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			for _, path := range []string{"/", "/certs/"} {
				got := server.get(t, path+test.name)
				if test.file == "" {
					wantError(t, got, http.StatusNotFound, "unknown name")
				} else {
					wantLeaf(t, got, issued[test.file])
				}
			}
			for _, path := range []string{"/?server_name=", "/certs?server_name=", "/certs/?server_name="} {
				got := server.get(t, path+test.name+"&signature_schemes=403,804&cipher_suites=1301&local_ip=127.0.0.1")
				switch {
				case test.file == "":
					if got.status != http.StatusNoContent || got.body != "" {
						t.Errorf("got %d %q, want 204", got.status, got.body)
					}
				case got.status != http.StatusOK || got.body != string(issued[test.file].Bundle()):
					t.Errorf("got %d %q, want the bundle of %s", got.status, got.body, test.file)
				}
			}
		})
	}
}

func longName(label string) string {
	return strings.Repeat(label+".", 124) + "example"[:4]
}

func TestRefusals(t *testing.T) {
	folder := t.TempDir()
	certtest.NewCA(t).Issue(t, "a.example").Write(t, folder, "a.example")
	server := start(t, Options{Path: folder})
	noName := errNoName.Error()
	tests := []struct {
		method, path string
		status       int
		reason       string
	}{
		{"GET", "/", 400, noName},
		{"GET", "/certs", 400, noName},
		{"GET", "/certs/", 400, noName},
		{"GET", "/?server_name=a.example&server_name=b.example", 400, noName},
		{"GET", "/?server_name=..", 400, `name "..": trailing dot`},
		{"GET", "/?server_name=a.example.", 400, `name "a.example.": trailing dot`},
		{"GET", "/?server_name=192.0.2.1", 400, `name "192.0.2.1": last label is a number, as in an IP address`},
		{"GET", "/*.example", 400, `name "*.example": only letters, digits, hyphens and dots make a name`},
		{"GET", "/certs/a.example/x", 400, `name "a.example/x": only letters, digits, hyphens and dots make a name`},
		{"POST", "/a.example", 405, "only GET and HEAD are answered"},
		{"DELETE", "/a.example", 405, "only GET and HEAD are answered"},
	}
	for _, test := range tests {
		t.Run(test.method+" "+test.path, func(t *testing.T) {
			got := server.do(t, test.method, test.path)
			wantError(t, got, test.status, test.reason)
			if allow := got.header.Get("Allow"); (allow == "GET, HEAD") != (test.status == 405) {
				t.Errorf("Allow is %q", allow)
			}
		})
	}
	if got := server.get(t, "/?server_name="); got.status != http.StatusNoContent {
		t.Errorf("no SNI in Caddy's form: %d, want 204", got.status)
	}
}

// Paths as no client of Go's would send them.
func TestTraversal(t *testing.T) {
	parent := t.TempDir()
	folder := parent + "/certs"
	makeDir(t, folder)
	makeDir(t, folder+"/below")
	ca := certtest.NewCA(t)
	secret := ca.Issue(t, "secret.example")
	secret.Write(t, parent, "secret.example")
	secret.Write(t, folder+"/below", "secret.example")
	server := start(t, Options{Path: folder})
	for _, target := range []string{
		"/../secret.example", "/certs/../secret.example", "/%2e%2e/secret.example", "/certs/%2e%2e%2fsecret.example",
		"/..%2fsecret.example", "/....//secret.example", "//secret.example", "/..\\secret.example", "/%5c..%5csecret.example",
		"/below/secret.example", "/certs/below%2fsecret.example", "/.", "/..", "/certs/..", "/a.example%00", "/secret.example%0d%0a",
		"/%c0%ae%c0%ae/secret.example", "/" + parent + "/secret.example", "/?server_name=../secret.example",
		"/?server_name=below/secret.example", "/certs?server_name=%2fetc%2fpasswd",
	} {
		connection, err := net.Dial("tcp", server.addr)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(connection, "GET %s HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", target)
		response, err := http.ReadResponse(bufio.NewReader(connection), nil)
		if err != nil {
			t.Fatalf("%s: %v", target, err)
		}
		response.Body.Close()
		connection.Close()
		if response.StatusCode != http.StatusBadRequest {
			t.Errorf("%s: got %d, want 400", target, response.StatusCode)
		}
	}
}

func TestToken(t *testing.T) {
	folder := t.TempDir()
	issued := certtest.NewCA(t).Issue(t, "a.example")
	issued.Write(t, folder, "a.example")
	const token = "MARKER-TOKEN-0123456789"
	server := start(t, Options{Path: folder, Token: token})
	wantLeaf(t, server.get(t, "/a.example", "Authorization", "Bearer "+token), issued)
	wantLeaf(t, server.get(t, "/a.example", "Authorization", "bearer "+token), issued)
	wantError(t, server.get(t, "/b.example", "Authorization", "Bearer "+token), http.StatusNotFound, "unknown name")
	for _, header := range []string{
		"", "Bearer", "Bearer ", "Bearer x", "Bearer " + token + "x", "Bearer " + token[:22], "Basic " + token, token, "Bearer  " + token,
	} {
		for _, path := range []string{"/a.example", "/unknown.example", "/..", "/certs?server_name=a.example", "/"} {
			got := server.get(t, path, "Authorization", header)
			wantError(t, got, http.StatusUnauthorized, "token missing or wrong")
			if challenge := got.header.Get("WWW-Authenticate"); challenge != "Bearer" {
				t.Errorf("WWW-Authenticate is %q", challenge)
			}
		}
	}
	wantError(t, server.do(t, "POST", "/a.example"), http.StatusUnauthorized, "token missing or wrong")
	log := server.log.String()
	for secret, text := range map[string]string{"the token": token, "part of the token": token[:22], "the key": string(issued.Key[30:60])} {
		if strings.Contains(log, text) {
			t.Errorf("the log holds %s: %s", secret, log)
		}
	}
}

func TestShapeOfAnswers(t *testing.T) {
	folder := t.TempDir()
	issued := certtest.NewCA(t).Issue(t, "a.example")
	issued.Write(t, folder, "a.example")
	// A file as openssl leaves it: text, and a key that has no business there.
	write(t, folder, "a.example.crt", "Certificate:\n    Data:\n"+string(issued.Chain)+string(issued.Key))
	write(t, folder, "a.example.key", "-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n"+string(issued.Key))
	server := start(t, Options{Path: folder, MaxAge: 90 * time.Second})
	tests := []struct {
		name, path, accept string
		kind, body         string
	}{
		{"path", "/a.example", "", "application/json", string(issued.JSON())},
		{"path, anything", "/a.example", "*/*", "application/json", string(issued.JSON())},
		{"path, PEM", "/certs/a.example", "application/x-pem-file", "application/x-pem-file", string(issued.Bundle())},
		{"path, PEM and a parameter", "/a.example", "text/html, Application/X-PEM-File; q=0.9", "application/x-pem-file", string(issued.Bundle())},
		{"path, JSON before PEM", "/a.example", "application/json, application/x-pem-file", "application/json", string(issued.JSON())},
		{"path, anything but PEM", "/a.example", "application/x-pem-file;q=0, */*", "application/json", string(issued.JSON())},
		{"caddy", "/certs?server_name=a.example", "", "application/x-pem-file", string(issued.Bundle())},
		{"caddy, JSON", "/certs?server_name=a.example", "application/json", "application/x-pem-file", string(issued.Bundle())},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got := server.get(t, test.path, "Accept", test.accept)
			if got.status != http.StatusOK || got.body != test.body || got.header.Get("Content-Type") != test.kind {
				t.Fatalf("got %d %s %q, want %s %q", got.status, got.header.Get("Content-Type"), got.body, test.kind, test.body)
			}
			if age := got.header.Get("Cache-Control"); age != "max-age=90" {
				t.Errorf("Cache-Control is %q", age)
			}
			tag := got.header.Get("ETag")
			if len(tag) != 66 {
				t.Errorf("ETag is %s", tag)
			}
			head := server.do(t, http.MethodHead, test.path, "Accept", test.accept)
			if head.status != http.StatusOK || head.body != "" || head.header.Get("ETag") != tag ||
				head.header.Get("Content-Length") != fmt.Sprint(len(test.body)) {
				t.Errorf("HEAD: got %d %v %q", head.status, head.header, head.body)
			}
			for _, match := range []string{tag, "W/" + tag, `"x", ` + tag, "*"} {
				same := server.get(t, test.path, "Accept", test.accept, "If-None-Match", match)
				if same.status != http.StatusNotModified || same.body != "" || same.header.Get("ETag") != tag ||
					same.header.Get("Cache-Control") != "max-age=90" {
					t.Errorf("If-None-Match: %s: got %d %v", match, same.status, same.header)
				}
			}
			if other := server.get(t, test.path, "Accept", test.accept, "If-None-Match", `"x"`); other.status != http.StatusOK {
				t.Errorf("another tag: got %d", other.status)
			}
		})
	}
	json, pem := server.get(t, "/a.example"), server.get(t, "/a.example", "Accept", typePEM)
	if json.header.Get("ETag") == pem.header.Get("ETag") || json.header.Get("Vary") != "Accept" {
		t.Error("two representations are not told apart")
	}
}

func TestNoCacheControlUnlessAskedFor(t *testing.T) {
	folder := t.TempDir()
	certtest.NewCA(t).Issue(t, "a.example").Write(t, folder, "a.example")
	if got := start(t, Options{Path: folder}).get(t, "/a.example"); got.status != http.StatusOK || got.header["Cache-Control"] != nil {
		t.Errorf("got %d %v", got.status, got.header)
	}
}

func TestNewRefuses(t *testing.T) {
	if _, err := New(Options{Path: t.TempDir() + "/none"}); err == nil || !strings.HasPrefix(err.Error(), "certificate directory: ") {
		t.Errorf("missing directory: %v", err)
	}
	for _, token := range []string{"secret\n", "a b", "ü"} {
		_, err := New(Options{Path: t.TempDir(), Token: token})
		if !errors.Is(err, errToken) || strings.Contains(err.Error(), token) {
			t.Errorf("token %q: %v", token, err)
		}
	}
}
