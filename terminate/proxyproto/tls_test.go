package proxyproto

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"strings"
	"testing"
)

// rsaKey has a modulus of that size.
func rsaKey(bits uint) *rsa.PublicKey {
	return &rsa.PublicKey{N: new(big.Int).Lsh(big.NewInt(1), bits-1), E: 65537}
}

// sslOf is the SSL field of a client's TLS.
func sslOf(t *testing.T, state *TLS, types ...TLV) SSLField {
	t.Helper()
	s := sender(t, Options{Version: V2, TLVs: append(types, SSL)})
	value, found := Find(fieldsOf(t, header(t, s, Connection{TLS: state, Source: addr("192.0.2.1:1"), Destination: addr("192.0.2.2:2")})), SSL)
	if !found {
		t.Fatal("no SSL field")
	}
	ssl, err := DecodeSSL(value)
	if err != nil {
		t.Fatal(err)
	}
	return ssl
}

func TestClientCertificate(t *testing.T) {
	certificate := &x509.Certificate{Raw: []byte("DER"), Subject: pkix.Name{CommonName: "client"}}
	tests := []struct {
		name   string
		tls    TLS
		client uint8
		verify uint32
		cn     string
	}{
		{"none", TLS{}, 0x01, 1, ""},
		{"none, and that verified", TLS{Verified: true, Resumed: true}, 0x01, 1, ""},
		{"a good one", TLS{ClientCertificate: certificate, Verified: true}, 0x07, 0, "client"},
		{"a bad one", TLS{ClientCertificate: certificate}, 0x07, 1, "client"},
		{"a good one, resumed", TLS{ClientCertificate: certificate, Verified: true, Resumed: true}, 0x05, 0, "client"},
		{"without a common name", TLS{ClientCertificate: &x509.Certificate{}, Verified: true}, 0x07, 0, ""},
		{"with one that is not UTF-8", TLS{ClientCertificate: &x509.Certificate{Subject: pkix.Name{CommonName: "a\xff"}}}, 0x07, 1, "a\ufffd"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			ssl := sslOf(t, &test.tls)
			if ssl.Client != test.client || ssl.Verify != test.verify {
				t.Errorf("client 0x%x verify %d, want 0x%x %d", ssl.Client, ssl.Verify, test.client, test.verify)
			}
			if cn, found := Find(ssl.Fields, SSLCommonName); string(cn) != test.cn || found != (test.cn != "") {
				t.Errorf("common name %q, want %q", cn, test.cn)
			}
			if der, found := Find(ssl.Fields, SSLClientCertificate); found {
				t.Errorf("certificate %q that nobody asked for", der)
			}
		})
	}
}

