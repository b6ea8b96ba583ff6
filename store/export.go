package store

import (
	"crypto/tls"
	"fmt"
	"strings"
)

// What stores in packages of their own share with those of this one.

// CheckName refuses a name that sni.Normalize would not have returned.
func CheckName(name string) error { return checkName(name) }

// Loopback reports whether host is localhost or an address of the loopback.
func Loopback(host string) bool { return loopback(host) }

// DecodePair decodes a chain and its key, each in PEM. A key among the certificates, or the other way round, is an error,
// and so is all that DecodePEM refuses. Errors do not quote the text.
func DecodePair(chain, key string) (Pair, error) { return pairText{cert: &chain, key: &key}.decode() }

// ClientTLS is the client's side of TLS to a store, at least TLS 1.2: verified by caFile's roots or, when it is empty,
// the system's, unless insecureSkipVerify is set. certFile and keyFile may both be empty; they are read again when they
// change.
func ClientTLS(caFile, certFile, keyFile string, insecureSkipVerify bool) (*tls.Config, error) {
	options := HTTPOptions{CAFile: caFile, CertFile: certFile, KeyFile: keyFile, InsecureSkipVerify: insecureSkipVerify}
	return options.tlsConfig()
}

// PasswordFile returns a function that gives the content of the file at path without the line end behind it, and reads the
// file again when it has changed. The function is safe for concurrent use; its errors do not quote the content.
func PasswordFile(path string) func() (string, error) {
	file := &reread[string]{paths: []string{path}, load: func() (string, error) {
		text, err := readBounded(path, maxToken)
		if err != nil {
			return "", err
		}
		password := strings.TrimRight(string(text), "\r\n")
		if password == "" {
			return "", fmt.Errorf("%s: the password is empty", path)
		}
		return password, nil
	}}
	return file.get
}
