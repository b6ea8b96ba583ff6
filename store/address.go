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

// address is where an HTTP store is: the URL that requests are made of, and the Unix socket to send them over, if any.
type address struct {
	base   *url.URL
	socket string
	// shown is the URL for people. It has no query: that may hold a secret.
	shown string
}

func parseAddress(text string, plaintext bool) (address, error) {
	// The parser's own error is left out: it quotes what may be a password.
	base, err := url.Parse(text)
	if err != nil {
		return address{}, errors.New("the store's url is malformed: https://host:port/path expected")
	}
	if base.User != nil {
		return address{}, errors.New("the store's url holds a user name or password: give a token file or a client certificate instead")
	}
	if base.Fragment != "" || base.Opaque != "" {
		return address{}, errors.New("the store's url is malformed: https://host:port/path expected, without a fragment")
	}
	shown := *base
	shown.RawQuery, shown.ForceQuery = "", false
	result := address{base: base, shown: shown.String()}
	switch base.Scheme {
	case "unix":
		return result, result.useSocket()
	case "http", "https":
		if base.Hostname() == "" {
			return address{}, fmt.Errorf("store url %q has no host", result.shown)
		}
		if base.Scheme == "http" && !plaintext && !loopback(base.Hostname()) {
			return address{}, fmt.Errorf("store url %q: private keys would cross the network in plain text: "+
				"use https, or allow it with plaintext", result.shown)
		}
		return result, nil
	}
	return address{}, fmt.Errorf("store url %q: scheme %q: https, http or unix expected", result.shown, base.Scheme)
}

// useSocket takes unix:///path/to.sock, or unix:///path/to.sock:/prefix for a store that is not at the root.
func (a *address) useSocket() error {
	path, prefix, found := strings.Cut(a.base.Path, ":/")
	if a.base.Host != "" || !strings.HasPrefix(path, "/") {
		return fmt.Errorf("store url %q: unix:///path/to/socket expected, with three slashes", a.shown)
	}
	if found {
		prefix = "/" + prefix
	}
	a.socket = path
	a.base = &url.URL{Scheme: "http", Host: "localhost", Path: prefix, RawQuery: a.base.RawQuery}
	return nil
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
