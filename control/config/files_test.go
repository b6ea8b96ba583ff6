package config

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// writePair writes a self-signed certificate and its key, and returns their
// paths.
func writePair(t *testing.T, folder, name string) (cert, key string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), DNSNames: []string{name}}
	leaf, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	cert = write(t, folder, name+".crt", string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: leaf})))
	key = write(t, folder, name+".key", string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})))
	return cert, key
}

func write(t *testing.T, folder, name, content string) string {
	t.Helper()
	path := filepath.Join(folder, name)
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func revocations(t *testing.T) []byte {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.RevocationList{Number: big.NewInt(1), ThisUpdate: time.Now(), NextUpdate: time.Now().Add(time.Hour)}
	issuer := &x509.Certificate{SubjectKeyId: []byte{1}, KeyUsage: x509.KeyUsageCRLSign}
	list, err := x509.CreateRevocationList(rand.Reader, template, issuer, private)
	if err != nil {
		t.Fatal(err)
	}
	return list
}

func writeRevocations(t *testing.T, folder string) string {
	t.Helper()
	return write(t, folder, "list.crl", string(pem.EncodeToMemory(&pem.Block{Type: "X509 CRL", Bytes: revocations(t)})))
}

func TestCheckRevocations(t *testing.T) {
	list := revocations(t)
	encoded := pem.EncodeToMemory(&pem.Block{Type: "X509 CRL", Bytes: list})
	broken := pem.EncodeToMemory(&pem.Block{Type: "X509 CRL", Bytes: list[1:]})
	other := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: list})
	tests := []struct {
		name    string
		content []byte
		want    string
	}{
		{"DER", list, ""},
		{"PEM", encoded, ""},
		{"two, and something else", slices.Concat(encoded, other, encoded), ""},
		{"second broken", slices.Concat(encoded, broken), "revocation list: "},
		{"certificate", other, "no revocation list in it"},
		{"text", []byte("hello"), "no revocation list in it"},
		{"cut", list[:50], "no revocation list in it"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			err := checkRevocations(test.content)
			if test.want == "" && err != nil || test.want != "" && (err == nil || !strings.HasPrefix(err.Error(), test.want)) {
				t.Errorf("got %v, want %q", err, test.want)
			}
		})
	}
}

