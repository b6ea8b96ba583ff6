package dir

import (
	"maps"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"hellogate/store/certtest"
)

// inLayout are the files of a pair in a layout.
type inLayout struct {
	name  string
	files files
}

// inLayouts are those in each of them, in the order in which they are looked for.
func inLayouts(base string, issued certtest.Issued) []inLayout {
	both := string(issued.Bundle())
	linked := pairOf(issued, "archive/"+base+"/fullchain1.pem", "archive/"+base+"/privkey1.pem")
	linked["live/"+base+"/fullchain.pem"] = "-> ../../archive/" + base + "/fullchain1.pem"
	linked["live/"+base+"/privkey.pem"] = "-> ../../archive/" + base + "/privkey1.pem"
	caddyAt := "certificates/acme-v02.api.letsencrypt.org-directory/" + base + "/" + base
	return []inLayout{
		{"crt and key", pairOf(issued, base+".crt", base+".key")},
		{"cert.pem and key.pem", pairOf(issued, base+".cert.pem", base+".key.pem")},
		{"pem", files{base + ".pem": both}},
		{"folder", pairOf(issued, base+"/fullchain.pem", base+"/privkey.pem")},
		{"certbot", linked},
		{"mod_md", pairOf(issued, "domains/"+base+"/pubcert.pem", "domains/"+base+"/privkey.pem")},
		{"caddy", pairOf(issued, caddyAt+".crt", caddyAt+".key")},
		{"lego", files{
			"certificates/" + base + ".crt": string(issued.Chain), "certificates/" + base + ".key": string(issued.Key),
			"certificates/" + base + ".issuer.crt": string(issued.Chain), "certificates/" + base + ".json": "{}",
		}},
	}
}

func TestLayouts(t *testing.T) {
	ca := certtest.NewCA(t)
	exact, wildcard := ca.Issue(t, name), ca.Issue(t, "*.example")
	more := []inLayout{
		{"haproxy", files{name + ".pem.ecdsa": string(exact.Bundle())}},
		{"pem with parameters", files{name + ".pem": string(exact.Bundle()) + "-----BEGIN DH PARAMETERS-----\nMAYCAQ8CAQI=\n-----END DH PARAMETERS-----\n"}},
		{"caddy's certificates folder", pairOf(exact, "local/a.example/a.example.crt", "local/a.example/a.example.key")},
	}
	for _, test := range append(inLayouts(name, exact), more...) {
		t.Run(test.name, func(t *testing.T) {
			folder := t.TempDir()
			test.files.write(t, folder)
			dir := open(t, folder)
			wants(t, dir, name, exact)
			wants(t, dir, "b.example")
			wants(t, dir, "issuer")
			wants(t, dir, name+".issuer")
			wants(t, dir, name+".cert")
		})
	}
	for i, base := range []string{"*.example", "_.example", "*.example", "_.example", "*.example", "*.example", "wildcard_.example", "_.example"} {
		test := inLayouts(base, wildcard)[i]
		t.Run("wildcard "+test.name, func(t *testing.T) {
			folder := t.TempDir()
			test.files.write(t, folder)
			dir := open(t, folder)
			wants(t, dir, name, wildcard)
			wants(t, dir, "b.a.example")
			wants(t, dir, "example")
		})
	}
}

// TestPrecedence has a certificate in each layout, exact ones and wildcards, and takes away the one that is served.
func TestPrecedence(t *testing.T) {
	ca := certtest.NewCA(t)
	folder := t.TempDir()
	dir := open(t, folder)
	type step struct {
		name   string
		files  files
		issued certtest.Issued
	}
	var steps []step
	for _, base := range []string{name, "*.example"} {
		for at := range layouts {
			issued := ca.Issue(t, base)
			in := inLayouts(base, issued)[at]
			in.files.write(t, folder)
			steps = append(steps, step{base + ", " + in.name, in.files, issued})
		}
	}
	for _, step := range steps {
		if err := has(dir, name, step.issued); err != nil {
			t.Errorf("%s: %v", step.name, err)
		}
		for path := range step.files {
			remove(t, filepath.Join(folder, path))
		}
	}
	becomes(t, dir, name)
}

