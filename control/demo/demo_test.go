package demo

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"
	"go.uber.org/goleak"

	"hellogate/control"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// started is a demo that runs, and ends with the test.
func started(t *testing.T) (place Place, printed *bytes.Buffer) {
	t.Helper()
	printed = new(bytes.Buffer)
	ctx, cancel := context.WithCancel(context.Background())
	ready, ended := make(chan Place, 1), make(chan error, 1)
	go func() {
		ended <- Run(ctx, Options{
			Listen: "127.0.0.1:0", Version: "1.2.3", Output: printed, Log: zerolog.Nop(), Ready: func(p Place) { ready <- p },
		})
	}()
	select {
	case place = <-ready:
	case err := <-ended:
		cancel()
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		if _, err := os.Stat(place.Directory); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s was left: %v", place.Directory, err)
		}
	})
	return place, printed
}

func trust(t *testing.T, place Place, name string) *tls.Config {
	t.Helper()
	text, err := os.ReadFile(place.CAFile)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(text)
	return &tls.Config{RootCAs: roots, ServerName: name}
}

func TestCurlSeesTheHeader(t *testing.T) {
	place, _ := started(t)
	transport := &http.Transport{
		TLSClientConfig: trust(t, place, ""),
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "tcp", place.Address)
		},
		DisableKeepAlives: true,
	}
	response, err := (&http.Client{Transport: transport, Timeout: 10 * time.Second}).Get("https://shop.example/path")
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	body, _ := io.ReadAll(response.Body)
	for _, want := range []string{"PROXY v2\n", `authority    "shop.example"`, "crc32c", `version "TLSv1.3"`, "unique_id", "GET /path\n", "Host: shop.example"} {
		if !strings.Contains(string(body), want) {
			t.Errorf("no %s in %s", want, body)
		}
	}
}

func TestAClientThatWaitsIsSpokenToFirst(t *testing.T) {
	place, _ := started(t)
	conn, err := tls.Dial("tcp", place.Address, trust(t, place, "db.example"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(10 * time.Second))
	reader := bufio.NewReader(conn)
	if first, err := reader.ReadString('\n'); first != "PROXY v2\n" {
		t.Fatalf("%q, %v", first, err)
	}
	fmt.Fprintln(conn, "marco")
	for {
		text, err := reader.ReadString('\n')
		if err != nil {
			t.Fatal(err)
		}
		if text == "marco\n" {
			return
		}
	}
}

func TestAnUnknownNameIsRefused(t *testing.T) {
	place, _ := started(t)
	_, err := tls.Dial("tcp", place.Address, trust(t, place, "shop.invalid"))
	if err == nil || !strings.Contains(err.Error(), "unrecognized name") {
		t.Errorf("got %v", err)
	}
}

func TestTheStoreWantsItsToken(t *testing.T) {
	place, _ := started(t)
	response, err := http.Get(place.Store + "/shop.example")
	if err != nil {
		t.Fatal(err)
	}
	response.Body.Close()
	http.DefaultClient.CloseIdleConnections()
	if response.StatusCode != http.StatusUnauthorized {
		t.Errorf("status %s", response.Status)
	}
	if left, _ := os.ReadDir(place.Directory + "/certs"); len(left) != 0 {
		t.Errorf("made without a token: %v", left)
	}
}

func TestWhatIsPrintedNamesWhatIsThere(t *testing.T) {
	place, printed := started(t)
	for _, want := range []string{place.Address, place.CAFile, place.Control, place.Command, place.Store, place.Config} {
		if !strings.Contains(printed.String(), want) {
			t.Errorf("no %s in %s", want, printed)
		}
	}
	client := control.NewClient(place.Control)
	defer client.Close()
	status, err := client.Status(t.Context())
	if err != nil || status.Version != "1.2.3" {
		t.Errorf("%+v, %v", status, err)
	}
	for _, path := range []string{place.CAFile, place.Command, place.Config, place.TokenFile} {
		if _, err := os.Stat(path); err != nil {
			t.Error(err)
		}
	}
}

func TestATakenPort(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	err = Run(t.Context(), Options{Listen: taken.Addr().String(), Output: io.Discard, Log: zerolog.Nop()})
	if err == nil || !strings.Contains(err.Error(), "address already in use") {
		t.Errorf("got %v", err)
	}
}