func TestTLSNames(t *testing.T) {
	certificate := func(algorithm x509.SignatureAlgorithm, key any) *x509.Certificate {
		return &x509.Certificate{SignatureAlgorithm: algorithm, PublicKey: key}
	}
	tests := []struct {
		name string
		tls  TLS
		tlv  TLV
		want string // empty: left out
	}{
		{"TLS 1.2", TLS{Version: tls.VersionTLS12}, SSLVersion, "TLSv1.2"},
		{"TLS 1.3", TLS{Version: tls.VersionTLS13}, SSLVersion, "TLSv1.3"},
		{"another TLS", TLS{Version: 0x0305}, SSLVersion, "0x0305"},
		{"a cipher of TLS 1.2", TLS{CipherSuite: tls.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256}, SSLCipher, "ECDHE-ECDSA-CHACHA20-POLY1305"},
		{"a cipher of TLS 1.3", TLS{CipherSuite: tls.TLS_AES_256_GCM_SHA384}, SSLCipher, "TLS_AES_256_GCM_SHA384"},
		{"a certificate's RSA signature", TLS{Certificate: certificate(x509.SHA384WithRSA, nil)}, SSLSignatureAlgorithm, "RSA-SHA384"},
		{"a certificate's PSS signature", TLS{Certificate: certificate(x509.SHA256WithRSAPSS, nil)}, SSLSignatureAlgorithm, "RSASSA-PSS"},
		{"a certificate's ECDSA signature", TLS{Certificate: certificate(x509.ECDSAWithSHA256, nil)}, SSLSignatureAlgorithm, "ecdsa-with-SHA256"},
		{"a certificate's Ed25519 signature", TLS{Certificate: certificate(x509.PureEd25519, nil)}, SSLSignatureAlgorithm, "ED25519"},
		{"an unknown signature", TLS{Certificate: certificate(0, nil)}, SSLSignatureAlgorithm, ""},
		{"no certificate's signature", TLS{ClientCertificate: certificate(x509.SHA384WithRSA, nil)}, SSLSignatureAlgorithm, ""},
		{"an RSA key", TLS{Certificate: certificate(0, rsaKey(2048))}, SSLKeyAlgorithm, "RSA2048"},
		{"a longer RSA key", TLS{Certificate: certificate(0, rsaKey(3072))}, SSLKeyAlgorithm, "RSA3072"},
		{"a P-256 key", TLS{Certificate: certificate(0, &ecdsa.PublicKey{Curve: elliptic.P256()})}, SSLKeyAlgorithm, "EC256"},
		{"a P-521 key", TLS{Certificate: certificate(0, &ecdsa.PublicKey{Curve: elliptic.P521()})}, SSLKeyAlgorithm, "EC521"},
		{"an Ed25519 key", TLS{Certificate: certificate(0, ed25519.PublicKey{})}, SSLKeyAlgorithm, "ED25519"},
		{"an unknown key", TLS{Certificate: certificate(0, nil)}, SSLKeyAlgorithm, ""},
		{"no certificate's key", TLS{ClientCertificate: certificate(0, rsaKey(2048))}, SSLKeyAlgorithm, ""},
		{"a group", TLS{Group: tls.X25519}, SSLGroup, "x25519"},
		{"a hybrid group", TLS{Group: tls.X25519MLKEM768}, SSLGroup, "X25519MLKEM768"},
		{"another group", TLS{Group: 0x0100}, SSLGroup, "0x0100"},
		{"no group", TLS{}, SSLGroup, ""},
		{"a signature", TLS{SignatureScheme: tls.ECDSAWithP256AndSHA256}, SSLSignatureScheme, "ecdsa_secp256r1_sha256"},
		{"another signature", TLS{SignatureScheme: 0x0904}, SSLSignatureScheme, "0x0904"},
		{"no signature", TLS{}, SSLSignatureScheme, ""},
		{"a client certificate", TLS{ClientCertificate: &x509.Certificate{Raw: []byte("DER")}}, SSLClientCertificate, "DER"},
		{"no client certificate", TLS{}, SSLClientCertificate, ""},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			value, found := Find(sslOf(t, &test.tls, everyTLV...).Fields, test.tlv)
			if string(value) != test.want || found != (test.want != "") {
				t.Errorf("%q, want %q", value, test.want)
			}
			always := test.tlv == SSLVersion || test.tlv == SSLCipher
			if value, found := Find(sslOf(t, &test.tls).Fields, test.tlv); found && !always {
				t.Errorf("%q that nobody asked for", value)
			}
		})
	}
}

func TestDecodeSSLRefuses(t *testing.T) {
	tests := []struct{ name, value, want string }{
		{"nothing", "", "at least 5"},
		{"less than its first five bytes", "\x01\x00\x00\x00", "at least 5"},
		{"a field's type alone", "\x00\x00\x00\x00\x01\x21", "1 bytes after the last field"},
		{"a field cut short", "\x01\x00\x00\x00\x01\x21\x00\x07TLSv1.", "ssl_version of 7 bytes has 6"},
		{"TLS without its version", "\x01\x00\x00\x00\x01", "without its version"},
		{"a certificate outside of its session", "\x02\x00\x00\x00\x01", "none in its session"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if got, err := DecodeSSL([]byte(test.value)); err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("%v, %v, want %q", got, err, test.want)
			}
		})
	}
}
