package server

import (
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/rs/zerolog"

	"hellogate/store/certtest"
)

func TestServeTLS(t *testing.T) {
	ca, folder, out := certtest.NewCA(t), t.TempDir(), &logged{}
	ca.Issue(t, "a.example").Write(t, folder, "a.example")
	server, err := New(Options{Path: folder, Log: zerolog.New(out)})
	if err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	config := &tls.Config{Certificates: []tls.Certificate{ca.Issue(t, "store.example").TLS()}}
	go func() { ended <- server.Serve(ctx, listener, config) }()

	transport := &http.Transport{
		TLSClientConfig:   &tls.Config{RootCAs: ca.Pool(), ServerName: "store.example"},
		ForceAttemptHTTP2: true,
	}
	response, err := (&http.Client{Transport: transport}).Get("https://" + listener.Addr().String() + "/a.example")
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(response.Body)
	response.Body.Close()
	if err != nil || response.StatusCode != http.StatusOK || !strings.HasPrefix(string(body), `{"cert":"-----BEGIN CERTIFICATE-----\n`) {
		t.Errorf("got %d %q, %v", response.StatusCode, body, err)
	}
	if response.ProtoMajor != 2 {
		t.Errorf("got %s, want HTTP/2", response.Proto)
	}

	plain, err := http.Get("http://" + listener.Addr().String() + "/a.example")
	if err != nil {
		t.Fatal(err)
	}
	plain.Body.Close()
	if plain.StatusCode != http.StatusBadRequest {
		t.Errorf("HTTP to the TLS port: %d, want 400", plain.StatusCode)
	}

	transport.CloseIdleConnections()
	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if log := out.String(); !strings.Contains(log, `"level":"warn","error":"http: TLS handshake error`) {
		t.Errorf("log %s: want what net/http says", log)
	}
	if _, err := net.Dial("tcp", listener.Addr().String()); err == nil {
		t.Error("still listening")
	}
}

func TestServeSaysWhyItEnded(t *testing.T) {
	server, err := New(Options{Path: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	listener.Close()
	want := "certificate server on " + listener.Addr().String() + ": "
	if err := server.Serve(t.Context(), listener, nil); err == nil || !strings.HasPrefix(err.Error(), want) {
		t.Errorf("got %v, want %s...", err, want)
	}
}

func TestServeEndsForAContextThatIsDone(t *testing.T) {
	server, err := New(Options{Path: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	stop()
	if err := server.Serve(ctx, listener, nil); err != nil {
		t.Error(err)
	}
	if _, err := net.Dial("tcp", listener.Addr().String()); err == nil {
		t.Error("still listening")
	}
}
