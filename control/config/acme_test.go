package config

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// withACME is a configuration whose only store is an ACME one; what else it says
// begins at 3:18.
func withACME(more string) string { return withStores("{acme: {" + more + "}}") }

// fine is what an ACME store has to say, at least.
const fine = "accept_terms: true, names: [a.example]"

func TestACME(t *testing.T) {
	const asked = "permission: {url: 'https://ask.example'}\n"
	tests := []struct {
		name, text string
		get        func(*Config) any
		want       any
	}{
		{"name", withACME(fine), func(c *Config) any { return c.Stores[0].Name }, letsEncrypt},
		{"name of another CA", withACME(fine + ", directories: ['http://localhost:14000/dir?a=b']"), func(c *Config) any { return c.Stores[0].Name }, "http://localhost:14000/dir"},
		{"commands as lists", withACME(fine + ", dns01: [/bin/dns, 'a b'], message: [/bin/msg]"), func(c *Config) any {
			return [][]string{c.Stores[0].ACME.DNS01, c.Stores[0].ACME.Message}
		}, [][]string{{"/bin/dns", "a b"}, {"/bin/msg"}}},
		{"commands as texts", withACME(fine + ", dns01: '/bin/dns  a b', message: /bin/msg"), func(c *Config) any {
			return [][]string{c.Stores[0].ACME.DNS01, c.Stores[0].ACME.Message}
		}, [][]string{{"/bin/dns", "a", "b"}, {"/bin/msg"}}},
		{"no command", withACME(fine + ", dns01: ''"), func(c *Config) any { return len(c.Stores[0].ACME.DNS01) }, 0},
		{"names are for A-labels", withACME("accept_terms: true, names: [Bücher.example, '*.a.example'], dns01: /x"), func(c *Config) any {
			return []string{c.Stores[0].ACME.Names[0].String(), c.Stores[0].ACME.Names[1].String()}
		}, []string{"xn--bcher-kva.example", "*.a.example"}},

		{"only managed names", withACME(fine), func(c *Config) any { return c.Cache.LookupTimeout }, 5 * time.Second},
		{"on demand", withACME(fine + ", on_demand: [.a.example]"), func(c *Config) any { return c.Cache.LookupTimeout }, 9 * time.Second},
		{"on demand by permission", withACME("accept_terms: true") + asked, func(c *Config) any { return c.Cache.LookupTimeout }, 9 * time.Second},
		{"a longer handshake", withACME(fine+", wait: 20s") + asked + "limits: {handshake_timeout: 30s}\n", func(c *Config) any { return c.Cache.LookupTimeout }, 20 * time.Second},
		{"a shorter handshake", withACME(fine) + asked + "limits: {handshake_timeout: 4s}\n", func(c *Config) any { return c.Cache.LookupTimeout }, 5 * time.Second},
		{"a shorter wait", withACME(fine+", wait: 1s") + asked, func(c *Config) any { return c.Cache.LookupTimeout }, 5 * time.Second},
		{"what is written wins", withACME(fine) + asked + "cache: {lookup_timeout: 3s}\n", func(c *Config) any { return c.Cache.LookupTimeout }, 3 * time.Second},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) { wantEqual(t, test.get(mustParse(t, test.text)), test.want) })
	}
}

