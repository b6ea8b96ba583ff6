package preamble

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"io"
	"math/big"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// patience bounds every wait for another program.
const patience = 10 * time.Second

// program finds a peer. Without it the test is skipped, or fails where HELLOGATE_REQUIRE_PEERS is 1.
func program(t *testing.T, name string) string {
	t.Helper()
	for _, name := range []string{name, filepath.Join("/usr/sbin", name)} {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	if os.Getenv("HELLOGATE_REQUIRE_PEERS") == "1" {
		t.Fatalf("no %s", name)
	}
	t.Skipf("no %s", name)
	return ""
}

// meeting is what a client's connections came to, one after the other.
type meeting struct {
	opening   Opening
	err       error
	handshake error
}

// meet accepts up to most connections, and has each go through the preamble and a TLS handshake.
func meet(t *testing.T, p Protocol, most int) (port string, met <-chan meeting) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_, port, _ = net.SplitHostPort(listener.Addr().String())
	came := make(chan meeting, most)
	config := selfSigned(t)
	go func() {
		defer close(came)
		for range most {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			came <- serve(conn, p, config)
		}
	}()
	t.Cleanup(func() {
		_ = listener.Close()
		for range came {
		}
	})
	return port, came
}

func serve(conn net.Conn, p Protocol, config *tls.Config) (m meeting) {
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(patience))
	if m.opening, m.err = p.Negotiate(conn, "mx.example"); m.err != nil {
		_ = conn.(*net.TCPConn).CloseWrite()
		_, _ = io.Copy(io.Discard, conn)
		return m
	}
	if m.opening.Cancel == nil {
		m.handshake = tls.Server(&replayed{conn, io.MultiReader(bytes.NewReader(m.opening.Unread), conn)}, config).Handshake()
	}
	return m
}

// replayed reads again what was read already.
type replayed struct {
	net.Conn
	reader io.Reader
}

func (r *replayed) Read(p []byte) (int, error) { return r.reader.Read(p) }

func selfSigned(t *testing.T) *tls.Config {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{"mx.example"}, NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}
}

// play runs a program, and returns all that it says.
func play(t *testing.T, name string, arguments ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	command := exec.CommandContext(ctx, program(t, name), arguments...)
	command.Env = append(os.Environ(), "LDAPTLS_REQCERT=never", "PGCONNECT_TIMEOUT=5", "LC_ALL=C")
	command.WaitDelay = time.Second
	output, err := command.CombinedOutput()
	if ctx.Err() != nil {
		t.Errorf("%s: %v", name, ctx.Err())
	}
	t.Logf("%s: %v: %s", name, err, output)
	return string(output)
}

// Real clients come through each preamble to their TLS.
func TestRealClients(t *testing.T) {
	for _, test := range []struct {
		name, protocol, program string
		arguments               []string
	}{
		{"openssl", "postgres", "openssl", []string{"s_client", "-starttls", "postgres", "-connect", "127.0.0.1:PORT"}},
		{"openssl", "smtp", "openssl", []string{"s_client", "-starttls", "smtp", "-connect", "127.0.0.1:PORT"}},
		{"openssl", "imap", "openssl", []string{"s_client", "-starttls", "imap", "-connect", "127.0.0.1:PORT"}},
		{"openssl", "pop3", "openssl", []string{"s_client", "-starttls", "pop3", "-connect", "127.0.0.1:PORT"}},
		{"openssl", "ldap", "openssl", []string{"s_client", "-starttls", "ldap", "-connect", "127.0.0.1:PORT"}},
		{"openssl", "auto", "openssl", []string{"s_client", "-connect", "127.0.0.1:PORT"}},
		{"psql", "postgres", "psql", []string{"-w", "host=127.0.0.1 port=PORT user=a dbname=a sslmode=require"}},
		{"curl", "smtp", "curl", []string{"-skv", "--ssl-reqd", "smtp://127.0.0.1:PORT", "--mail-from", "a@b", "--mail-rcpt", "c@d", "-T", "/dev/null"}},
		{"curl", "imap", "curl", []string{"-skv", "--ssl-reqd", "imap://127.0.0.1:PORT", "-u", "a:b"}},
		{"curl", "pop3", "curl", []string{"-skv", "--ssl-reqd", "pop3://127.0.0.1:PORT", "-u", "a:b"}},
		{"ldapsearch", "ldap", "ldapsearch", []string{"-x", "-ZZ", "-H", "ldap://127.0.0.1:PORT", "-b", ""}},
	} {
		t.Run(test.protocol+"/"+test.name, func(t *testing.T) {
			t.Parallel()
			p, _ := Named(test.protocol)
			port, met := meet(t, p, 1)
			for i, argument := range test.arguments {
				test.arguments[i] = strings.ReplaceAll(argument, "PORT", port)
			}
			_ = play(t, test.program, test.arguments...)
			if m := <-met; m.err != nil || m.handshake != nil {
				t.Errorf("preamble: %v; handshake: %v", m.err, m.handshake)
			}
		})
	}
}

