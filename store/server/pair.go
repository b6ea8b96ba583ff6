package server

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"
	"syscall"
	"time"

	"hellogate/sni"
)

// maxFile is far above any chain in use.
const maxFile = 1 << 20

// pair is a certificate chain and the key that belongs to it.
type pair struct {
	file       string   // its files' name, without .crt and .key
	chain, key []byte   // PEM, and nothing that is not
	names      []string // of the leaf's SANs, see certNames
}

func parsePair(file string, chain, key []byte) (*pair, error) {
	parsed, err := tls.X509KeyPair(chain, key)
	if err != nil {
		return nil, err
	}
	made := &pair{file: file, names: certNames(parsed.Leaf), key: keyBlock(key)}
	for _, certificate := range parsed.Certificate {
		made.chain = append(made.chain, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: certificate})...)
	}
	return made, nil
}

// keyBlock returns the block that tls.X509KeyPair takes for the key.
func keyBlock(text []byte) []byte {
	for {
		block, rest := pem.Decode(text)
		if block == nil {
			return nil
		}
		if block.Type == "PRIVATE KEY" || strings.HasSuffix(block.Type, " PRIVATE KEY") {
			return pem.EncodeToMemory(&pem.Block{Type: block.Type, Bytes: block.Bytes})
		}
		text = rest
	}
}

func (p *pair) holds(name string) bool { return slices.Contains(p.names, name) }

// certNames returns a certificate's DNS SANs that are names, in lower case, and
// those that are "*." and a name.
func certNames(certificate *x509.Certificate) []string {
	var names []string
	for _, text := range certificate.DNSNames {
		base, wildcard := strings.CutPrefix(text, "*.")
		name, err := sni.Normalize(base)
		switch {
		case err != nil: // no client can ask for it
		case wildcard:
			names = append(names, "*."+name)
		default:
			names = append(names, name)
		}
	}
	return names
}

// firstCertificate returns the leaf of a PEM chain.
func firstCertificate(text []byte) (*x509.Certificate, error) {
	for {
		block, rest := pem.Decode(text)
		if block == nil {
			return nil, errors.New("no PEM certificate in it")
		}
		if block.Type == "CERTIFICATE" {
			return x509.ParseCertificate(block.Bytes)
		}
		text = rest
	}
}

// stamp says which version of a file was read.
type stamp struct {
	info fs.FileInfo
	read time.Time
}

// is says whether the file is still as it was read. One that had been written
// just before is never taken to be: a second write within the resolution of its
// time would go unseen.
func (s stamp) is(info fs.FileInfo) bool {
	const resolution = 2 * time.Second
	return s.info != nil && os.SameFile(s.info, info) && s.info.Size() == info.Size() &&
		s.info.ModTime().Equal(info.ModTime()) && s.info.Mode() == info.Mode() &&
		s.read.Sub(info.ModTime()) > resolution
}

var errNotRegular = errors.New("not a regular file")

// readFile reads a file that must not be long. It does not block on a FIFO.
func readFile(root *os.Root, name string) ([]byte, stamp, error) {
	file, err := root.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, stamp{}, err
	}
	defer file.Close()
	version := stamp{read: time.Now()}
	if version.info, err = file.Stat(); err != nil {
		return nil, stamp{}, err
	}
	if !version.info.Mode().IsRegular() {
		return nil, stamp{}, fmt.Errorf("%s: %w", name, errNotRegular)
	}
	var text bytes.Buffer
	if _, err := text.ReadFrom(io.LimitReader(file, maxFile+1)); err != nil {
		return nil, stamp{}, err
	}
	if text.Len() > maxFile {
		return nil, stamp{}, fmt.Errorf("%s: longer than %d bytes", name, maxFile)
	}
	return text.Bytes(), version, nil
}
