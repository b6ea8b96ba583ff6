package e2e

import (
	"crypto/tls"
	"fmt"
	"os"
	"path/filepath"
	"testing"
)

// layouts are the ways to lay out a folder: each writes a pair for a name, again in place of another as its tool does.
var layouts = map[string]func(t *testing.T, folder, name string, p pair){
	"crt and key": func(t *testing.T, folder, name string, p pair) { p.write(t, folder, name) },
	"cert.pem and key.pem": func(t *testing.T, folder, name string, p pair) {
		put(t, filepath.Join(folder, name+".cert.pem"), p.certPEM())
		put(t, filepath.Join(folder, name+".key.pem"), p.keyPEM())
	},
	"pem": func(t *testing.T, folder, name string, p pair) {
		put(t, filepath.Join(folder, name+".pem"), p.certPEM()+p.keyPEM())
	},
	"HAProxy, key first, DH parameters last": func(t *testing.T, folder, name string, p pair) {
		parameters := "-----BEGIN DH PARAMETERS-----\nMAYCAQUCAQI=\n-----END DH PARAMETERS-----\n"
		put(t, filepath.Join(folder, name+".pem"), p.keyPEM()+p.certPEM()+parameters)
	},
	"HAProxy, by kind of key": func(t *testing.T, folder, name string, p pair) {
		put(t, filepath.Join(folder, name+".pem.ecdsa"), p.certPEM()+p.keyPEM())
	},
	"fullchain.pem and privkey.pem": func(t *testing.T, folder, name string, p pair) {
		put(t, filepath.Join(folder, name, "fullchain.pem"), p.certPEM())
		put(t, filepath.Join(folder, name, "privkey.pem"), p.keyPEM())
	},
	"certbot": writeCertbot,
	"mod_md": func(t *testing.T, folder, name string, p pair) {
		put(t, filepath.Join(folder, "domains", name, "pubcert.pem"), p.certPEM())
		put(t, filepath.Join(folder, "domains", name, "privkey.pem"), p.keyPEM())
		put(t, filepath.Join(folder, "domains", name, "md.json"), "{}")
	},
	"Caddy": func(t *testing.T, folder, name string, p pair) {
		at := filepath.Join(folder, "certificates", "acme-v02.api.letsencrypt.org-directory", name)
		put(t, filepath.Join(at, name+".crt"), p.certPEM())
		put(t, filepath.Join(at, name+".key"), p.keyPEM())
		put(t, filepath.Join(at, name+".json"), "{}")
	},
	"Caddy's certificates folder itself": func(t *testing.T, folder, name string, p pair) {
		at := filepath.Join(folder, "acme.zerossl.com-v2-dv90", name)
		put(t, filepath.Join(at, name+".crt"), p.certPEM())
		put(t, filepath.Join(at, name+".key"), p.keyPEM())
	},
	"lego": func(t *testing.T, folder, name string, p pair) {
		at := filepath.Join(folder, "certificates", name)
		put(t, at+".crt", p.certPEM())
		put(t, at+".issuer.crt", string(certificatePEM(p.chain[1])))
		put(t, at+".key", p.keyPEM())
		put(t, at+".json", "{}")
	},
}

// writeCertbot puts the next version of a pair into archive/ and has the links in live/ lead there, one after the other.
func writeCertbot(t *testing.T, folder, name string, p pair) {
	t.Helper()
	archive := filepath.Join(folder, "archive", name)
	version := 1
	for ; ; version++ {
		if _, err := os.Stat(filepath.Join(archive, fmt.Sprintf("cert%d.pem", version))); err != nil {
			break
		}
	}
	for file, text := range map[string]string{
		"cert": string(certificatePEM(p.leaf())), "chain": string(certificatePEM(p.chain[1])), "fullchain": p.certPEM(), "privkey": p.keyPEM(),
	} {
		put(t, filepath.Join(archive, fmt.Sprintf("%s%d.pem", file, version)), text)
		linkTo(t, fmt.Sprintf("../../archive/%s/%s%d.pem", name, file, version), filepath.Join(folder, "live", name, file+".pem"))
	}
}