func TestACMEProblems(t *testing.T) {
	tests := []struct {
		name, stores string
		want         []string
	}{
		{"nothing said", "{acme: {}}", []string{
			"3:11: stores[0].acme.accept_terms: must be true: a CA makes an account only for those who agree to its terms of service (" + letsEncrypt + " names them as termsOfService)",
			"3:11: stores[0].acme: no name is ever ordered: it needs names, or on_demand, or the top-level permission that is asked for others",
		}},
		{"terms not accepted", "{acme: {names: [a.example], accept_terms: false, directories: ['https://ca.example/d']}}", []string{
			"3:52: stores[0].acme.accept_terms: must be true: a CA makes an account only for those who agree to its terms of service (https://ca.example/d names them as termsOfService)",
		}},
		{"of two kinds", "{acme: {" + fine + "}, dir: {path: b}}", []string{"3:10: stores[0]: one entry is one store, not dir and acme"}},
		{"directories", "{acme: {" + fine + ", directories: ['http://ca.example/d', ca, 'unix:///ca', 'https://u:p@ca/', 'https://ca/', 'https://ca/']}}", []string{
			"3:72: stores[0].acme.directories[0]: whoever is on the way there could answer: use https://",
			"3:95: stores[0].acme.directories[1]: not a URL, as in " + letsEncrypt,
			"3:99: stores[0].acme.directories[2]: must begin with https://",
			"3:113: stores[0].acme.directories[3]: a user name or password has no place in it",
			`3:147: stores[0].acme.directories[5]: "https://ca/" is in the list twice`,
		}},
		{"no directory", "{acme: {" + fine + ", directories: []}}", []string{
			"3:58: stores[0].acme.directories: one is needed: the URL of a CA's directory, as in " + letsEncrypt,
		}},
		{"contact", "{acme: {" + fine + ", contact: 'mailto:me@a.example'}}", []string{
			`3:67: stores[0].acme.contact: "mailto:me@a.example" is not one mail address, as in hostmaster@example.com`,
		}},
		{"names", "{acme: {accept_terms: true, names: ['*', .a.example, '*.a.example', a..b]}}", []string{
			`3:46: stores[0].acme.names[0]: "*" is no name that a certificate can be for: want a whole name, or *.NAME`,
			`3:51: stores[0].acme.names[1]: ".a.example" is no name that a certificate can be for: want a whole name, or *.NAME`,
			`3:63: stores[0].acme.names[2]: "*.a.example" is a wildcard, which a CA gives for DNS-01 alone: dns01 is missing`,
			`3:78: stores[0].acme.names[3]: pattern "a..b": name "a..b": empty label`,
		}},
		{"on demand for all", "{acme: {accept_terms: true, on_demand: ['*', .com, '*.co.uk', .example.com, a.example]}}", []string{
			"3:50: stores[0].acme.on_demand[0]: anybody could have certificates ordered by asking for names: it needs the top-level permission, or names of your own",
			"3:55: stores[0].acme.on_demand[1]: anybody could have certificates ordered by asking for names: it needs the top-level permission, or names of your own",
			"3:61: stores[0].acme.on_demand[2]: anybody could have certificates ordered by asking for names: it needs the top-level permission, or names of your own",
		}},
		{"storage", "{acme: {" + fine + ", storage: acme}}", []string{
			`3:67: stores[0].acme.storage: "acme" is not a whole path, as in /var/lib/hellogate/acme`,
		}},
		{"one storage for two", "{acme: {" + fine + "}}, {name: b, acme: {" + fine + ", storage: /var/lib/hellogate/acme/}}", []string{
			`3:126: stores[1].acme.storage: "/var/lib/hellogate/acme" is also stores[0].acme.storage`,
		}},
		{"one address for two", "{acme: {" + fine + ", http01: ':80'}}, {name: b, acme: {" + fine + ", storage: /b, http01: ':80'}}", []string{
			`3:153: stores[1].acme.http01: ":80" is also stores[0].acme.http01`,
		}},
		{"one name for two", "{acme: {" + fine + "}}, {acme: {" + fine + ", storage: /b}}", []string{
			"3:60: stores[1].name: the same as that of stores[0]: write a name that tells them apart",
		}},
		{"key types", "{acme: {" + fine + ", key_types: [p256, ed25519, p384]}}", []string{
			`3:76: stores[0].acme.key_types[1]: "ed25519" is not one of p256, p384, rsa2048, rsa3072, rsa4096`,
		}},
		{"key type twice", "{acme: {" + fine + ", key_types: [p256, p256]}}", []string{"3:76: stores[0].acme.key_types[1]: p256 is in the list twice"}},
		{"no key type", "{acme: {" + fine + ", key_types: []}}", []string{"3:58: stores[0].acme.key_types: one is needed"}},
		{"profile", "{acme: {" + fine + ", profile: 'a b'}}", []string{`3:67: stores[0].acme.profile: "a b" is not the name of a profile`}},
		{"EAB without key", "{acme: {" + fine + ", eab: {kid: a}}}", []string{
			"3:69: stores[0].acme.eab.kid: a key's name without the key: stores[0].acme.eab.hmac_file is missing",
		}},
		{"EAB without name", "{acme: {" + fine + ", eab: {hmac_file: a}}}", []string{
			"3:75: stores[0].acme.eab.hmac_file: a key without its name: stores[0].acme.eab.kid is missing",
		}},
		{"HTTP-01 nowhere", "{acme: {" + fine + ", http01: '80'}}", []string{
			`3:66: stores[0].acme.http01: "80" is not host:port, as in ":443", "127.0.0.1:9000" or "[::1]:443"`,
		}},
		{"HTTP-01 where clients are", "{acme: {" + fine + ", http01: ':443'}}", []string{`3:66: stores[0].acme.http01: ":443" is also listeners[0].address`}},
		{"programs", "{acme: {" + fine + ", dns01: dns, message: [msg, /a]}}", []string{
			`3:65: stores[0].acme.dns01: "dns" is not the whole path of a program, as in /usr/local/bin/dns01`,
			`3:70: stores[0].acme.message: "msg" is not the whole path of a program, as in /usr/local/bin/dns01`,
		}},
		{"limits", "{acme: {" + fine + ", limits: {rate: 0, burst: 0, at_once: 0, per_domain: 0}}}", []string{
			"3:73: stores[0].acme.limits.rate: must be at least 1",
			"3:83: stores[0].acme.limits.burst: must be at least 1",
			"3:95: stores[0].acme.limits.at_once: must be at least 1",
		}},
		{"no wait", "{acme: {" + fine + ", wait: 0s}}", []string{"3:64: stores[0].acme.wait: must be at least 10ms"}},
		{"DNS wait", "{acme: {" + fine + ", dns01: /a, dns01_wait: 2h}}", []string{"3:81: stores[0].acme.dns01_wait: must be at most 1h0m0s"}},
		{"write back to a CA", "{acme: {" + fine + "}, write_back: true}, {dir: {path: a}}", []string{
			"3:71: stores[0].write_back: only dir and redis can be written to",
		}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) { wantProblems(t, withStores(test.stores), test.want) })
	}
}

