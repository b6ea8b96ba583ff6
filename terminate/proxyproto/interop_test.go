package proxyproto

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

const haproxyReceiver = `
defaults
  mode http
  timeout client 5s
  timeout connect 5s
  timeout server 5s
frontend f
  bind unix@%s accept-proxy
  http-request return status 200 content-type text/plain lf-string "%%[src] %%[src_port] %%[dst] %%[dst_port] %%[fc_pp_authority] %%[fc_pp_unique_id]"
`

func TestHAProxyReads(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "s")
	run(t, socket, fmt.Sprintf(haproxyReceiver, socket), "haproxy", "-q", "-db", "-f")
	everySender := sender(t, Options{Version: V2, TLVs: everyTLV, Custom: []Field{{0xe0, []byte("fixed")}}})
	v1, v2 := sender(t, Options{Version: V1}), sender(t, Options{Version: V2, TLVs: []TLV{CRC32C, UniqueID}})
	c := everything()
	unknown, v6, mixed := c, c, c
	unknown.Source = addr("")
	v6.Source, v6.Destination = addr("[2001:db8::1]:1"), addr("[2001:db8::2]:2")
	mixed.Destination = addr("[2001:db8::2]:2")
	wrong := header(t, v2, c)
	wrong[len(wrong)-1] ^= 1
	tests := []struct {
		name   string
		header []byte
		want   string // a beginning
	}{
		{"every field", header(t, everySender, c), "192.0.2.1 1234 192.0.2.2 443 a.test id"},
		{"v1", header(t, v1, c), "192.0.2.1 1234 192.0.2.2 443"},
		{"v1 of IPv6", header(t, v1, v6), "2001:db8::1 1 2001:db8::2 2"},
		{"v1 of both", header(t, v1, mixed), "::ffff:192.0.2.1 1234 2001:db8::2 2"},
		{"v2 of IPv6", header(t, v2, v6), "2001:db8::1 1 2001:db8::2 2"},
		{"v2 of both", header(t, v2, mixed), "::ffff:192.0.2.1 1234 2001:db8::2 2"},
		{"v1 of unknown addresses", header(t, v1, unknown), "     "},
		{"v2 of unknown addresses", header(t, v2, unknown), "     "},
		{"a health check", LocalHeader(V2, addr(""), addr("")), "     "},
		{"a wrong checksum", wrong, ""},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if got := told(t, socket, test.header); !strings.HasPrefix(got, test.want) || (got == "") != (test.want == "") {
				t.Errorf("%q, want %q", got, test.want)
			}
		})
	}
}

const nginxReceiver = `
daemon off;
master_process off;
pid %[1]s/pid;
error_log stderr;
events { }
http {
  access_log off;
  client_body_temp_path %[1]s; proxy_temp_path %[1]s; fastcgi_temp_path %[1]s; uwsgi_temp_path %[1]s; scgi_temp_path %[1]s;
  server {
    listen unix:%[2]s proxy_protocol;
    return 200 "$proxy_protocol_addr $proxy_protocol_port $proxy_protocol_server_addr $proxy_protocol_server_port";
  }
}
`

func TestNginxReads(t *testing.T) {
	directory := t.TempDir()
	socket := filepath.Join(directory, "s")
	run(t, socket, fmt.Sprintf(nginxReceiver, directory, socket), "nginx", "-e", "stderr", "-c")
	everySender := sender(t, Options{Version: V2, TLVs: everyTLV, Custom: []Field{{0xe0, []byte("fixed")}}})
	v6 := everything()
	v6.Source, v6.Destination = addr("[2001:db8::1]:1"), addr("[2001:db8::2]:2")
	tests := []struct {
		name   string
		header []byte
		want   string
	}{
		{"every field", header(t, everySender, everything()), "192.0.2.1 1234 192.0.2.2 443"},
		{"v2 of IPv6", header(t, everySender, v6), "2001:db8::1 1 2001:db8::2 2"},
		{"v1", header(t, sender(t, Options{Version: V1}), everything()), "192.0.2.1 1234 192.0.2.2 443"},
		{"v2 of unknown addresses", header(t, everySender, Connection{}), "   "},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if got := told(t, socket, test.header); got != test.want {
				t.Errorf("%q, want %q", got, test.want)
			}
		})
	}
}

const haproxySender = `
defaults
  mode tcp
  timeout client 5s
  timeout connect 5s
  timeout server 5s
listen f
  bind unix@%[1]s/s accept-proxy ssl crt %[1]s/own ca-file %[1]s/client verify optional
  unique-id-format id
  server s unix@%[1]s/backend send-proxy-v2 proxy-v2-options ssl,cert-cn,ssl-cipher,cert-sig,cert-key,authority,crc32c,unique-id
listen v1
  bind unix@%[1]s/v1 accept-proxy
  server s unix@%[1]s/backend send-proxy
`

