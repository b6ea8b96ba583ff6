package permission

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"hellogate/store"
)

// endpoint is what is asked: a URL, and the Unix socket to reach it over, if any.
type endpoint struct {
	base   *url.URL
	socket string
	// shown is the URL for people. It has no query: that may hold a secret.
	shown string
}

func parseEndpoint(text string, plaintext bool) (endpoint, error) {
	// The parser's own error is left out: it quotes what may be a password.
	base, err := url.Parse(text)
	if err != nil || base.Opaque != "" || base.Fragment != "" {
		return endpoint{}, errors.New("the url is malformed: https://host:port/path expected, without a fragment")
	}
	if base.User != nil {
		return endpoint{}, errors.New("the url holds a user name or password")
	}
	shown := *base
	shown.RawQuery, shown.ForceQuery = "", false
	where := endpoint{base: base, shown: shown.String()}
	switch base.Scheme {
	case "unix":
		return where, where.useSocket()
	case "http", "https":
		return where, where.checkHost(plaintext)
	}
	return endpoint{}, fmt.Errorf("url %q: scheme %q: https, http or unix expected", where.shown, base.Scheme)
}

func (e *endpoint) checkHost(plaintext bool) error {
	if e.base.Hostname() == "" {
		return fmt.Errorf("url %q has no host", e.shown)
	}
	if e.base.Scheme == "http" && !plaintext && !store.Loopback(e.base.Hostname()) {
		return fmt.Errorf("url %q: anybody on the way could permit any name: use https, or allow it with plaintext", e.shown)
	}
	return nil
}

// useSocket takes unix:///path/to.sock, or unix:///path/to.sock:/path for an endpoint that is not at the root.
func (e *endpoint) useSocket() error {
	path, below, found := strings.Cut(e.base.Path, ":/")
	if e.base.Host != "" || !strings.HasPrefix(path, "/") {
		return fmt.Errorf("url %q: unix:///path/to/socket expected, with three slashes", e.shown)
	}
	if found {
		below = "/" + below
	}
	e.socket = path
	e.base = &url.URL{Scheme: "http", Host: "localhost", Path: below, RawQuery: e.base.RawQuery}
	return nil
}

// request is the question for a name.
func (e *endpoint) request(ctx context.Context, name string) (*http.Request, error) {
	where := *e.base
	query := where.Query()
	query.Set("domain", name)
	where.RawQuery = query.Encode()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, where.String(), nil)
	if err != nil {
		return nil, errors.New("the request could not be made of the url")
	}
	request.Header.Set("User-Agent", "hellogate")
	return request, nil
}

// transport speaks HTTP/1.1 alone, so that the pool is bounded by what it says, and uses no proxy.
func (o Options) transport(where endpoint) (*http.Transport, error) {
	config, err := store.ClientTLS(o.CAFile, "", "", false)
	if err != nil {
		return nil, err
	}
	// A dial may outlive the request that began it, for the next one's sake; this ends it.
	dialer := &net.Dialer{Timeout: o.Timeout + time.Second}
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	return &http.Transport{
		Protocols: protocols,
		DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			if where.socket != "" {
				network, address = "unix", where.socket
			}
			return dialer.DialContext(ctx, network, address)
		},
		TLSClientConfig:        config,
		TLSHandshakeTimeout:    dialer.Timeout,
		DisableCompression:     true,
		MaxConnsPerHost:        asking,
		MaxIdleConns:           asking,
		MaxIdleConnsPerHost:    asking,
		IdleConnTimeout:        30 * time.Second,
		MaxResponseHeaderBytes: 16 << 10,
	}, nil
}