// Every layout is read as its tool writes it, and read again as its tool renews, with no command.
func TestDirLayouts(t *testing.T) {
	t.Parallel()
	for name, write := range layouts {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			folder := t.TempDir()
			first, second := ca().issue([]string{"a.example"}), ca().issue([]string{"a.example"})
			write(t, folder, "a.example", first)
			g := newDirectory(t, folder)
			g.gives("a.example", first)
			write(t, folder, "a.example", second)
			g.changesTo("a.example", first, second)
			g.refused("b.example", alertUnrecognizedName)
			added := ca().issue([]string{"b.example"})
			write(t, folder, "b.example", added)
			g.appears("b.example", added)
		})
	}
}

// twoKeys are the ways to lay out an ECDSA and an RSA pair of one name.
var twoKeys = map[string]func(t *testing.T, folder string, ecdsa, rsa pair){
	"one file": func(t *testing.T, folder string, ecdsa, rsa pair) {
		put(t, filepath.Join(folder, "a.example.pem"), rsa.certPEM()+rsa.keyPEM()+ecdsa.certPEM()+ecdsa.keyPEM())
	},
	"HAProxy": func(t *testing.T, folder string, ecdsa, rsa pair) {
		put(t, filepath.Join(folder, "a.example.pem.rsa"), rsa.certPEM()+rsa.keyPEM())
		put(t, filepath.Join(folder, "a.example.pem.ecdsa"), ecdsa.certPEM()+ecdsa.keyPEM())
	},
	"mod_md": func(t *testing.T, folder string, ecdsa, rsa pair) {
		put(t, filepath.Join(folder, "domains/a.example/pubcert.pem"), rsa.certPEM())
		put(t, filepath.Join(folder, "domains/a.example/privkey.pem"), rsa.keyPEM())
		put(t, filepath.Join(folder, "domains/a.example/pubcert.secp256r1.pem"), ecdsa.certPEM())
		put(t, filepath.Join(folder, "domains/a.example/privkey.secp256r1.pem"), ecdsa.keyPEM())
	},
}

// Of two pairs, however they are laid out, a client that can use ECDSA gets that one and any other the RSA one.
func TestDirTwoKeys(t *testing.T) {
	t.Parallel()
	for name, write := range twoKeys {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			folder := t.TempDir()
			ecdsa, rsa := ca().issue([]string{"a.example"}), ca().issueRSA("a.example")
			write(t, folder, ecdsa, rsa)
			g := newDirectory(t, folder)
			g.gives("a.example", ecdsa)
			if got := g.certificateFor("a.example", withoutECDSA); got != rsa.fingerprint() {
				t.Errorf("a client without ECDSA is served %q, want %q", got, rsa.fingerprint())
			}
			g.gives("a.example", ecdsa)
		})
	}
}

// withoutECDSA offers TLS 1.2 and suites for RSA certificates alone.
func withoutECDSA(c *tls.Config, _ *wire) {
	c.MaxVersion, c.CipherSuites = tls.VersionTLS12, []uint16{tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256}
}

// A wildcard's files may be called as it is, as lego calls them and as Caddy does; they answer for one label.
func TestDirWildcardFiles(t *testing.T) {
	t.Parallel()
	for spelling, path := range map[string]string{
		"*.":         "*.example.com",
		"_.":         "_.example.com",
		"wildcard_.": "certificates/acme-v02.api.letsencrypt.org-directory/wildcard_.example.com/wildcard_.example.com",
		"lego":       "certificates/_.example.com",
	} {
		t.Run(spelling, func(t *testing.T) {
			t.Parallel()
			folder := t.TempDir()
			wildcard := ca().issue([]string{"*.example.com"})
			put(t, filepath.Join(folder, path+".crt"), wildcard.certPEM())
			put(t, filepath.Join(folder, path+".key"), wildcard.keyPEM())
			g := newDirectory(t, folder)
			g.gives("a.example.com", wildcard)
			g.refused("deep.a.example.com", alertUnrecognizedName)
			g.refused("example.com", alertUnrecognizedName)
		})
	}
}