func TestCheckFiles(t *testing.T) {
	folder := t.TempDir()
	cert, key := writePair(t, folder, "a.example")
	_, other := writePair(t, folder, "b.example")
	token := write(t, folder, "token", "secret\n")
	empty := write(t, folder, "empty", " \n")
	open := write(t, folder, "open", "secret\n")
	if err := os.Chmod(open, 0o640); err != nil {
		t.Fatal(err)
	}
	missing := filepath.Join(folder, "missing")
	crl := writeRevocations(t, folder)
	traffic := func(roots, revocations, tickets, cert, key string) string {
		return "listeners: [{address: \":443\"}]\nstores: [{http: {url: \"https://h\"}}]\n" +
			"backends: {mail: {servers: [{address: \"h:143\"}]}, web: {servers: [{address: \"h:80\"}], tls: {ca_file: " + roots + ", cert_file: " + cert + ", key_file: " + key + "}}}\n" +
			"routes: [{backend: mail}]\n" +
			"tls: {client_auth: {mode: require, ca_file: " + roots + ", crl_file: " + revocations + "}}\n" +
			"session_tickets: {key_file: " + tickets + "}\n"
	}
	http := func(more string) string {
		return "listeners: [{address: \":443\"}]\nbackends: {mail: {servers: [{address: \"h:143\"}]}}\n" +
			"stores: [{http: {url: \"https://h\", " + more + "}}]\n"
	}
	good := http("token_file: " + token + ", ca_file: " + cert + ", cert_file: " + cert + ", key_file: " + key)
	tests := []struct {
		name, text string
		want       []string
	}{
		{"all there", good + "fallback: {cert_file: " + cert + ", key_file: " + key + "}\ncache: {alias_ca_file: " + cert + "}\ncontrol: {group: 0}\n", nil},
		{"token missing", http("token_file: " + missing), []string{
			"3:48: stores[0].http.token_file: stat " + missing + ": no such file or directory",
		}},
		{"token empty", http("token_file: " + empty), []string{"3:48: stores[0].http.token_file: " + empty + " is empty"}},
		{"token is a folder", http("token_file: " + folder), []string{"3:48: stores[0].http.token_file: " + folder + " is not a file"}},
		{"roots without certificate", http("ca_file: " + key), []string{"3:45: stores[0].http.ca_file: " + key + " holds no PEM certificate"}},
		{"client key missing", http("cert_file: " + cert + ", key_file: " + missing), []string{
			"stores[0].http.key_file: stat " + missing + ": no such file or directory",
		}},
		{"key of another certificate", good + "fallback: {cert_file: " + cert + ", key_file: " + other + "}\n", []string{
			"fallback.key_file: " + other + " with " + cert + ": tls: private key does not match public key",
		}},
		{"both missing", good + "fallback: {cert_file: " + missing + ", key_file: " + missing + "}\n", []string{
			"4:23: fallback.cert_file: stat " + missing + ": no such file or directory",
			"fallback.key_file: stat " + missing + ": no such file or directory",
		}},
		{"aliases' roots missing", good + "cache: {alias_ca_file: " + missing + "}\n", []string{
			"4:24: cache.alias_ca_file: stat " + missing + ": no such file or directory",
		}},
		{"all of Redis there", withStores("{redis: {url: rediss://h, password_file: " + token + ", ca_file: " + cert + ", cert_file: " + cert + ", key_file: " + key + "}}"), nil},
		{"nothing of Redis there", withStores("{redis: {url: rediss://h, password_file: " + missing + ", ca_file: " + key + ", cert_file: " + cert + ", key_file: " + other + "}}"), []string{
			"3:51: stores[0].redis.password_file: stat " + missing + ": no such file or directory",
			"stores[0].redis.ca_file: " + key + " holds no PEM certificate",
			"stores[0].redis.key_file: " + other + " with " + cert + ": tls: private key does not match public key",
		}},
		{"password empty", http("username: u, password_file: " + empty), []string{"3:64: stores[0].http.password_file: " + empty + " is empty"}},
		{"permission's roots", good + "permission: {url: https://h, ca_file: " + missing + "}\n", []string{
			"4:39: permission.ca_file: stat " + missing + ": no such file or directory",
		}},
		{"password of peter_sslers", good + "control: {peter_sslers: {address: ':1', username: u, password_file: " + missing + "}}\n", []string{
			"4:69: control.peter_sslers.password_file: stat " + missing + ": no such file or directory",
		}},
		{"disk tier to be made", good + "cache: {dir: " + missing + ", dir_key_file: " + token + "}\n", nil},
		{"disk tier there", good + "cache: {dir: " + folder + "}\n", nil},
		{"disk tier is a file", good + "cache: {dir: " + token + ", dir_key_file: " + missing + "}\n", []string{
			"4:14: cache.dir: " + token + " is not a folder",
			"cache.dir_key_file: stat " + missing + ": no such file or directory",
		}},
		{"disk tier's key is for all to see", good + "cache: {dir: " + missing + ", dir_key_file: " + open + "}\n", []string{
			"cache.dir_key_file: " + open + " has mode 0640: others can read it",
		}},
		{"all of the traffic's there", traffic(cert, crl, token, cert, key), nil},
		{"lists that are none", traffic(key, cert, empty, cert, other), []string{
			"backends.web.tls.ca_file: " + key + " holds no PEM certificate",
			"backends.web.tls.key_file: " + other + " with " + cert + ": tls: private key does not match public key",
			"tls.client_auth.ca_file: " + key + " holds no PEM certificate",
			"tls.client_auth.crl_file: " + cert + ": no revocation list in it, PEM or DER",
			"session_tickets.key_file: " + empty + " is empty",
		}},
		{"a route's own", good + "routes: [{backend: mail, tls: {client_auth: {ca_file: " + missing + ", crl_file: " + token + "}}, session_tickets: {key_file: " + open + "}}]\n", []string{
			"routes[0].tls.client_auth.ca_file: stat " + missing + ": no such file or directory",
			"routes[0].tls.client_auth.crl_file: " + token + ": no revocation list in it, PEM or DER",
			"routes[0].session_tickets.key_file: " + open + " has mode 0640: others can read it",
		}},
		{"what a route inherits is said once", good + "tls: {client_auth: {ca_file: " + missing + "}}\nroutes: [{backend: mail, tls: {min_version: 1.3}}]\n", []string{
			"tls.client_auth.ca_file: stat " + missing + ": no such file or directory",
		}},
		{"no such group for reading", good + "control: {read_socket: {path: /a, group: no-such-group-here}}\n", []string{
			`control.read_socket.group: no group is called "no-such-group-here"`,
		}},
		{"no such group", good + "control: {group: no-such-group-here}\n", []string{
			`4:18: control.group: no group is called "no-such-group-here"`,
		}},
		{"folder missing", strings.Replace(least, "/etc/certs", missing, 1), []string{
			"3:23: stores[0].dir.path: open " + missing + ": no such file or directory",
		}},
		{"folder is a file", strings.Replace(least, "/etc/certs", token, 1), []string{
			"3:23: stores[0].dir.path: " + token + " is not a folder",
		}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			err := mustParse(t, test.text).CheckFiles()
			if test.want == nil {
				if err != nil {
					t.Fatal(err)
				}
				return
			}
			if err == nil {
				t.Fatal("nothing found")
			}
			lines := strings.Split(err.Error(), "\n")
			if len(lines) != len(test.want) {
				t.Fatalf("got\n%v\nwant %d lines", err, len(test.want))
			}
			for i, line := range lines {
				if !strings.HasPrefix(line, "test.yaml:") || !strings.HasSuffix(line, test.want[i]) {
					t.Errorf("got %q, want %q", line, test.want[i])
				}
			}
		})
	}
}