// TestResolution goes from the exact name to the SAN, to the wildcard's files, to the wildcard as a SAN.
func TestResolution(t *testing.T) {
	ca := certtest.NewCA(t)
	folder := t.TempDir()
	exact, san, wildcard := ca.Issue(t, name), ca.Issue(t, "x.test", name), ca.Issue(t, "*.example")
	wildcardSAN := ca.Issue(t, "y.test", "*.example")
	exact.Write(t, folder, name)
	san.Write(t, folder, "some certificate")
	wildcard.Write(t, folder, "_.example")
	pairOf(wildcardSAN, "live/y.test/fullchain.pem", "live/y.test/privkey.pem").write(t, folder)
	dir := open(t, folder)
	for _, step := range []struct {
		issued certtest.Issued
		paths  []string
	}{
		{exact, []string{name + ".crt", name + ".key"}},
		{san, []string{"some certificate.crt", "some certificate.key"}},
		{wildcard, []string{"_.example.crt", "_.example.key"}},
		{wildcardSAN, []string{"live"}},
	} {
		becomes(t, dir, name, step.issued)
		for _, path := range step.paths {
			remove(t, filepath.Join(folder, path))
		}
	}
	becomes(t, dir, name)
}

func TestSeveralPairs(t *testing.T) {
	ca := certtest.NewCA(t)
	ec, rsa := ca.Issue(t, name), ca.IssueWith(t, certtest.Options{Names: []string{name}, RSA: 2048})
	for _, test := range []struct {
		name  string
		files files
	}{
		{"one pem", files{name + ".pem": string(rsa.Key) + string(ec.Bundle()) + string(rsa.Chain)}},
		{"haproxy", files{name + ".pem.rsa": string(rsa.Bundle()), name + ".pem.ecdsa": string(ec.Bundle())}},
		{"haproxy, one beside", files{name + ".pem": string(rsa.Bundle()), name + ".pem.ecdsa": string(ec.Bundle())}},
		{"mod_md", files{
			"domains/a.example/pubcert.pem": string(rsa.Chain), "domains/a.example/privkey.pem": string(rsa.Key),
			"domains/a.example/pubcert.secp256r1.pem": string(ec.Chain), "domains/a.example/privkey.secp256r1.pem": string(ec.Key),
			"domains/a.example/md.json": "{}",
		}},
		{"mod_md, no first key", files{
			"domains/a.example/pubcert.rsa3072.pem": string(rsa.Chain), "domains/a.example/privkey.rsa3072.pem": string(rsa.Key),
			"domains/a.example/pubcert.secp256r1.pem": string(ec.Chain), "domains/a.example/privkey.secp256r1.pem": string(ec.Key),
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			folder := t.TempDir()
			test.files.write(t, folder)
			wants(t, open(t, folder), name, ec, rsa)
		})
	}
}

// TestSeveralPairsOfSAN has pairs of several names in one file.
func TestSeveralPairsOfSAN(t *testing.T) {
	ca := certtest.NewCA(t)
	one, two := ca.Issue(t, "one.example"), ca.Issue(t, "two.example")
	folder := t.TempDir()
	files{"all.pem": string(one.Bundle()) + string(two.Bundle())}.write(t, folder)
	dir := open(t, folder)
	wants(t, dir, "one.example", one)
	wants(t, dir, "two.example", two)
}

// TestIssuers has a name at several of Caddy's issuers.
func TestIssuers(t *testing.T) {
	ca := certtest.NewCA(t)
	short := ca.IssueWith(t, certtest.Options{Names: []string{name}, NotAfter: time.Now().Add(time.Hour)})
	long := ca.Issue(t, name)
	at := func(issuer string) string { return "certificates/" + issuer + "/" + name + "/" + name }
	folder := t.TempDir()
	pairOf(long, at("acme-v02")+".crt", at("acme-v02")+".key").write(t, folder)
	pairOf(short, at("zerossl")+".crt", at("zerossl")+".key").write(t, folder)
	dir := open(t, folder)
	wants(t, dir, name, long)
	remove(t, filepath.Join(folder, at("acme-v02")+".key"))
	wants(t, dir, name, short)
	remove(t, filepath.Join(folder, at("zerossl")+".key"))
	fails(t, dir, name, "no such file")
	for i := range maxIssuers {
		put(t, filepath.Join(folder, "certificates", "x"+strings.Repeat("x", i), "y"), "")
	}
	time.Sleep(2 * tick)
	wants(t, dir, name) // so many are no issuers
}