// Where else something is listened at, there is no room for HTTP-01.
func TestHTTP01IsInNobodysWay(t *testing.T) {
	for _, other := range []string{"admin: {address: ':80'}\n", "control: {peter_sslers: {address: ':80', username: a, password_file: b}}\n"} {
		_, err := Parse("f", []byte(withACME(fine+", http01: ':80'")+other))
		if err == nil || !strings.Contains(err.Error(), `acme.http01: ":80" is also `) {
			t.Errorf("%s: %v", other, err)
		}
	}
}

func TestACMEWarnings(t *testing.T) {
	tests := []struct{ name, text, want string }{
		{"nothing", withACME(fine + ", on_demand: [.a.example]"), ""},
		{"staging", withACME(fine + ", directories: ['https://acme-staging-v02.api.letsencrypt.org/directory']"), "no client trusts its certificates"},
		{"a look-up too short", withACME(fine+", on_demand: [.a.example]") + "cache: {lookup_timeout: 5s}\n", "cache.lookup_timeout: 5s is shorter than the 9s for which the first client of a name is to wait (stores[0].acme.wait)"},
		{"a look-up too short, and nobody who waits", withACME(fine) + "cache: {lookup_timeout: 5s}\n", ""},
		{"a wait too long", withACME(fine + ", on_demand: [.a.example], wait: 30s"), "stores[0].acme.wait: 30s is longer than what limits.handshake_timeout leaves, with a second to spare: handshakes wait for 9s"},
		{"a name that is never asked for", withStores("{names: [.b.example], acme: {" + fine + "}}"), `stores[0].acme.names[0]: "a.example" is obtained and never served: stores[0].names leaves it out`},
		{"a wildcard that is asked for", withStores("{names: ['*.b.example'], acme: {accept_terms: true, names: ['*.b.example'], dns01: /a}}"), ""},
		{"a wait for no record", withACME(fine + ", dns01_wait: 1m"), "stores[0].acme.dns01_wait: not used without dns01"},
		{"a name twice", withACME("accept_terms: true, names: [a.example, A.example]"), `stores[0].acme.names[1]: "a.example" is in the list twice`},
		{"on demand twice", withACME(fine + ", on_demand: [.a.example, .a.example]"), `stores[0].acme.on_demand[1]: ".a.example" is in the list twice`},
		{"on demand for all who are permitted", withACME(fine+", on_demand: ['*']") + "permission: {url: 'https://ask.example'}\n", ""},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			config := mustParse(t, test.text)
			if (test.want == "") != (len(config.Warnings) == 0) || !strings.Contains(strings.Join(config.Warnings, "\n"), test.want) {
				t.Errorf("%q, want %q", config.Warnings, test.want)
			}
		})
	}
}

