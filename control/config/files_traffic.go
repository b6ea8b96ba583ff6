package config

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
)

// route looks at the files that a route names itself. Those that it inherits are
// looked at where they were written.
func (f *fileChecker) route(path string, route Route) {
	auth := route.TLS.ClientAuth
	for _, file := range []struct {
		key, name string
		look      func(path, file string)
	}{
		{".tls.client_auth.ca_file", auth.CAFile, f.roots},
		{".tls.client_auth.crl_file", auth.CRLFile, f.revocations},
		{".session_tickets.key_file", route.SessionTickets.KeyFile, f.key},
	} {
		if _, own := f.origin.places[path+file.key]; own {
			file.look(path+file.key, file.name)
		}
	}
}

func (f *fileChecker) clientAuth(path string, auth ClientAuth) {
	f.roots(path+".ca_file", auth.CAFile)
	f.revocations(path+".crl_file", auth.CRLFile)
}

func (f *fileChecker) backend(path string, backend Backend) {
	if settings := backend.TLS; settings != nil {
		f.roots(path+".tls.ca_file", settings.CAFile)
		f.pair(path+".tls.cert_file", settings.CertFile, path+".tls.key_file", settings.KeyFile)
	}
}

func (f *fileChecker) revocations(path, file string) {
	content := f.read(path, file)
	if content == nil {
		return
	}
	if err := checkRevocations(content); err != nil {
		f.problem(path, fmt.Errorf("%s: %w", file, err))
	}
}

var errNoRevocations = errors.New("no revocation list in it, PEM or DER")

// checkRevocations says what is wrong with the content of a file of revocation
// lists.
func checkRevocations(content []byte) error {
	if !bytes.Contains(content, []byte("-----BEGIN")) {
		if _, err := x509.ParseRevocationList(content); err != nil {
			return errNoRevocations
		}
		return nil
	}
	found := false
	for block, rest := pem.Decode(content); block != nil; block, rest = pem.Decode(rest) {
		if block.Type != "X509 CRL" {
			continue
		}
		if _, err := x509.ParseRevocationList(block.Bytes); err != nil {
			return fmt.Errorf("revocation list: %w", err)
		}
		found = true
	}
	if !found {
		return errNoRevocations
	}
	return nil
}
