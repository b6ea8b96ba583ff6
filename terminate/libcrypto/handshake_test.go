package libcrypto

import (
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"math/big"
	"net"
	"testing"
	"time"
)

func TestHandshakes(t *testing.T) {
	key := rsaKey()
	template := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{"a.example"}, NotAfter: time.Now().Add(time.Hour)}
	der := must(x509.CreateCertificate(rand.Reader, template, template, key.Public(), key))
	roots := x509.NewCertPool()
	roots.AddCert(must(x509.ParseCertificate(der)))
	for name, versions := range map[string][2]uint16{
		"TLS 1.3": {tls.VersionTLS13, tls.VersionTLS13},
		"TLS 1.2": {tls.VersionTLS12, tls.VersionTLS12},
		"TLS 1.1": {tls.VersionTLS11, tls.VersionTLS11},
	} {
		failed := Failures()
		server := &tls.Config{
			Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: Wrap(key)}},
			MinVersion:   versions[0], MaxVersion: versions[1],
		}
		client := &tls.Config{ServerName: "a.example", RootCAs: roots, MinVersion: versions[0], MaxVersion: versions[1]}
		if err := handshake(server, client); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if got := Failures() - failed; got != 0 {
			t.Errorf("%s: %d failures", name, got)
		}
	}
}

func handshake(server, client *tls.Config) error {
	ours, theirs := net.Pipe()
	defer ours.Close()
	defer theirs.Close()
	served := make(chan error, 1)
	go func() { served <- tls.Server(ours, server).Handshake() }()
	connection := tls.Client(theirs, client)
	if err := connection.Handshake(); err != nil {
		theirs.Close()
		<-served
		return err
	}
	go connection.Read(make([]byte, 1)) // takes the session tickets
	return <-served
}
