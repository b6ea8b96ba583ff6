package config

import (
	"flag"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write testdata/broken.txt anew")

// All mistakes of a file are reported at once, in its order, each with its
// place, its line and a caret.
func TestAllProblemsAtOnce(t *testing.T) {
	_, err := Load("testdata/broken.yaml")
	if err == nil {
		t.Fatal("the file was accepted")
	}
	got := err.Error() + "\n"
	const golden = "testdata/broken.txt"
	if *update {
		if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if strings.Contains(got, "hunter2") {
		t.Error("a password is shown")
	}
}

// problemTests are files with one mistake; want is the first line of each
// problem, without the name of the file.
var problemTests = []struct {
	name, text string
	want       []string
}{
	{"empty file", "", []string{
		"listeners: at least one is needed",
		"stores: one is needed: it says where certificates come from",
		"backends: one is needed: it says where connections go",
	}},
	{"empty sections", "listeners:\nstores: []\nbackends: {}\n", []string{
		"1:1: listeners: at least one is needed",
		"2:1: stores: one is needed: it says where certificates come from",
		"3:1: backends: one is needed: it says where connections go",
	}},
	{"not a mapping", "- a\n", []string{"1:1: want keys and values, got a list"}},
	{"only text", "hello", []string{"1:1: want keys and values, got one value"}},
	{"syntax", "listeners: [\nlog: {}\n", []string{"1:12: sequence end token ']' not found"}},
	{"tab", "log:\n\tlevel: info\n", []string{"2:1: a tab, where YAML wants spaces"}},
	{"two documents", least + "---\nlog: {}\n", []string{"6:1: a second YAML document: one file holds one"}},
	{"pattern without quotes", least + "routes: [{match: {names: [*.a.example]}, backend: mail}]\n", []string{
		`5:27: a value that begins with * needs quotes, as in "*.example.com" (YAML aliases are not supported)`,
	}},
	{"anchor, merge and tag", "tls: &tls {alpn: []}\nlog:\n  <<: {}\n  level: !!str info\n", []string{
		"1:6: a value that begins with & needs quotes (YAML anchors are not supported)",
		"3:3: YAML merge keys are not supported: write the settings out",
		"4:10: a value that begins with ! needs quotes (YAML tags are not supported)",
	}},
	{"deep flow", strings.Repeat("[", 1000), []string{"1:33: nested too deeply"}},
	{"deep block", strings.Repeat("- ", 1000), []string{"1:201: nested too deeply"}},
	{"not UTF-8", "log: {level: \xff}\n", []string{"1:14: not UTF-8 text"}},
	{"escape sequence", "log: {level: \x1b[31m}\n", []string{"1:14: the character U+001B, which cannot be seen"}},
	{"turned text", "log: {level: a\u202Eb}\n", []string{"1:15: the character U+202E, which cannot be seen"}},
	{"too large", strings.Repeat("#\n", maxFile/2+1), []string{"larger than 4m"}},

	{"unknown key", least + "metrics: {}\n", []string{"5:1: metrics: unknown key"}},
	{"unknown key, near", least + "logs: {}\n", []string{"5:1: logs: unknown key; did you mean log?"}},
	{"unknown key, swapped", least + "limits: {idle_timeuot: 1h}\n", []string{"5:10: limits.idle_timeuot: unknown key; did you mean idle_timeout?"}},
	{"unknown key, other case", least + "Log: {}\n", []string{"5:1: Log: unknown key; did you mean log?"}},
	{"misspelt section is not missing too", strings.Replace(least, "backends", "backend", 1), []string{
		"4:1: backend: unknown key; did you mean backends?",
	}},
	{"strange key", least + "\"a b\": 1\n", []string{`5:1: ["a b"]: unknown key`}},
	{"written twice", least + "log: {}\nlog: {}\n", []string{"6:1: log: written twice, first on line 5"}},
	{"later key", least + "tls: {client_auth: {mode: request}}\n", []string{`5:7: tls.client_auth: "client_auth" is not supported by this version`}},
	{"later section", least + "admin: {address: \":9100\"}\n", []string{`5:1: admin: "admin" is not supported by this version`}},
	{"later key of a backend", strings.Replace(least, "143\"}]", "143\"}], health: {}", 1), []string{
		`4:57: backends.mail.health: "health" is not supported by this version`,
	}},
	{"later value", strings.Replace(least, "143\"}]", "143\"}], balance: source_hash", 1), []string{
		`4:66: backends.mail.balance: "source_hash" is not supported by this version`,
	}},

	{"list for text", least + "control: {socket: [a]}\n", []string{"5:19: control.socket: want one value, got a list"}},
	{"text for a list", least + "tls: {alpn: h2}\n", []string{"5:13: tls.alpn: want a list, got one value"}},
	{"text for a section", least + "tls: h2\n", []string{"5:6: tls: want keys and values, got one value"}},
	{"truth for text", least + "control: {group: true}\n", []string{"5:18: control.group: want text, got the truth value true: put quotes around it"}},
	{"line break in text", least + "control: {group: \"a\\nb\"}\n", []string{"5:18: control.group: a line break or another control character in it"}},
	{"text for a number", least + "limits: {connections: many}\n", []string{`5:23: limits.connections: want a whole number, got "many"`}},
	{"negative number", least + "limits: {connections: -1}\n", []string{`5:23: limits.connections: "-1" is negative`}},
	{"octal number", least + "limits: {connections: 0100}\n", []string{`5:23: limits.connections: want a whole number, got "0100"`}},
	{"huge number", least + "limits: {connections: 99999999999}\n", []string{`5:23: limits.connections: "99999999999" is out of range`}},
	{"zero", least + "limits: {connections: 0}\n", []string{"5:23: limits.connections: must be at least 1"}},
	{"zero time", least + "limits: {idle_timeout: 0s}\n", []string{"5:24: limits.idle_timeout: must be at least 1s"}},
	{"zero renewal", least + "cache: {renew_before: 0s}\n", []string{"5:23: cache.renew_before: must be longer than 0, or auto"}},
	{"nothing in a list", least + "tls:\n  alpn:\n    - h2\n    -\n", []string{"8:7: tls.alpn[1]: nothing is written here"}},
	{"size too small", least + "cache: {size: 31m}\n", []string{"5:15: cache.size: must be 32m to 32g"}},
	{"hello too large", least + "limits: {hello_bytes: 65k}\n", []string{"5:23: limits.hello_bytes: must be 1k to 64k"}},
	{"mode keeps the owner out", least + "control: {mode: 0}\n", []string{`5:17: control.mode: "0" keeps the owner out: 0600 is the least`}},
	{"mode too large", least + "control: {mode: 1777}\n", []string{`5:17: control.mode: "1777" is not a file mode: write it in octal, as in "0600"`}},
	{"socket path too long", least + "control: {socket: /" + strings.Repeat("x", 103) + "}\n", []string{
		"5:19: control.socket: 104 bytes long: a socket's path has at most 103",
	}},

	{"address without port", strings.Replace(least, ":443", "localhost", 1), []string{
		`2:23: listeners[0].address: "localhost" is not host:port, as in ":443", "127.0.0.1:9000" or "[::1]:443"`,
	}},
	{"named port", strings.Replace(least, ":443", ":https", 1), []string{
		`2:23: listeners[0].address: ":https": the port must be a number up to 65535`,
	}},
	{"star for every address", strings.Replace(least, ":443", "*:443", 1), []string{
		`2:23: listeners[0].address: "*" is neither a host name nor an IP address; leave it out for every address`,
	}},
	{"address missing", strings.Replace(least, `{address: ":443"}`, "{}", 1), []string{"2:13: listeners[0].address: missing"}},
	{"listened on twice", strings.Replace(least, `{address: ":443"}`, `{address: ":443"}, {address: ":443"}`, 1), []string{
		`2:42: listeners[1].address: ":443" is listened on twice`,
	}},
	{"server without host", strings.Replace(least, "10.0.0.5:143", ":143", 1), []string{
		`4:39: backends.mail.servers[0].address: ":143" has no host, as in 127.0.0.1:143`,
	}},
	{"server on port 0", strings.Replace(least, ":143", ":0", 1), []string{
		`4:39: backends.mail.servers[0].address: "10.0.0.5:0": nothing can be reached on port 0`,
	}},
	{"server twice", strings.Replace(least, `143"}]`, `143"}, {address: "10.0.0.5:143"}]`, 1), []string{
		`4:66: backends.mail.servers[1].address: "10.0.0.5:143" is in this backend twice`,
	}},
	{"no servers", strings.Replace(least, `[{address: "10.0.0.5:143"}]`, "[]", 1), []string{
		"4:19: backends.mail.servers: at least one is needed",
	}},
	{"backend's name", strings.Replace(least, "mail", "a/b", 1), []string{
		`4:12: backends["a/b"]: a backend's name is up to 64 letters, digits, hyphens, underscores and dots`,
	}},
	{"too many retries", strings.Replace(least, `143"}]`, `143"}], retries: 101`, 1), []string{
		"4:66: backends.mail.retries: must be 0 to 100",
	}},

	{"two backends, no routes", strings.Replace(least, "143\"}]}", "143\"}]}, web: {servers: [{address: \"10.0.0.5:80\"}]}", 1), []string{
		"routes: with several backends they must say which names go where",
	}},
	{"no such backend", least + "routes: [{backend: web}]\n", []string{`5:20: routes[0].backend: no backend is called "web"; there is mail`}},
	{"no such backend, near", least + "routes: [{backend: mial}]\n", []string{`5:20: routes[0].backend: no backend is called "mial"; did you mean mail?`}},
	{"route without backend", least + "routes: [{}]\n", []string{"5:10: routes[0].backend: missing"}},
	{"reject with backend", least + "routes: [{action: reject, backend: mail}]\n", []string{"5:36: routes[0].backend: a route that rejects has none"}},
	{"passthrough", least + "routes: [{action: passthrough}]\n", []string{`5:19: routes[0].action: "passthrough" is not supported by this version`}},
	{"route twice", least + "routes:\n- {match: {names: [A.example]}, backend: mail}\n- {match: {names: [b.example, a.example]}, action: reject}\n", []string{
		`7:31: routes[1].match.names[1]: "a.example" under the same conditions is also routes[0].match.names[0]`,
	}},
	{"route twice, protocols in another order", least + "routes:\n- {match: {alpn: [a, b]}, backend: mail}\n- {match: {alpn: [b, a]}, backend: mail}\n", []string{
		`7:3: routes[1]: "*" under the same conditions is also routes[0]`,
	}},
	{"fallback to no backend", least + "fallback: {cert_file: a, key_file: b, backend: x}\n", []string{
		`5:48: fallback.backend: no backend is called "x"; there is mail`,
	}},
	{"key without certificate", least + "fallback: {key_file: b}\n", []string{
		"5:22: fallback.key_file: a key without its certificate: fallback.cert_file is missing",
	}},
	{"certificate without key", least + "fallback: {cert_file: b}\n", []string{
		"5:23: fallback.cert_file: a certificate without its key: fallback.key_file is missing",
	}},
	{"protocol too long", least + "tls: {alpn: [" + strings.Repeat("x", 256) + "]}\n", []string{"5:14: tls.alpn[0]: 256 bytes long: a protocol has 1 to 255"}},
	{"reserved protocol", least + "routes: [{backend: mail, tls: {alpn: [acme-tls/1]}}]\n", []string{
		"5:39: routes[0].tls.alpn[0]: acme-tls/1 is reserved for certificate authorities and goes to no backend",
	}},
	{"route for no time", least + "cache: {route_ttl: 0}\n", []string{"5:20: cache.route_ttl: must be at least 1s"}},
	{"key without folder", least + "cache: {dir_key_file: k}\n", []string{
		"5:23: cache.dir_key_file: a key, and nothing that it encrypts: cache.dir is missing",
	}},
	{"no burst", least + "lookups: {burst: 0, per_client_burst: 0}\n", []string{
		"5:18: lookups.burst: must be at least 1",
		"5:39: lookups.per_client_burst: must be at least 1",
	}},
	{"negative rate", least + "lookups: {rate: -1}\n", []string{`5:17: lookups.rate: "-1" is negative`}},
	{"misspelt look-ups", least + "lookup: {}\n", []string{"5:1: lookup: unknown key; did you mean lookups?"}},
	{"pattern to fetch", least + "prefetch: [a.example, '*.a.example', .a.example, '*']\n", []string{
		`5:23: prefetch[1]: "*.a.example" is a pattern: only whole names can be fetched`,
		`5:38: prefetch[2]: ".a.example" is a pattern: only whole names can be fetched`,
		`5:50: prefetch[3]: "*" is a pattern: only whole names can be fetched`,
	}},
	{"no name to fetch", least + "prefetch: ['', a..b, 10.0.0.1]\n", []string{
		`5:12: prefetch[0]: name "": empty`,
		`5:16: prefetch[1]: name "a..b": empty label`,
		`5:22: prefetch[2]: name "10.0.0.1": last label is a number, as in an IP address`,
	}},
	{"one name to fetch", least + "prefetch: a.example\n", []string{"5:11: prefetch: want a list, got one value"}},
	{"hook without path", least + "hooks: {command: [notify.sh, /a]}\n", []string{
		`5:19: hooks.command[0]: "notify.sh" is not the whole path of a program, as in /usr/local/bin/notify`,
	}},
	{"hook without name", least + "hooks: {command: ['']}\n", []string{
		`5:19: hooks.command[0]: "" is not the whole path of a program, as in /usr/local/bin/notify`,
	}},
	{"hook as one text", least + "hooks: {command: /bin/notify --all}\n", []string{"5:18: hooks.command: want a list, got one value"}},
	{"events", least + "hooks: {command: [/a], events: [failed, fail, failed, fial]}\n", []string{
		`5:41: hooks.events[1]: "fail" is not one of fetched, renewed, withdrawn, expiring, failed, flushed; did you mean failed?`,
		`5:47: hooks.events[2]: "failed" is in the list twice`,
		`5:55: hooks.events[3]: "fial" is not one of fetched, renewed, withdrawn, expiring, failed, flushed`,
	}},
	{"peter_sslers without port", least + "control: {peter_sslers: {address: localhost}}\n", []string{
		`5:35: control.peter_sslers.address: "localhost" is not host:port, as in ":443", "127.0.0.1:9000" or "[::1]:443"`,
	}},
	{"peter_sslers for everybody", least + "control: {peter_sslers: {address: ':9080'}}\n", []string{
		"5:35: control.peter_sslers.address: whoever reaches it can flush: anything but loopback needs username and password_file",
	}},
	{"peter_sslers without password", least + "control: {peter_sslers: {address: ':9080', username: a}}\n", []string{
		"5:54: control.peter_sslers.username: a user without a password: control.peter_sslers.password_file is missing",
	}},
	{"peter_sslers where clients are", strings.Replace(least, ":443", "[::1]:443", 1) + "control: {peter_sslers: {address: '[::1]:443'}}\n", []string{
		`5:35: control.peter_sslers.address: "[::1]:443" is also listeners[0].address`,
	}},
	{"protocol twice, inherited", least + "tls: {alpn: [h2, h2]}\n", []string{`5:18: tls.alpn[1]: "h2" is in the list twice`}},
}

func TestProblems(t *testing.T) {
	for _, test := range problemTests {
		t.Run(test.name, func(t *testing.T) {
			wantProblems(t, test.text, test.want)
		})
	}
}

// wantProblems wants the first line of each problem of a file, without the name
// of the file.
func wantProblems(t *testing.T, text string, want []string) {
	t.Helper()
	config, err := Parse("f", []byte(text))
	if config != nil || err == nil {
		t.Fatalf("accepted")
	}
	var got []string
	for _, problem := range err.(Problems) {
		_, line, _ := strings.Cut(problem.String(), ":")
		got = append(got, strings.TrimPrefix(line, " "))
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestStoreURLs(t *testing.T) {
	tests := []struct{ url, more, want string }{
		{"https://127.0.0.1:8888/certs", "", ""},
		{"https://certs.example.com", "", ""},
		{"http://127.0.0.1:8888/certs", "", ""},
		{"http://[::1]:8888/certs", "", ""},
		{"http://localhost/certs", "", ""},
		{"unix:///run/certs.sock", "", ""},
		{"https://certs.example.com/get?tenant=7", ", form: caddy", ""},
		{"http://certs.example.com", ", plaintext: true", ""},
		{"http://certs.example.com", "", "unencrypted"},
		{"http://127.0.0.1.example.com", "", "unencrypted"},
		{"http://10.0.0.1", "", "unencrypted"},
		{"https://certs.example.com/get?tenant=7", "", "a query"},
		{"https://u:hunter2@certs.example.com", "", "user name or password"},
		{"https://u:hunter2/certs", "", "not a URL"},
		{"https://certs.example.com/#a", "", "a #"},
		{"https://:8888/certs", "", "not a URL"},
		{"https:certs", "", "not a URL"},
		{"https://a.example:70000", "", "port"},
		{"certs.example.com/certs", "", "not a URL"},
		{"ftp://certs.example.com", "", "must begin with"},
		{"redis://:hunter2@127.0.0.1", "", "a Redis server is a store of its own kind"},
		{"unix://run/certs.sock", "", "whole path"},
		{"", "", "missing"},
	}
	for _, test := range tests {
		t.Run(test.url+test.more, func(t *testing.T) {
			checkURL(t, withStores(`{http: {url: "`+test.url+`"`+test.more+"}}"), test.want)
		})
	}
}

// What sni says about a name is shown as it says it, at the name.
func TestBadNames(t *testing.T) {
	tests := map[string]string{
		strings.Replace(least, `":443"`, `":443", default_name: 10.0.0.1`, 1):  `f:2:45: listeners[0].default_name: `,
		least + "routes: [{match: {names: [a.example, a..b]}, backend: mail}]": `f:5:38: routes[0].match.names[1]: `,
		least + `routes: [{match: {names: ["a.*.b"]}, backend: mail}]`:         `f:5:27: routes[0].match.names[0]: `,
	}
	for text, want := range tests {
		_, err := Parse("f", []byte(text))
		if problems, ok := err.(Problems); !ok || len(problems) != 1 || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("got %v, want one problem that begins with %q", err, want)
		}
	}
}

func TestExcerpt(t *testing.T) {
	long := strings.Repeat("x", 80) + "HERE" + strings.Repeat("y", 200)
	tests := []struct {
		name    string
		problem Problem
		want    string
	}{
		{"nowhere", Problem{}, ""},
		{"plain", Problem{Line: 7, Column: 3, Source: "a: b"}, "  7 | a: b\n    |   ^\n"},
		{"tabs stay tabs", Problem{Line: 10, Column: 4, Source: "\ta\tb"}, "  10 | \ta\tb\n     | \t \t^\n"},
		{"characters, not bytes", Problem{Line: 1, Column: 5, Source: "é: ü"}, "  1 | é: ü\n    |     ^\n"},
		{"behind the end", Problem{Line: 1, Column: 50, Source: "a:"}, "  1 | a:\n    |   ^\n"},
		{
			"long",
			Problem{Line: 1, Column: 81, Source: long},
			"  1 | ... " + strings.Repeat("x", 60) + "HERE" + strings.Repeat("y", 52) + " ...\n    | " + strings.Repeat(" ", 64) + "^\n",
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if diff := cmp.Diff(test.want, test.problem.Excerpt()); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestSecretsAreMasked(t *testing.T) {
	tests := map[string]string{
		"    token: hunter2":                            "    token: ***",
		`  {"token": "hunter2", a: 1}`:                  `  {"token": ***`,
		"password : hunter2":                            "password : ***",
		"token_file: /etc/token":                        "token_file: /etc/token",
		"url: https://u:hunter2@h/p":                    "url: https://***@h/p",
		"url: https://u:hun/ter@2@h/p":                  "url: https://***@h/p",
		"url: https://h/p?a=1&api_key=hunter2&b=\"":     "url: https://h/p?a=1&api_key=***&b=\"",
		"x: \u202Eabc\x1b[31m":                          "x: \uFFFDabc\uFFFD[31m",
		"hmac: 1 # the token: is elsewhere, token: abc": "hmac: 1 # the token: ***",
	}
	for line, want := range tests {
		if got := printable(line); got != want {
			t.Errorf("printable(%q) = %q, want %q", line, got, want)
		}
	}
}

func TestManyProblems(t *testing.T) {
	_, err := Parse("f", []byte("listeners: ["+strings.Repeat("1, ", 5000)+"]\n"))
	problems, ok := err.(Problems)
	if !ok || len(problems) != mostProblems {
		t.Fatalf("%d problems, want %d", len(problems), mostProblems)
	}
	if text := err.Error(); strings.Count(text, "\n") > 160 || !strings.HasSuffix(text, "and 950 more problems") {
		t.Errorf("%d lines, ending in %q", strings.Count(text, "\n"), text[len(text)-30:])
	}
}
