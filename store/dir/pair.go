package dir

import (
	"bytes"
	"cmp"
	"crypto"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"path"
	"slices"
	"strings"
	"time"

	"hellogate/sni"
	"hellogate/store"
)

// part is a chain's file and its key's, or, without key, a file that holds both.
type part struct{ chain, key *file }

// found is what was found in a place.
type found struct {
	parts  []part
	either bool // one of the parts is taken, rather than all
}

func (p part) files() []*file {
	if p.key == nil {
		return []*file{p.chain}
	}
	return []*file{p.chain, p.key}
}

func (p part) close() {
	for _, file := range []*file{p.chain, p.key} {
		if file != nil {
			file.Close()
		}
	}
}

func (f *found) files() []*file {
	var files []*file
	for _, part := range f.parts {
		files = append(files, part.files()...)
	}
	return files
}

func (f *found) close() {
	for _, part := range f.parts {
		part.close()
	}
}

// unwatched returns the paths of files of which no change would be seen: those in a folder that nobody watches yet, and
// links.
func (f *found) unwatched(l *look) []string {
	var unwatched []string
	for _, file := range f.files() {
		if at := path.Dir(file.path); at != "." {
			if !l.keeper.watching(at) {
				unwatched = append(unwatched, file.path)
			}
		} else if info, err := l.root.Lstat(file.path); err == nil && info.Mode()&os.ModeSymlink != 0 {
			unwatched = append(unwatched, file.path)
		}
	}
	return unwatched
}

// decoded is a pair and its leaf.
type decoded struct {
	pair store.Pair
	leaf *x509.Certificate
}

var errChanging = errors.New("its files are being replaced")

// read returns the pairs, or those with the san if there is one. Of parts of which one is taken, it is the one that is
// valid longest, and those that can't be read don't count unless there is no other.
func (f *found) read(san string) ([]store.Pair, error) {
	var all []decoded
	var failed error
	for _, part := range f.parts {
		pairs, err := part.read()
		if err != nil && !f.either {
			return nil, err
		}
		failed = cmp.Or(failed, err)
		all = append(all, pairs...)
	}
	if len(all) == 0 {
		return nil, failed
	}
	if san != "" {
		all = slices.DeleteFunc(all, func(d decoded) bool { return !slices.Contains(dnsNames(d.leaf), san) })
	}
	switch {
	case len(all) == 0:
		return nil, fmt.Errorf("%s: %w", f.parts[0].chain.path, errChanging)
	case len(all) > store.MaxPairs:
		return nil, fmt.Errorf("%s: %d pairs: at most %d allowed", f.parts[0].chain.path, len(all), store.MaxPairs)
	case f.either:
		all = []decoded{slices.MaxFunc(all, func(a, b decoded) int { return a.leaf.NotAfter.Compare(b.leaf.NotAfter) })}
	}
	pairs := make([]store.Pair, len(all))
	for i := range all {
		pairs[i] = all[i].pair
	}
	return pairs, nil
}

func (p part) read() ([]decoded, error) {
	text, err := p.text()
	if err != nil {
		return nil, err
	}
	pairs, err := store.DecodePEM(withoutParameters(text))
	if err != nil {
		return nil, p.wrap(err)
	}
	all := make([]decoded, len(pairs))
	for i, pair := range pairs {
		leaf, err := leafOf(pair)
		if err != nil {
			return nil, p.wrap(err)
		}
		all[i] = decoded{pair, leaf}
	}
	return all, nil
}

// text returns the chain and the key as one text.
func (p part) text() ([]byte, error) {
	chain, err := p.chain.text()
	if err != nil || p.key == nil {
		return chain, err
	}
	key, err := p.key.text()
	if err != nil {
		return nil, err
	}
	// A key that was put into the file for the chain is world-readable, as likely as not: that is not to go unseen.
	if bytes.Contains(chain, []byte("PRIVATE KEY-----")) {
		return nil, fmt.Errorf("%s holds a private key", p.chain.path)
	}
	if bytes.Contains(key, []byte("-----BEGIN CERTIFICATE-----")) {
		return nil, fmt.Errorf("%s holds a certificate", p.key.path)
	}
	return slices.Concat(chain, []byte{'\n'}, key), nil
}

func (p part) wrap(err error) error {
	if p.key == nil {
		return fmt.Errorf("%s: %w", p.chain.path, err)
	}
	return fmt.Errorf("%s and %s: %w", p.chain.path, p.key.path, err)
}

// withoutParameters takes out the parameters of Diffie-Hellman, which HAProxy and hitch take in the same file.
func withoutParameters(text []byte) []byte {
	begin, end := []byte("-----BEGIN DH PARAMETERS-----"), []byte("-----END DH PARAMETERS-----")
	for {
		from := bytes.Index(text, begin)
		if from < 0 {
			return text
		}
		length := bytes.Index(text[from:], end)
		if length < 0 {
			return text
		}
		text = slices.Concat(text[:from], text[from+length+len(end):])
	}
}

// leafOf returns the certificate of the pair's key.
func leafOf(pair store.Pair) (*x509.Certificate, error) {
	signer, err := store.ParseKey(pair.Key)
	if err != nil {
		return nil, err
	}
	public, ok := signer.Public().(interface{ Equal(crypto.PublicKey) bool })
	for i, der := range pair.Chain {
		certificate, err := x509.ParseCertificate(der)
		if err != nil {
			return nil, fmt.Errorf("certificate %d of %d: %w", i+1, len(pair.Chain), err)
		}
		if ok && public.Equal(certificate.PublicKey) {
			return certificate, nil
		}
	}
	return nil, fmt.Errorf("the private key belongs to none of its certificates (%d)", len(pair.Chain))
}

// dnsNames returns a certificate's DNS SANs that are names, in lower case, and those that are "*." and a name.
func dnsNames(certificate *x509.Certificate) []string {
	var names []string
	for _, text := range certificate.DNSNames {
		base, wildcard := strings.CutPrefix(text, "*.")
		name, err := sni.Normalize(base)
		if err != nil {
			continue // no client can ask for it
		}
		if wildcard {
			name = "*." + name
		}
		if !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return names
}

// sans returns the DNS names of the certificates in text, and when the first of these ends. It stops at the first that
// has names, unless there may be several leaves.
func sans(text []byte, several bool) (names []string, notAfter time.Time) {
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		if block.Type != "CERTIFICATE" {
			continue
		}
		certificate, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			continue
		}
		found := dnsNames(certificate)
		if len(found) == 0 {
			continue
		}
		if len(names) == 0 || certificate.NotAfter.Before(notAfter) {
			notAfter = certificate.NotAfter
		}
		names = append(names, found...)
		if !several {
			break
		}
	}
	slices.Sort(names)
	return slices.Compact(names), notAfter
}
