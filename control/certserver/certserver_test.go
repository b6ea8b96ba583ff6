package certserver

import (
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"
	"go.uber.org/goleak"

	"hellogate/store/certtest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// started runs a certificate server that has a certificate for a.example, until the test ends.
func started(t *testing.T, options Options) (address string) {
	t.Helper()
	certtest.NewCA(t).Issue(t, "a.example").Write(t, options.Directory, "a.example")
	ctx, cancel := context.WithCancel(context.Background())
	ready, ended := make(chan net.Addr, 1), make(chan error, 1)
	options.Listen, options.Log = "127.0.0.1:0", zerolog.Nop()
	options.Ready = func(address net.Addr) { ready <- address }
	go func() { ended <- Run(ctx, options) }()
	t.Cleanup(cancel)
	select {
	case address := <-ready:
		t.Cleanup(func() {
			cancel()
			if err := <-ended; err != nil {
				t.Error(err)
			}
		})
		return address.String()
	case err := <-ended:
		t.Fatal(err)
	}
	return ""
}

func get(t *testing.T, url, token string, config *tls.Config) (status int, body string) {
	t.Helper()
	transport := &http.Transport{TLSClientConfig: config, DisableKeepAlives: true}
	client := http.Client{Transport: transport, Timeout: 10 * time.Second}
	request, err := http.NewRequest(http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	if token != "" {
		request.Header.Set("Authorization", "Bearer "+token)
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
	return response.StatusCode, string(text)
}

func TestPlainOnLoopback(t *testing.T) {
	address := started(t, Options{Directory: t.TempDir()})
	status, body := get(t, "http://"+address+"/certs/a.example", "", nil)
	if status != 200 || !strings.Contains(body, "BEGIN CERTIFICATE") {
		t.Errorf("%d %s", status, body)
	}
	if status, _ := get(t, "http://"+address+"/certs/b.example", "", nil); status != 404 {
		t.Errorf("unknown name: %d", status)
	}
}

func TestTLSAndTokenFile(t *testing.T) {
	directory, own := t.TempDir(), t.TempDir()
	ca := certtest.NewCA(t)
	certFile, keyFile := ca.Issue(t, "localhost").Write(t, own, "own")
	tokenFile := filepath.Join(own, "token")
	os.WriteFile(tokenFile, []byte("sesame\n"), 0o600)
	address := started(t, Options{Directory: directory, CertFile: certFile, KeyFile: keyFile, TokenFile: tokenFile})
	url := "https://" + address + "/certs/a.example"
	config := &tls.Config{RootCAs: ca.Pool(), ServerName: "localhost"}
	if status, body := get(t, url, "", config); status != 401 || strings.Contains(body, "KEY") {
		t.Errorf("without the token: %d %s", status, body)
	}
	if status, _ := get(t, url, "sesame", config); status != 200 {
		t.Errorf("with the token: %d", status)
	}
}

func TestRefused(t *testing.T) {
	directory := t.TempDir()
	empty := filepath.Join(directory, "empty")
	os.WriteFile(empty, []byte("\n"), 0o600)
	for _, c := range []struct {
		name    string
		options Options
		want    string
	}{
		{"plain HTTP to others", Options{Listen: ":0", Token: "t"}, "would cross the network in the clear"},
		{"no token for others", Options{Listen: "0.0.0.0:0", Plaintext: true}, "without a token anybody"},
		{"name that only may be loopback", Options{Listen: "example.com:0"}, "is not loopback"},
		{"no port", Options{Listen: "127.0.0.1"}, "not host:port"},
		{"certificate without key", Options{Listen: "127.0.0.1:0", CertFile: "x"}, "go together"},
		{"key without certificate", Options{Listen: "127.0.0.1:0", KeyFile: "x"}, "go together"},
		{"no such certificate", Options{Listen: "127.0.0.1:0", CertFile: "/nonexistent", KeyFile: "/nonexistent"}, "no such file"},
		{"no such token file", Options{Listen: "127.0.0.1:0", TokenFile: "/nonexistent"}, "token file: open"},
		{"empty token file", Options{Listen: "127.0.0.1:0", TokenFile: empty}, "is empty"},
		{"no such directory", Options{Listen: "127.0.0.1:0", Directory: "/nonexistent"}, "no such file"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if c.options.Directory == "" {
				c.options.Directory = directory
			}
			c.options.Log = zerolog.Nop()
			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
			defer cancel()
			if err := Run(ctx, c.options); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %s", err, c.want)
			}
		})
	}
}
