package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"
)

// ask sends one request to the control socket and gives the body, an error unless the status is 200.
func (g *gate) ask(method, path, payload string) (string, error) {
	code, text, err := g.request(method, path, payload)
	if err == nil && code != http.StatusOK {
		err = fmt.Errorf("%s %s: status %d: %s", method, path, code, text)
	}
	return text, err
}

func (g *gate) request(method, path, payload string) (code int, text string, err error) {
	transport := &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", g.control)
		},
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, method, "http://hellogate"+path, strings.NewReader(payload))
	if err != nil {
		return 0, "", err
	}
	response, err := transport.RoundTrip(request)
	if err != nil {
		return 0, "", err
	}
	defer response.Body.Close()
	answer, err := io.ReadAll(response.Body)
	return response.StatusCode, string(answer), err
}

// certStatus is what the control plane says of one certificate.
type certStatus struct {
	Name        string    `json:"name"`
	Names       []string  `json:"names"`
	Issuer      string    `json:"issuer"`
	Fingerprint string    `json:"fingerprint_sha256"`
	KeyType     string    `json:"key_type"`
	Store       string    `json:"store"`
	Source      string    `json:"source"`
	FetchedAt   time.Time `json:"fetched_at"`
	RefetchIn   float64   `json:"refetch_in_seconds"`
	ExpiresIn   float64   `json:"expires_in_seconds"`
	NotAfter    time.Time `json:"not_after"`
	LastError   string    `json:"last_error"`
}

// gateStatus is the answer to GET /status.
type gateStatus struct {
	Version     string  `json:"version"`
	Uptime      float64 `json:"uptime_seconds"`
	Connections struct {
		Active int `json:"active"`
		Total  int `json:"total"`
		Limit  int `json:"limit"`
	} `json:"connections"`
	Cache struct {
		Entries   int `json:"entries"`
		Bytes     int `json:"bytes"`
		Limit     int `json:"limit_bytes"`
		Negative  int `json:"negative"`
		Hits      int `json:"hits"`
		Stale     int `json:"stale"`
		Misses    int `json:"misses"`
		Coalesced int `json:"coalesced"`
	} `json:"cache"`
	Stores []struct {
		Name     string  `json:"name"`
		Breaker  string  `json:"breaker"`
		Failures int     `json:"failures"`
		RetryIn  float64 `json:"retry_in_seconds"`
	} `json:"stores"`
	Backends []struct {
		Name    string `json:"name"`
		Servers []struct {
			Address     string `json:"address"`
			State       string `json:"state"`
			Weight      int    `json:"weight"`
			Connections int    `json:"connections"`
		} `json:"servers"`
	} `json:"backends"`
	Names []certStatus `json:"names"`
}

// status reads GET /status.
func (g *gate) status() (s gateStatus) {
	g.t.Helper()
	g.get("/status", &s)
	return s
}

// get reads the JSON at a path of the control API into value.
func (g *gate) get(path string, value any) {
	g.t.Helper()
	g.post("GET", path, "", value)
}

// post sends a request and reads the JSON that comes back into value.
func (g *gate) post(method, path, payload string, value any) {
	g.t.Helper()
	text, err := g.ask(method, path, payload)
	if err != nil {
		g.t.Fatal(err)
	}
	wantNoSecrets(g.t, path, text)
	if err := json.Unmarshal([]byte(text), value); err != nil {
		g.t.Fatalf("%s: %v in %s", path, err, text)
	}
}

// flushed is the answer to a flush.
type flushed struct {
	Result  string   `json:"result"`
	Flushed []string `json:"flushed"`
	Pinned  []string `json:"pinned"`
}

func (g *gate) flush(name string) (f flushed) {
	g.t.Helper()
	g.post("POST", "/flush/"+name, "", &f)
	return f
}

// breaker is the state of the first store's breaker.
func (g *gate) breaker() string {
	g.t.Helper()
	stores := g.status().Stores
	if len(stores) == 0 {
		g.t.Fatal("status lists no store")
	}
	return stores[0].Breaker
}

// eventually waits until a condition holds.
func (g *gate) eventually(what string, holds func() bool) {
	g.t.Helper()
	g.within(patience, what, holds)
}

// within waits until a condition holds, for as long as was promised.
func (g *gate) within(limit time.Duration, what string, holds func() bool) {
	g.t.Helper()
	for deadline := time.Now().Add(limit); !holds(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			g.t.Fatalf("after %v still not: %s", limit, what)
		}
	}
}