// Real clients that will not speak TLS are told so in words that they show.
func TestRealClientsWithoutTLS(t *testing.T) {
	for _, test := range []struct {
		name, protocol string
		command        []string
		shown          string
		connections    int
		last           Fault // what the last of them comes to
	}{
		{
			"psql sslmode=disable", "postgres",
			[]string{"psql", "-w", "host=127.0.0.1 port=PORT user=a dbname=a sslmode=disable"},
			"FATAL:  this server accepts only TLS connections\nHINT:  Connect with sslmode=require", 1, Plaintext,
		},
		{"psql sslmode=allow", "postgres", []string{"psql", "-w", "host=127.0.0.1 port=PORT user=a dbname=a sslmode=allow"}, "", 2, ""},
		{"curl without --ssl", "imap", []string{"curl", "-sv", "imap://127.0.0.1:PORT", "-u", "a:b"}, "LOGINDISABLED", 1, ClosedEarly},
		{"curl without --ssl", "pop3", []string{"curl", "-sv", "pop3://127.0.0.1:PORT", "-u", "a:b"}, "No known authentication", 1, ClosedEarly},
		{
			"curl without --ssl", "smtp",
			[]string{"curl", "-sv", "smtp://127.0.0.1:PORT", "--mail-from", "a@b", "--mail-rcpt", "c@d", "-T", "/dev/null"},
			"530 5.7.0 Must issue a STARTTLS command first", 1, Plaintext,
		},
		{"ldapsearch without -Z", "ldap", []string{"ldapsearch", "-x", "-H", "ldap://127.0.0.1:PORT", "-b", ""}, "Confidentiality required (13)", 1, Plaintext},
	} {
		t.Run(test.protocol+"/"+test.name, func(t *testing.T) {
			t.Parallel()
			p, _ := Named(test.protocol)
			port, met := meet(t, p, test.connections)
			for i, argument := range test.command {
				test.command[i] = strings.ReplaceAll(argument, "PORT", port)
			}
			if shown := play(t, test.command[0], test.command[1:]...); !strings.Contains(shown, test.shown) {
				t.Errorf("%q is not shown", test.shown)
			}
			var last meeting
			for range test.connections {
				last = <-met
			}
			checkFault(t, last.err, test.last)
			if last.handshake != nil {
				t.Error(last.handshake)
			}
		})
	}
}

// What one side asks for the other grants, over a socket, and TLS begins there.
func TestBothSides(t *testing.T) {
	for name, p := range protocols {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			port, met := meet(t, p, 1)
			conn, err := net.Dial("tcp", "127.0.0.1:"+port)
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			_ = conn.SetDeadline(time.Now().Add(patience))
			if err := p.Request(conn, "lb.example"); err != nil {
				t.Fatal(err)
			}
			if err := tls.Client(conn, &tls.Config{InsecureSkipVerify: true}).Handshake(); err != nil {
				t.Error(err)
			}
			if m := <-met; m.err != nil || m.handshake != nil {
				t.Errorf("preamble: %v; handshake: %v", m.err, m.handshake)
			}
		})
	}
}