// TestHalves has half a pair in a layout that goes before one with a whole pair.
func TestHalves(t *testing.T) {
	ca := certtest.NewCA(t)
	whole, other := ca.Issue(t, name), ca.Issue(t, name)
	folder := t.TempDir()
	files{name + ".key": string(other.Key), name + ".pem": string(whole.Bundle())}.write(t, folder)
	dir := open(t, folder)
	wants(t, dir, name, whole)
	// A pair that does not fit is being written.
	put(t, filepath.Join(folder, name+".crt"), string(whole.Chain))
	fails(t, dir, name, "belongs to none")
	// Half a pair hides the wildcard: somebody is about to give the name its own certificate.
	remove(t, filepath.Join(folder, name+".pem"))
	remove(t, filepath.Join(folder, name+".crt"))
	ca.Issue(t, "*.example").Write(t, folder, "*.example")
	fails(t, dir, name, "a.example.crt: no such file")
}

// TestSANCandidates has several certificates with a SAN, of which the one that is valid longest is taken if it can be.
func TestSANCandidates(t *testing.T) {
	ca := certtest.NewCA(t)
	short := ca.IssueWith(t, certtest.Options{Names: []string{name}, NotAfter: time.Now().Add(time.Hour)})
	long := ca.Issue(t, name, "x.example")
	folder := t.TempDir()
	short.Write(t, folder, "1")
	long.Write(t, folder, "2")
	dir := open(t, folder)
	wants(t, dir, name, long)
	remove(t, filepath.Join(folder, "2.key"))
	wants(t, dir, name, short)
	fails(t, dir, "x.example", "2.key: no such file")
	long.Write(t, folder, "2")
	becomes(t, dir, name, long)
	remove(t, filepath.Join(folder, "2.crt"))
	remove(t, filepath.Join(folder, "2.key"))
	becomes(t, dir, "x.example")
	wants(t, dir, name, short)
}

func FuzzSubject(f *testing.F) {
	f.Add("a.example.crt")
	f.Add("certificates/local/wildcard_.example/wildcard_.example.key")
	f.Add("domains/a.example/pubcert.rsa3072.pem")
	f.Add("..data")
	f.Add("live")
	f.Fuzz(func(t *testing.T, p string) {
		base, container := subject(p)
		if base == "" {
			return
		}
		if container || strings.HasPrefix(base, ".") || strings.Contains(base, "/") {
			t.Fatalf("%q: base %q, container %v", p, base, container)
		}
		if !mayHold(p, base) {
			t.Errorf("%q is none of the files of %q, nor a folder of theirs", p, base)
		}
	})
}

// mayHold says whether the files of base, in some layout, are at p or below it.
func mayHold(p, base string) bool {
	parts := strings.Split(p, "/")
	issuers := map[string]bool{parts[0]: true, "certificates/" + parts[min(1, len(parts)-1)]: true}
	var all []paths
	for at, layout := range layouts {
		if at != caddy && at != modMD {
			all = append(all, layout.paths(nil, base)...)
		}
	}
	for issuer := range maps.Keys(issuers) {
		all = append(all, paths{issuer + "/" + base + "/" + base + ".crt", issuer + "/" + base + "/" + base + ".key"})
	}
	for _, where := range all {
		for _, file := range []string{where.chain, where.key} {
			if file == p || strings.HasPrefix(file, p+"/") {
				return true
			}
		}
	}
	return p == "domains/"+base || p == "staging/"+base || strings.HasPrefix(p, "staging/"+base+"/pubcert.") ||
		strings.HasPrefix(p, "domains/"+base+"/pubcert.") || strings.HasPrefix(p, "domains/"+base+"/privkey.")
}