// certify makes a certificate that signed itself and writes it, with its key, to a file.
func certify(t *testing.T, file, name string, key crypto.Signer) tls.Certificate {
	t.Helper()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name}, NotAfter: time.Now().Add(time.Hour),
		BasicConstraintsValid: true, IsCA: true,
	}
	der := must(x509.CreateCertificate(rand.Reader, template, template, key.Public(), key))
	text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	text = append(text, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: must(x509.MarshalPKCS8PrivateKey(key))})...)
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}
	return must(tls.X509KeyPair(text, text))
}

// TestHAProxySends holds what HAProxy says of a connection to what we say of it.
func TestHAProxySends(t *testing.T) {
	directory := t.TempDir()
	own := certify(t, filepath.Join(directory, "own"), "a.test", must(ecdsa.GenerateKey(elliptic.P384(), rand.Reader)))
	client := certify(t, filepath.Join(directory, "client"), "client", must(rsa.GenerateKey(rand.Reader, 2048)))
	backend := must(net.Listen("unix", filepath.Join(directory, "backend")))
	t.Cleanup(func() { _ = backend.Close() })
	run(t, filepath.Join(directory, "s"), fmt.Sprintf(haproxySender, directory), "haproxy", "-q", "-db", "-f")
	c := everything()
	c.UniqueID = []byte("id")
	s := sender(t, Options{Version: V2, TLVs: []TLV{Authority}})

	t.Run("v1", func(t *testing.T) {
		front := dial(t, filepath.Join(directory, "v1"))
		_ = must(front.Write(header(t, s, c)))
		if got := receive(t, backend); got.Version != V1 || got.Source != c.Source || got.Destination != c.Destination {
			t.Errorf("%v", got)
		}
	})
	for _, certificates := range [][]tls.Certificate{nil, {client}} {
		t.Run(fmt.Sprintf("v2 with %d client certificates", len(certificates)), func(t *testing.T) {
			front := dial(t, filepath.Join(directory, "s"))
			_ = must(front.Write(header(t, s, c)))
			session := tls.Client(front, &tls.Config{ServerName: "a.test", InsecureSkipVerify: true, Certificates: certificates})
			if err := session.Handshake(); err != nil {
				t.Fatal(err)
			}
			got := receive(t, backend)
			if got.Version != V2 || got.Source != c.Source || got.Destination != c.Destination {
				t.Errorf("%v", got)
			}
			state := session.ConnectionState()
			c.TLS = &TLS{Version: state.Version, CipherSuite: state.CipherSuite, Certificate: own.Leaf, Verified: true}
			if certificates != nil {
				c.TLS.ClientCertificate = client.Leaf
			}
			compareFields(t, got.TLVs, fieldsOf(t, header(t, sender(t, Options{Version: V2, TLVs: []TLV{
				Authority, UniqueID, SSLSignatureAlgorithm, SSLKeyAlgorithm, CRC32C,
			}}), c)))
		})
	}
}

// receive reads a header as it comes to the backend.
func receive(t *testing.T, backend net.Listener) Header {
	t.Helper()
	if err := backend.(*net.UnixListener).SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	conn, err := backend.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	buffer := make([]byte, 0, MaxSize)
	for {
		n, err := conn.Read(buffer[len(buffer):cap(buffer)])
		if err != nil {
			t.Fatalf("%v after %q", err, buffer)
		}
		buffer = buffer[:len(buffer)+n]
		h, _, err := Parse(buffer, 0)
		if err == nil {
			return h
		}
		if !errors.Is(err, ErrShort) {
			t.Fatal(err)
		}
	}
}

// compareFields compares all but the checksum, which Parse did verify, and what HAProxy's verify is without a certificate.
func compareFields(t *testing.T, theirs, ours []Field) {
	t.Helper()
	for _, want := range []TLV{Authority, UniqueID} {
		got, _ := Find(theirs, want)
		if own, _ := Find(ours, want); !bytes.Equal(got, own) {
			t.Errorf("%v: %q, ours %q", want, got, own)
		}
	}
	if _, found := Find(theirs, CRC32C); !found {
		t.Error("no checksum")
	}
	value, _ := Find(theirs, SSL)
	their := must(DecodeSSL(value))
	value, _ = Find(ours, SSL)
	our := must(DecodeSSL(value))
	if their.Client != our.Client || our.Client&ClientCertSession != 0 && their.Verify != our.Verify {
		t.Errorf("client 0x%x verify %d, ours 0x%x %d", their.Client, their.Verify, our.Client, our.Verify)
	}
	if len(their.Fields) != len(our.Fields) {
		t.Errorf("%d fields, ours %d", len(their.Fields), len(our.Fields))
	}
	for _, field := range their.Fields {
		if own, _ := Find(our.Fields, field.Type); !bytes.Equal(own, field.Value) {
			t.Errorf("%v: %q, ours %q", field.Type, field.Value, own)
		}
	}
}