// A command may be there by the time it is needed: that it is not now is a
// warning, said once.
func TestCommandThatCannotBeCalled(t *testing.T) {
	folder := t.TempDir()
	plain := write(t, folder, "plain", "#!/bin/sh\n")
	program := write(t, folder, "program", "#!/bin/sh\n")
	if err := os.Chmod(program, 0o700); err != nil {
		t.Fatal(err)
	}
	missing := filepath.Join(folder, "missing")
	tests := []struct {
		command string
		want    []string
	}{
		{program, nil},
		{plain, []string{`test.yaml:5:19: hooks.command[0]: ` + plain + ` can't be called: permission denied`}},
		{folder, []string{`test.yaml:5:19: hooks.command[0]: ` + folder + ` can't be called: is a directory`}},
		{missing, []string{`test.yaml:5:19: hooks.command[0]: ` + missing + ` can't be called: stat ` + missing + ": no such file or directory"}},
	}
	for _, test := range tests {
		config := mustParse(t, withStores("{dir: {path: "+folder+"}}")+"hooks: {command: ["+test.command+", a]}\n")
		for range 2 {
			if err := config.CheckFiles(); err != nil {
				t.Error(err)
			}
		}
		if diff := cmp.Diff(test.want, config.Warnings); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	}
}

func TestCheckFilesNamesFlags(t *testing.T) {
	config, _, err := FromSmall(Small{Listen: []string{":0"}, Backends: []string{"h:1"}, Store: "/no/such/folder", SendProxy: "off"})
	if err != nil {
		t.Fatal(err)
	}
	err = config.CheckFiles()
	if diff := cmp.Diff("--store: open /no/such/folder: no such file or directory", err.Error()); diff != "" {
		t.Error(diff)
	}
	if err := Defaults().CheckFiles(); err != nil {
		t.Errorf("the defaults name no files: %v", err)
	}
}
