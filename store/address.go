package store

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"strings"
)

// Address is where something is that is asked over HTTP: the URL that requests are made of, and the Unix socket to send them
// over, if any.
type Address = address

type address struct {
	base   *url.URL
	socket string
	// shown is the URL for people. It has no query: that may hold a secret.
	shown string
}

// Base is the URL that requests are made of; it is not to be changed.
func (a address) Base() *url.URL { return a.base }

// Socket is the path of the Unix socket to send requests over; "" is none.
func (a address) Socket() string { return a.socket }

// String is the URL for people, without its query, which may hold a secret.
func (a address) String() string { return a.shown }

// ParseAddress reads https://host:port/path, http:// likewise, or unix:///path/to.sock, with ":/path" behind it. It must hold
// no password. exposed says what http:// to more than loopback would lay open, which makes that an error; "" allows it. Its
// errors begin with "url" and repeat neither a query nor what could not be parsed.
func ParseAddress(text, exposed string) (Address, error) {
	// The parser's own error is left out: it quotes what may be a password.
	base, err := url.Parse(text)
	if err != nil || base.Opaque != "" || base.Fragment != "" {
		return Address{}, errors.New("url malformed: https://host:port/path expected, without a fragment")
	}
	if base.User != nil {
		return Address{}, errors.New("url holds a user name or password, which has no place in it")
	}
	shown := *base
	shown.RawQuery, shown.ForceQuery = "", false
	result := address{base: base, shown: shown.String()}
	switch base.Scheme {
	case "unix":
		return result, result.useSocket()
	case "http", "https":
		return result, result.checkHost(exposed)
	}
	return Address{}, fmt.Errorf("url %q: scheme %q: https, http or unix expected", result.shown, base.Scheme)
}

func (a *address) checkHost(exposed string) error {
	if a.base.Hostname() == "" {
		return fmt.Errorf("url %q has no host", a.shown)
	}
	if a.base.Scheme == "http" && exposed != "" && !loopback(a.base.Hostname()) {
		return fmt.Errorf("url %q: %s: use https, or allow it with plaintext", a.shown, exposed)
	}
	return nil
}

// useSocket takes unix:///path/to.sock, or unix:///path/to.sock:/path for what is not at the root.
func (a *address) useSocket() error {
	path, below, found := strings.Cut(a.base.Path, ":/")
	if a.base.Host != "" || !strings.HasPrefix(path, "/") {
		return fmt.Errorf("url %q: unix:///path/to/socket expected, with three slashes", a.shown)
	}
	if found {
		below = "/" + below
	}
	a.socket = path
	a.base = &url.URL{Scheme: "http", Host: "localhost", Path: below, RawQuery: a.base.RawQuery}
	return nil
}

// parseAddress reads the URL of a store.
func parseAddress(text string, plaintext bool) (address, error) {
	exposed := "private keys would cross the network in plain text"
	if plaintext {
		exposed = ""
	}
	where, err := ParseAddress(text, exposed)
	if err != nil {
		return address{}, fmt.Errorf("store %w", err)
	}
	return where, nil
}

func loopback(host string) bool {
	ip, err := netip.ParseAddr(host)
	return strings.EqualFold(host, "localhost") || err == nil && ip.Unmap().IsLoopback()
}

// tlsConfig is the client's side of TLS to the store.
func (o HTTPOptions) tlsConfig() (*tls.Config, error) {
	config := &tls.Config{MinVersion: tls.VersionTLS12, InsecureSkipVerify: o.InsecureSkipVerify}
	if o.CAFile != "" {
		text, err := readBounded(o.CAFile, MaxBody)
		if err != nil {
			return nil, err
		}
		config.RootCAs = x509.NewCertPool()
		if !config.RootCAs.AppendCertsFromPEM(text) {
			return nil, fmt.Errorf("%s: no certificate in PEM", o.CAFile)
		}
	}
	if o.CertFile == "" && o.KeyFile == "" {
		return config, nil
	}
	if o.CertFile == "" || o.KeyFile == "" {
		return nil, errors.New("a client certificate needs both its certificate file and its key file")
	}
	files := certificateFiles(o.CertFile, o.KeyFile)
	if _, err := files.get(); err != nil {
		return nil, err
	}
	config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return files.get() }
	return config, nil
}
