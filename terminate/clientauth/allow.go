package clientauth

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"net/url"
	"strings"

	"hellogate/sni"
)

// allow is Allow, to look up in.
type allow struct {
	all  bool // there are no lists
	cn   map[string]bool
	dns  map[string]bool // with names of the form *.x among them
	uri  map[string]bool
	spki map[[sha256.Size]byte]bool
}

func newAllow(a Allow) (made allow, err error) {
	made.all = len(a.CN)+len(a.DNS)+len(a.URI)+len(a.SPKI) == 0
	if made.cn, err = collect("CN", a.CN, commonName); err != nil {
		return made, err
	}
	if made.dns, err = collect("DNS name", a.DNS, dnsName); err != nil {
		return made, err
	}
	if made.uri, err = collect("URI", a.URI, wholeURI); err != nil {
		return made, err
	}
	made.spki, err = collect("SHA-256 of a public key", a.SPKI, keyHash)
	return made, err
}

// collect reads a list.
func collect[T comparable](what string, list []string, parse func(string) (T, error)) (map[T]bool, error) {
	made := make(map[T]bool, len(list))
	for _, text := range list {
		value, err := parse(text)
		if err != nil {
			return nil, fmt.Errorf("client certificates: allowed %s %q: %w", what, text, err)
		}
		made[value] = true
	}
	return made, nil
}

func commonName(text string) (string, error) {
	if text == "" {
		return "", errors.New("it is empty")
	}
	return text, nil
}

func dnsName(text string) (string, error) {
	name, wild := strings.CutPrefix(text, "*.")
	name, err := sni.Normalize(name)
	if err == nil && wild {
		name = "*." + name
	}
	return name, err
}

func wholeURI(text string) (string, error) {
	uri, err := url.Parse(text)
	if err != nil {
		return "", err
	}
	if uri.Scheme == "" {
		return "", errors.New("it has no scheme")
	}
	return uri.String(), nil
}

func keyHash(text string) (hash [sha256.Size]byte, err error) {
	bare := strings.TrimPrefix(strings.TrimPrefix(text, "sha256/"), "sha256:")
	sum, err := hex.DecodeString(strings.ReplaceAll(bare, ":", ""))
	if err != nil || len(sum) != len(hash) {
		sum, err = base64.StdEncoding.DecodeString(bare)
	}
	if err != nil || len(sum) != len(hash) {
		return hash, fmt.Errorf("not %d bytes in hex or base64", len(hash))
	}
	return [sha256.Size]byte(sum), nil
}

// admits reports whether a certificate that verified is among those that pass.
func (a allow) admits(leaf *x509.Certificate) bool {
	if a.all || a.cn[leaf.Subject.CommonName] {
		return true
	}
	for _, name := range leaf.DNSNames {
		if a.admitsName(strings.ToLower(name)) {
			return true
		}
	}
	for _, uri := range leaf.URIs {
		if a.uri[uri.String()] {
			return true
		}
	}
	return len(a.spki) > 0 && a.spki[sha256.Sum256(leaf.RawSubjectPublicKeyInfo)]
}

func (a allow) admitsName(name string) bool {
	if a.dns[name] {
		return true
	}
	dot := strings.IndexByte(name, '.')
	return dot > 0 && a.dns["*"+name[dot:]]
}