func TestCheckACMEFiles(t *testing.T) {
	folder := t.TempDir()
	cert, _ := writePair(t, folder, "a.example")
	good := write(t, folder, "hmac", "c2VjcmV0LWtleS1vZi1hLUNB_-==\n")
	bad := write(t, folder, "bad", "not base64url!")
	empty := write(t, folder, "empty", "\n")
	missing := filepath.Join(folder, "missing")
	with := func(hmac, ca, storage string) string {
		return withACME(fine + ", eab: {kid: a, hmac_file: " + hmac + "}, ca_file: " + ca + ", storage: " + storage)
	}
	tests := []struct {
		name, text string
		want       []string
	}{
		{"all there", with(good, cert, folder), nil},
		{"storage to be made", with(good, cert, missing), nil},
		{"nothing there", with(missing, good, cert), []string{
			"stores[0].acme.eab.hmac_file: stat " + missing + ": no such file or directory",
			"stores[0].acme.ca_file: " + good + " holds no PEM certificate",
			"stores[0].acme.storage: " + cert + " is not a folder",
		}},
		{"no key", with(bad, cert, folder), []string{"stores[0].acme.eab.hmac_file: " + bad + " holds no key in base64url"}},
		{"an empty key", with(empty, cert, folder), []string{"stores[0].acme.eab.hmac_file: " + empty + " is empty"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			var got []string
			if err := mustParse(t, test.text).CheckFiles(); err != nil {
				for _, problem := range err.(Problems) {
					got = append(got, problem.Path+": "+problem.Message)
				}
			}
			if !slices.Equal(got, test.want) {
				t.Errorf("got  %q\nwant %q", got, test.want)
			}
		})
	}
}

// Programs that are not there may come before they are needed.
func TestACMEProgramsMissing(t *testing.T) {
	config := mustParse(t, withACME(fine+", dns01: /nowhere/dns, message: [/nowhere/msg]"))
	if err := config.CheckFiles(); err != nil {
		t.Fatal(err)
	}
	for i, want := range []string{"acme.dns01: /nowhere/dns can't be called", "acme.message: /nowhere/msg can't be called"} {
		if len(config.Warnings) != 2 || !strings.Contains(config.Warnings[i], want) {
			t.Errorf("%q, want %q", config.Warnings, want)
		}
	}
}

func wantEqual(t *testing.T, got, want any) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
