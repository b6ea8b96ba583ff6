package cache

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"net"
	"testing"

	"github.com/rs/zerolog"

	"hellogate/store"
	"hellogate/store/certtest"
)

// Every kind of key signs after it was packed, and crypto/tls does without the parsed leaf.
func TestHandshakeWithEveryKindOfKey(t *testing.T) {
	ca := certtest.NewCA(t)
	generate := func(key crypto.Signer, err error) crypto.Signer {
		if err != nil {
			t.Fatal(err)
		}
		return key
	}
	ecdsaKey := func(curve elliptic.Curve) crypto.Signer {
		key, err := ecdsa.GenerateKey(curve, rand.Reader)
		return generate(key, err)
	}
	_, seed, err := ed25519.GenerateKey(rand.Reader)
	rsaKey, rsaErr := rsa.GenerateKey(rand.Reader, 2048)
	for kind, key := range map[string]crypto.Signer{
		"ecdsa-p256": ecdsaKey(elliptic.P256()),
		"ecdsa-p384": ecdsaKey(elliptic.P384()),
		"ecdsa-p521": ecdsaKey(elliptic.P521()),
		"ed25519":    generate(seed, err),
		"rsa-2048":   generate(rsaKey, rsaErr),
	} {
		t.Run(kind, func(t *testing.T) {
			issued := ca.IssueWith(t, certtest.Options{Names: []string{"a.example"}, Key: key})
			c := New(Options{Log: zerolog.Nop(), Store: answering(func(store.Request) (*store.Bundle, error) {
				return &store.Bundle{Store: "test", Pairs: []store.Pair{issued.Pair}}, nil
			})})
			defer c.Close()
			c.Prefetch(t.Context(), "a.example") // leaves it as bytes
			if info, _ := c.Show("a.example"); info.KeyType != kind {
				t.Fatalf("key type %s", info.KeyType)
			}
			for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
				handshake(t, c, ca, version)
			}
		})
	}
}

func handshake(t *testing.T, c *Cache, ca *certtest.CA, version uint16) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	served := make(chan error, 1)
	go func() {
		conn, err := listener.Accept()
		if err != nil {
			served <- err
			return
		}
		defer conn.Close()
		served <- tls.Server(conn, &tls.Config{GetCertificate: func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
			got, err := c.Get(context.Background(), Query{Name: hello.ServerName, Hello: hello})
			return got.Certificate, err
		}}).Handshake()
	}()
	client, err := tls.Dial("tcp", listener.Addr().String(), &tls.Config{
		ServerName: "a.example", RootCAs: ca.Pool(), MinVersion: version, MaxVersion: version,
	})
	if err != nil {
		t.Fatalf("%s: %v", tls.VersionName(version), err)
	}
	client.Close()
	if err := <-served; err != nil {
		t.Fatalf("%s: %v", tls.VersionName(version), err)
	}
}
