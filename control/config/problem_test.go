package config

import (
	"flag"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write the .txt files in testdata anew")

// All mistakes of a file are reported at once, in its order, each with its
// place, its line and a caret.
func TestAllProblemsAtOnce(t *testing.T) {
	for _, name := range []string{"testdata/broken", "testdata/traffic"} {
		t.Run(name, func(t *testing.T) { wantGolden(t, name+".yaml", name+".txt") })
	}
}

func wantGolden(t *testing.T, file, golden string) {
	_, err := Load(file)
	if err == nil {
		t.Fatal("the file was accepted")
	}
	got := err.Error() + "\n"
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
		`5:41: hooks.events[1]: "fail" is not one of fetched, renewed, withdrawn, expiring, failed, flushed, acme_renewing, acme_challenge_setup, acme_renewed, acme_installed, acme_expiring, acme_errored, acme_revoked; did you mean failed?`,
		`5:47: hooks.events[2]: "failed" is in the list twice`,
		`5:55: hooks.events[3]: "fial" is not one of fetched, renewed, withdrawn, expiring, failed, flushed, acme_renewing, acme_challenge_setup, acme_renewed, acme_installed, acme_expiring, acme_errored, acme_revoked`,
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
	{"listener's name is an address", strings.Replace(least, `":443"`, `":443", name: ":80"`, 1), []string{
		"2:37: listeners[0].name: a listener's name is up to 64 letters, digits, hyphens, underscores and dots",
	}},
	{"listener's name is another's", strings.Replace(least, `{address: ":443"}`, `{address: ":443", name: a}, {address: ":80", name: a}`, 1), []string{
		`2:64: listeners[1].name: "a" is also listeners[0].name`,
	}},
	{"share", least + "limits: {life_jitter: 101%}\n", []string{`5:23: limits.life_jitter: "101%" is not a share from 0% to 100%`}},
	{"part of a share", least + "limits: {life_jitter: 1.5}\n", []string{`5:23: limits.life_jitter: "1.5" is not a share from 0% to 100%`}},
	{"keepalive without end", least + "limits: {tcp_keepalive: 10h, tcp_user_timeout: 30d}\n", []string{
		"5:25: limits.tcp_keepalive: must be at most 9h6m7s",
		"5:48: limits.tcp_user_timeout: must be at most 596h31m23.647s",
	}},
	{"clients of whom", least + "tls: {client_auth: {mode: request}}\n", []string{
		"5:7: tls.client_auth.ca_file: missing: it says whose certificates are good",
	}},
	{"a route's clients of whom", least + "routes: [{backend: mail, tls: {client_auth: {mode: require}}}]\n", []string{
		"5:32: routes[0].tls.client_auth.ca_file: missing: it says whose certificates are good",
	}},
	{"clients allowed twice", least + "tls: {client_auth: {allow: {cn: [a, a, ''], dns: [a.example, A.example], uri: ['a:b', '//b']}}}\n", []string{
		`5:37: tls.client_auth.allow.cn[1]: "a" is in the list twice`,
		"5:40: tls.client_auth.allow.cn[2]: empty",
		`5:62: tls.client_auth.allow.dns[1]: "a.example" is in the list twice`,
		`5:87: tls.client_auth.allow.uri[1]: "//b" is not a URI, as in spiffe://example.org/service`,
	}},
	{"tickets without a key", least + "session_tickets: {enabled: 1, rotate: 8d}\n", []string{
		`5:28: session_tickets.enabled: want true or false, got "1"`,
		"5:39: session_tickets.rotate: must be at most 168h0m0s",
	}},
	{"passed through to nowhere", least + "routes: [{action: passthrough}]\n", []string{"5:10: routes[0].backend: missing"}},
	{"passed through and terminated", least + "routes: [{action: passthrough, backend: mail, session_tickets: {enabled: false}, limits: {handshake_timeout: 1s}}]\n", []string{
		"5:47: routes[0].session_tickets: has no meaning with action: passthrough: TLS is between the client and the server",
		"5:110: routes[0].limits.handshake_timeout: has no meaning with action: passthrough: TLS is between the client and the server",
	}},
	{"passed through and encrypted", withBackend("tls: {}") + "routes: [{action: passthrough, backend: mail}]\n", []string{
		`5:41: routes[0].backend: "mail" has tls: what is passed through would be encrypted twice`,
	}},
	{"no such listener", least + "routes: [{backend: mail, match: {listeners: [':444', a]}}]\n", []string{
		`5:46: routes[0].match.listeners[0]: no listener is called ":444"; did you mean :443?`,
		`5:54: routes[0].match.listeners[1]: no listener is called "a"; there is :443`,
	}},
	{"a listener twice", least + "routes: [{backend: mail, match: {listeners: [':443', ':443', '']}}]\n", []string{
		`5:54: routes[0].match.listeners[1]: ":443" is in the list twice`,
		"5:62: routes[0].match.listeners[2]: empty",
	}},
	{"a range that cannot be read hides no route", least + "routes:\n- {match: {client_ips: [10.0.0.0]}, backend: mail}\n- {match: {client_ips: [x]}, backend: mail}\n- {backend: mail}\n- {backend: mail}\n", []string{
		`7:25: routes[1].match.client_ips[0]: "x" is not a range of addresses, as in 10.0.0.0/8, nor one address`,
		`9:3: routes[3]: "*" under the same conditions is also routes[2]`,
	}},
	{"an expression that cannot be read hides no route", least + "routes:\n- {match: {names_regex: ['(']}, backend: mail}\n- {backend: mail}\n", []string{
		`6:26: routes[0].match.names_regex[0]: regular expression "(": missing closing ): "("`,
	}},
	{"route that no client gets to", least + "routes:\n- {match: {names: [a.example], client_ips: [10.0.0.0/8], alpn: [h2, imap]}, backend: mail}\n" +
		"- {match: {names: [b.example, a.example], client_ips: [10.1.0.0/16], alpn: [imap]}, backend: mail}\n- {match: {names: [a.example]}, backend: mail}\n", []string{
		`7:31: routes[1].match.names[1]: "a.example" can never match: routes[0].match.names[0] is tried before and takes every client that it could`,
	}},
	{"expressions that no client gets to", least + "routes:\n- {match: {names: [a.example], names_regex: ['a.*', '.*']}, backend: mail}\n- {match: {names_regex: ['b.*', 'a.*']}, backend: mail}\n", []string{
		`7:26: routes[1].match.names_regex[0]: "b.*" can never match: routes[0].match.names_regex[1] is tried before and takes every client that it could`,
		`7:33: routes[1].match.names_regex[1]: "a.*" under the same conditions is also routes[0].match.names_regex[0]`,
	}},
	{"expressions too large together", least + "routes:\n" + numbered("- {match: {names_regex: ['a%d.{900}']}, backend: mail}\n", 12), []string{
		"5:1: routes: the regular expressions have 10838 states together: 10000 at most",
	}},
	{"Sentinel at a socket", withStores("{redis: {addresses: ['unix:/a'], sentinel_master: m}}"), []string{
		`3:31: stores[0].redis.addresses[0]: "unix:/a": the port must be a number up to 65535`,
	}},
	{"only backups", strings.Replace(least, `143"}`, `143", backup: true}`, 1), []string{
		"4:19: backends.mail.servers: all are backups: at least one must not be",
	}},
	{"health at a socket's port", strings.Replace(withBackend("health: {port: 80}"), "10.0.0.5:143", "unix:/run/a", 1), []string{
		`4:71: backends.mail.health.port: "unix:/run/a" has no ports`,
	}},
	{"health that asks too much", withBackend("health: {rise: 0, fall: 0, port: 70000, send: " + strings.Repeat("a", 4097) + ", expect: 'hex:0'}"), []string{
		"4:72: backends.mail.health.rise: must be at least 1",
		"4:81: backends.mail.health.fall: must be at least 1",
		"4:90: backends.mail.health.port: must be 0 to 65535",
		"4:103: backends.mail.health.send: 4097 bytes long: at most 4096",
		`4:4210: backends.mail.health.expect: "hex:0" is not hexadecimal behind hex:, as in hex:00ff`,
	}},
	{"ejection that shrinks", withBackend("ejection: {time: 1m, max_time: 30s}"), []string{
		"4:88: backends.mail.ejection.max_time: 30s is less than time, 1m0s",
	}},
	{"fields in a header without room", withBackend("send_proxy: v1, custom_tlvs: {0xE0: a}, pass_tlvs: [all]"), []string{
		"4:73: backends.mail.custom_tlvs: only a header of send_proxy: v2 has room for them",
		"4:97: backends.mail.pass_tlvs: only a header of send_proxy: v2 has room for them",
	}},
	{"fields that are none", withBackend("custom_tlvs: {0xF0: a, 224: b, 0xE00: c, 0xE1: " + strings.Repeat("d", 1025) + "}, pass_tlvs: [0xEG, allpn]"), []string{
		`4:77: backends.mail.custom_tlvs.0xF0: "0xF0" is not a number from 0xE0 to 0xEF`,
		`4:85: backends.mail.custom_tlvs.224: "224" is not a number from 0xE0 to 0xEF`,
		`4:95: backends.mail.custom_tlvs.0xE00: "0xE00" is not a number from 0xE0 to 0xEF`,
		"4:104: backends.mail.custom_tlvs.0xE1: 1025 bytes long: at most 1024",
		`4:1144: backends.mail.pass_tlvs[0]: "0xEG" is not one of all, alpn, authority, netns, ssl, unique_id, nor a number from 0xE0 to 0xEF`,
		`4:1150: backends.mail.pass_tlvs[1]: "allpn" is not one of all, alpn, authority, netns, ssl, unique_id, nor a number from 0xE0 to 0xEF; did you mean alpn?`,
	}},
	{"servers by no name", withBackend("tls: {server_name: '', alpn: [h2, h2]}"), []string{
		`4:76: backends.mail.tls.server_name: "" is neither a host name nor an IP address, nor $name for the name that the client asked for`,
		`4:91: backends.mail.tls.alpn[1]: "h2" is in the list twice`,
	}},
	{"admin where clients are", least + "admin: {address: ':443'}\n", []string{`5:18: admin.address: ":443" is also listeners[0].address`}},
	{"admin without port", least + "admin: {address: localhost}\n", []string{
		`5:18: admin.address: "localhost" is not host:port, as in ":443", "127.0.0.1:9000" or "[::1]:443"`,
	}},
	{"one socket for all", least + "control: {socket: /a, read_socket: {path: /a}}\n", []string{
		`5:43: control.read_socket.path: "/a" is also control.socket`,
	}},
	{"read socket's path too long", least + "control: {read_socket: {path: /" + strings.Repeat("x", 103) + "}}\n", []string{
		"5:31: control.read_socket.path: 104 bytes long: a socket's path has at most 103",
	}},
	{"protocol twice, inherited", least + "tls: {alpn: [h2, h2]}\n", []string{`5:18: tls.alpn[1]: "h2" is in the list twice`}},
}

// withBackend is the shortest configuration, with more said of its backend.
func withBackend(more string) string {
	return strings.Replace(least, `143"}]`, `143"}], `+more, 1)
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
