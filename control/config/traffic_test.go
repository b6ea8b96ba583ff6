package config

import (
	"crypto/sha256"
	"crypto/tls"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"hellogate/sni"
)

func TestTraffic(t *testing.T) {
	tests := []struct {
		name, text string
		get        func(*Config) any
		want       any
	}{
		{"a listener is called by its address", least, func(c *Config) any { return c.Listeners[0].Name }, ":443"},
		{
			"listener", strings.Replace(least, `":443"`, `":443", name: public, limits: {connections: 9}, accept_proxy: {from: ["::ffff:10.0.0.0/104", 192.0.2.7], timeout: 1s}`, 1),
			func(c *Config) any { return c.Listeners[0] },
			Listener{
				Name: "public", Address: ":443", Limits: ListenerLimits{Connections: 9}, AcceptProxy: &AcceptProxy{
					From:     []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("192.0.2.7/32")},
					Required: true, Timeout: time.Second,
				},
			},
		},
		{"two that take free ports are called the same", strings.Replace(least, `{address: ":443"}`, `{address: ":0"}, {address: ":0"}`, 1), func(c *Config) any {
			return []string{c.Listeners[0].Name, c.Listeners[1].Name}
		}, []string{":0", ":0"}},
		{"a burst is a second's worth", least + "limits: {rate_per_ip: 7}", func(c *Config) any { return c.Limits.BurstPerIP }, 7},
		{"a burst that is written stays", least + "limits: {rate_per_ip: 7, burst_per_ip: 3}", func(c *Config) any { return c.Limits.BurstPerIP }, 3},
		{"shares", least + "limits: {life_jitter: 25}", func(c *Config) any { return c.Limits.LifeJitter }, Percent(25)},
		{"an upgrade drains for days", least + "limits: {upgrade_drain_timeout: 7d}", func(c *Config) any { return c.Limits.UpgradeDrainTimeout }, 7 * day},
		{"the least health", withBackend("health: {}"), func(c *Config) any { return c.Backends["mail"].Health }, &Health{Interval: 2 * time.Second, Timeout: time.Second, Rise: 2, Fall: 3}},
		{"no health", withBackend("health: ~, tls: null"), func(c *Config) any { return c.Backends["mail"].Health }, (*Health)(nil)},
		{
			"health", withBackend(`health: {send: "PING\r\n", expect: 'hex:2b504F4e47', interval: 10s}`), func(c *Config) any { return c.Backends["mail"].Health },
			&Health{Interval: 10 * time.Second, Timeout: time.Second, Rise: 2, Fall: 3, Send: "PING\r\n", Expect: "+PONG"},
		},
		{"the least encryption", withBackend("tls: {}"), func(c *Config) any { return c.Backends["mail"].TLS }, &BackendTLS{ServerName: ClientName, PassALPN: true, MinVersion: tls.VersionTLS12}},
		{
			"encryption", withBackend("tls: {server_name: 10.0.0.5, alpn: [imap], min_version: '1.3', pass_alpn: false}"), func(c *Config) any { return c.Backends["mail"].TLS },
			&BackendTLS{ServerName: "10.0.0.5", ALPN: []string{"imap"}, MinVersion: tls.VersionTLS13},
		},
		{"a dial is as patient as a connect", withBackend("connect_timeout: 1m"), func(c *Config) any { return c.Backends["mail"].DialTimeout }, time.Minute},
		{"a dial that is written stays", withBackend("connect_timeout: 1m, dial_timeout: 1m30s"), func(c *Config) any { return c.Backends["mail"].DialTimeout }, 90 * time.Second},
		{"by itself", withBackend("resolve_interval: auto"), func(c *Config) any { return c.Backends["mail"].ResolveInterval }, time.Duration(0)},
		{
			"server", strings.Replace(least, `143"}`, `143", weight: 0, backup: true, max_connections: 5}, {address: "unix:/run/a"}`, 1), func(c *Config) any { return c.Backends["mail"].Servers },
			[]Server{{Address: "10.0.0.5:143", Backup: true, MaxConnections: 5}, {Address: "unix:/run/a", Weight: 1}},
		},
		{
			"fields", strings.Replace(withBackend(`custom_tlvs: {0xea: vpce, 0xE0: 'hex:00ff', "0xef": "hex:"}, pass_tlvs: [authority, 0xe1]`), `":443"`, `":443", accept_proxy: {from: [10.0.0.1]}`, 1),
			func(c *Config) any { return []any{c.Backends["mail"].CustomFields(), c.Backends["mail"].PassTLVs} },
			[]any{[]CustomField{{0xE0, []byte{0, 0xFF}}, {0xEA, []byte("vpce")}, {0xEF, []byte{}}}, []TLVType{0x02, 0xE1}},
		},
		{
			"parts of ssl", withBackend("proxy_tlvs: [ssl, ssl_sig_alg, ssl_key_alg, ssl_group, ssl_sig_scheme, ssl_client_cert]"),
			func(c *Config) any { return c.Backends["mail"].ProxyTLVs },
			[]ProxyTLV{TLVSSL, TLVSSLSigAlg, TLVSSLKeyAlg, TLVSSLGroup, TLVSSLSigScheme, TLVSSLClientCert},
		},
		{
			"no tickets on one route", least + "routes: [{backend: mail, session_tickets: {enabled: false}}]", func(c *Config) any { return c.Routes[0].SessionTickets },
			SessionTickets{Enabled: SwitchOff, Rotate: defaultRotate},
		},
		{"a read socket for a group", least + "control: {read_socket: {path: /a, group: ops}}", func(c *Config) any { return c.Control.ReadSocket }, ReadSocket{Path: "/a", Mode: 0o660, Group: "ops"}},
		{"a read socket", least + "control: {read_socket: {path: /a}, group: ops}", func(c *Config) any { return c.Control.ReadSocket.Mode }, os.FileMode(0o600)},
		{"an address for monitoring", least + "admin: {address: 'localhost:9100'}", func(c *Config) any { return c.Admin.Address }, "localhost:9100"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			config := mustParse(t, test.text)
			if diff := cmp.Diff(test.want, test.get(config), ignoreOrigin); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestMatchConditions(t *testing.T) {
	config := mustParse(t, least+`
routes:
  - {match: {names_regex: ['db[0-9]+\.example'], client_ips: [10.1.2.3/8, "fd00::1"], listeners: [":443"]}, backend: mail}
  - {match: {client_ips: [10.0.0.0/8]}, action: reject}
  - {backend: mail, action: passthrough}
`)
	match := config.Routes[0].Match
	if len(match.NamesRegex) != 1 || !match.NamesRegex[0].Match("db7.example") {
		t.Errorf("names_regex = %v", match.NamesRegex)
	}
	if got := fmt.Sprint(match.ClientIPs, match.Listeners); got != "[10.0.0.0/8 fd00::1/128] [:443]" {
		t.Errorf("conditions %s", got)
	}
	if got := config.Routes[2].Action; got != Passthrough {
		t.Errorf("action = %s", got)
	}
}

// What a table tells of its rules leads back to the file.
func TestRoutesInTable(t *testing.T) {
	config := mustParse(t, least+`
routes:
  - {match: {names: [a.example], client_ips: [10.0.0.0/8]}, backend: mail}
  - {match: {names: [b.example, a.example], listeners: [":443"]}, backend: mail}
  - {match: {names: [c.example], names_regex: ["b.*", "a.*"], alpn: [imap]}, backend: mail}
  - {backend: mail}
`)
	var rules []sni.Rule[int]
	for i, route := range config.Routes {
		rules = append(rules, RuleFor(route.Match, i))
	}
	table, err := sni.NewTable(rules)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, step := range table.Trace(sni.Query{Name: "a.example"}) {
		got = append(got, fmt.Sprint(config.PathOf(step.Place), step.Missed))
	}
	want := []string{
		"routes[0].match.names[0][client_ips]",
		"routes[1].match.names[1][listeners]",
		"routes[2].match.names_regex[0][name alpn]",
		"routes[2].match.names_regex[1][alpn]",
		"routes[3][]",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestRouteInheritsClientAuth(t *testing.T) {
	config := mustParse(t, least+`
routes:
  - {match: {names: [a.example]}, backend: mail}
  - {match: {names: [b.example]}, backend: mail, tls: {client_auth: {mode: require}}}
  - {match: {names: [c.example]}, backend: mail, tls: {client_auth: {mode: request, crl_file: own.crl}}}
  - {match: {names: [d.example]}, backend: mail, tls: {client_auth: {mode: require, ca_file: own.pem}}}
  - {match: {names: [e.example]}, backend: mail, tls: {client_auth: {allow: {dns: [X.example]}}}}
  - {match: {names: [f.example]}, backend: mail, tls: {client_auth: {allow: {cn: []}}}}
tls: {client_auth: {mode: off, ca_file: all.pem, crl_file: all.crl, allow: {cn: [me]}}}
`)
	all := ClientAllow{CN: []string{"me"}}
	want := []ClientAuth{
		{Mode: ClientAuthOff, CAFile: "all.pem", CRLFile: "all.crl", Allow: all},
		{Mode: ClientAuthRequire, CAFile: "all.pem", CRLFile: "all.crl", Allow: all},
		{Mode: ClientAuthRequest, CAFile: "all.pem", CRLFile: "own.crl", Allow: all},
		{Mode: ClientAuthRequire, CAFile: "own.pem"},
		{Mode: ClientAuthOff, CAFile: "all.pem", CRLFile: "all.crl", Allow: ClientAllow{DNS: []string{"x.example"}}},
		{Mode: ClientAuthOff, CAFile: "all.pem", CRLFile: "all.crl", Allow: ClientAllow{CN: []string{}}},
	}
	for i, route := range config.Routes {
		if diff := cmp.Diff(want[i], route.TLS.ClientAuth); diff != "" {
			t.Errorf("routes[%d] (-want +got):\n%s", i, diff)
		}
	}
	if all.Everyone() || !want[5].Allow.Everyone() {
		t.Error("a list of names is for these alone, and none is for everyone")
	}
}

func TestRouteInheritsTicketsAndLimits(t *testing.T) {
	config := mustParse(t, least+`
routes:
  - {match: {names: [a.example]}, backend: mail}
  - {match: {names: [b.example]}, backend: mail, session_tickets: {enabled: true}, limits: {idle_timeout: 5s, connections: 3}}
  - {match: {names: [c.example]}, backend: mail, session_tickets: {rotate: 2h}, limits: {life_timeout: 0, connections_per_ip: 4}}
  - {match: {names: [d.example]}, backend: mail, session_tickets: {key_file: own}, limits: {half_close_timeout: 7s, handshake_timeout: 8s}}
session_tickets: {enabled: false, key_file: all}
limits: {idle_timeout: 1m, half_close_timeout: 2m, handshake_timeout: 3s, life_timeout: 4h, connections: 9, connections_per_ip: 8}
`)
	inherited := RouteLimits{HandshakeTimeout: 3 * time.Second, IdleTimeout: time.Minute, HalfCloseTimeout: 2 * time.Minute, LifeTimeout: 4 * time.Hour}
	limits := []RouteLimits{inherited, inherited, inherited, inherited}
	limits[1].IdleTimeout, limits[1].Connections = 5*time.Second, 3
	limits[2].LifeTimeout, limits[2].ConnectionsPerIP = 0, 4
	limits[3].HalfCloseTimeout, limits[3].HandshakeTimeout = 7*time.Second, 8*time.Second
	tickets := []SessionTickets{
		{SwitchOff, "all", defaultRotate},
		{SwitchOn, "all", defaultRotate},
		{SwitchOff, "all", 2 * time.Hour},
		{SwitchOff, "own", defaultRotate},
	}
	for i, route := range config.Routes {
		if diff := cmp.Diff(limits[i], route.Limits); diff != "" {
			t.Errorf("routes[%d].limits (-want +got):\n%s", i, diff)
		}
		if diff := cmp.Diff(tickets[i], route.SessionTickets); diff != "" {
			t.Errorf("routes[%d].session_tickets (-want +got):\n%s", i, diff)
		}
	}
}

// Each of these is one warning, and none of them is said of what is good.
func TestTrafficWarning(t *testing.T) {
	accept := strings.Replace(least, `":443"`, `":443", accept_proxy: {%s}`, 1)
	tests := []struct{ name, bad, good, want string }{
		{
			"everybody is a proxy", fmt.Sprintf(accept, "from: [10.0.0.1, 0.0.0.0/0]"), fmt.Sprintf(accept, "from: [0.0.0.0/1, '::/1']"),
			"2:63: listeners[0].accept_proxy.from[1]: whoever connects can claim to be any client",
		},
		{
			"a header that may be there", fmt.Sprintf(accept, "from: [10.0.0.1], required: false"), fmt.Sprintf(accept, "from: [10.0.0.1], required: true"),
			"2:74: listeners[0].accept_proxy.required: false guesses whether there is a header, which the PROXY protocol forbids: a client behind the proxy could write one",
		},
		{"a burst of nothing", least + "limits: {burst_per_ip: 5}", least + "limits: {burst_per_ip: 5, rate_per_ip: 1}", "5:24: limits.burst_per_ip: not used without limits.rate_per_ip"},
		{
			"a key that does not rotate", least + "session_tickets: {key_file: a, rotate: 1h}", least + "session_tickets: {rotate: 1h}",
			"5:40: session_tickets.rotate: not used with key_file: the keys change when that does",
		},
		{
			"nobody waits", withBackend("queue: {length: 5}"), strings.Replace(withBackend("queue: {length: 5}"), `143"}`, `143", max_connections: 9}`, 1),
			"4:57: backends.mail.queue: nothing ever waits where no server has max_connections",
		},
		{"no weight", strings.Replace(least, `143"}`, `143", weight: 0}`, 1), least, "4:19: backends.mail.servers: all have the weight 0: none takes a connection"},
		{
			"an impatient dial", withBackend("dial_timeout: 1s"), withBackend("dial_timeout: 1s, connect_timeout: 1s"),
			"4:71: backends.mail.dial_timeout: 1s is shorter than connect_timeout, 3s, and ends the first attempt",
		},
		{"nothing goes down", withBackend("on_down: reset"), withBackend("on_down: reset, health: {}"), "4:66: backends.mail.on_down: no server fails checks without health"},
		{
			"a question without an answer", withBackend("health: {send: a}"), withBackend("health: {send: a, expect: b}"),
			"4:72: backends.mail.health.send: without expect, what comes back is not looked at",
		},
		{
			"ejection of nobody", withBackend("ejection: {max_percent: 0}"), withBackend("ejection: {max_percent: 0, failures: 0}"),
			"4:81: backends.mail.ejection.max_percent: 0%: no server is ever ejected, which failures: 0 says",
		},
		{
			"nothing to pass on", withBackend("pass_tlvs: [all]"), strings.Replace(withBackend("pass_tlvs: [all]"), `":443"`, `":443", accept_proxy: {from: [10.0.0.1]}`, 1),
			"4:57: backends.mail.pass_tlvs: no listener has accept_proxy: there is nothing to pass on",
		},
		{
			"whoever is a server", withBackend("tls: {insecure_skip_verify: true}"), withBackend("tls: {insecure_skip_verify: false, ca_file: a}"),
			"4:85: backends.mail.tls.insecure_skip_verify: whoever answers at a server's address gets what clients send",
		},
		{"monitoring for everybody", least + "admin: {address: ':9100'}", least + "admin: {address: '[::1]:9100'}", "5:18: admin.address: whoever reaches it sees the names that are served"},
		{
			"a read socket that is none", least + "control: {read_socket: {group: '0'}}", least + "control: {read_socket: {group: '0', path: /a}}",
			"5:11: control.read_socket: nothing is listened on without a path",
		},
		{
			"a read socket for everybody", least + "control: {read_socket: {path: /a, mode: 0606}}", least + "control: {read_socket: {path: /a, mode: 0660}}",
			"5:41: control.read_socket.mode: 0606 lets everybody on this machine see the names that are served",
		},
		{
			"a read socket without its group", least + "control: {read_socket: {path: /a, mode: 0600, group: ops}}", least + "control: {read_socket: {path: /a, mode: 0660, group: ops}}",
			"5:41: control.read_socket.mode: 0600 keeps the members of control.read_socket.group out",
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if diff := cmp.Diff([]string{"test.yaml:" + test.want}, mustParse(t, test.bad).Warnings); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if got := mustParse(t, test.good).Warnings; len(got) > 0 {
				t.Errorf("of what is good: %q", got)
			}
		})
	}
}

func TestRootsOfNoUse(t *testing.T) {
	warnings := mustParse(t, withBackend("tls: {insecure_skip_verify: true, ca_file: a}")).Warnings
	if want := "test.yaml:4:100: backends.mail.tls.ca_file: not used with insecure_skip_verify"; len(warnings) != 2 || warnings[1] != want {
		t.Errorf("got %q, want %q besides another", warnings, want)
	}
}

func TestServerAddresses(t *testing.T) {
	tests := []struct{ address, want string }{
		{"10.0.0.5:143", ""},
		{"[::1]:143", ""},
		{"imap.example:143", ""},
		{"unix:/run/imap.sock", ""},
		{"srv://_imap._tcp.example.com", ""},
		{"srv://_postgresql._tcp.db.internal", ""},
		{"unix:", "want the whole path"},
		{"unix:run/imap.sock", "want the whole path"},
		{"unix:/" + strings.Repeat("x", 103), "104 bytes long: a socket's path has at most 103"},
		{"srv://", "does not name a service, as in"},
		{"srv://imap.example.com", "does not name a service, as in"},
		{"srv://_imap._udp.example.com", "does not name a service, as in"},
		{"srv://_imap._tcp", "does not name a service, as in"},
		{"srv://_._tcp.example.com", "does not name a service, as in"},
		{"srv://_im/ap._tcp.example.com", "does not name a service: "},
		{"srv://_imap._tcp.example.com:143", "does not name a service: "},
		{"srv://_imap._tcp.10.0.0.1", "does not name a service: "},
		{"imap.example", "is not host:port"},
		{"http://imap.example", "the port must be a number"},
	}
	for _, test := range tests {
		t.Run(test.address, func(t *testing.T) {
			err := checkServerAddress(test.address)
			if test.want == "" && err != nil || test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)) {
				t.Errorf("got %v, want %q", err, test.want)
			}
		})
	}
}

func TestParseHash(t *testing.T) {
	want := Hash(sha256.Sum256([]byte("a")))
	digits, encoded := hex.EncodeToString(want[:]), base64.StdEncoding.EncodeToString(want[:])
	for _, text := range []string{digits, strings.ToUpper(digits), digits[:2] + ":" + digits[2:], encoded, "sha256//" + encoded} {
		if got, err := parseHash(text); err != nil || got != want {
			t.Errorf("parseHash(%q) = %v, %v", text, got, err)
		}
	}
	for _, text := range []string{"", digits[2:], digits + "00", encoded[4:], "sha1//" + encoded, "x" + digits[1:]} {
		if _, err := parseHash(text); err == nil {
			t.Errorf("parseHash(%q) was accepted", text)
		}
	}
	if want.String() != digits {
		t.Errorf("String() = %s", want)
	}
}

func TestTLVTypes(t *testing.T) {
	for text, want := range map[string]TLVType{"all": AllTLVs, "authority": 2, "netns": 0x30, "0xE0": 0xE0, "0xEF": 0xEF} {
		got, err := parseTLVType(text)
		if err != nil || got != want || got.String() != text {
			t.Errorf("parseTLVType(%q) = %v, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "crc32c", "noop", "0xDF", "0xF0", "0xE", "0x+E", "E0", "224", "0XE0"} {
		if got, err := parseTLVType(text); err == nil {
			t.Errorf("parseTLVType(%q) = %v", text, got)
		}
	}
}

// A part of a field that is not sent would be left out in silence.
func TestPartsOfSSL(t *testing.T) {
	for _, part := range []ProxyTLV{TLVSSLSigAlg, TLVSSLKeyAlg, TLVSSLGroup, TLVSSLSigScheme, TLVSSLClientCert} {
		_, err := Parse("test.yaml", []byte(withBackend(fmt.Sprintf("proxy_tlvs: [authority, %s]", part))))
		if err == nil || !strings.Contains(err.Error(), fmt.Sprintf("proxy_tlvs[1]: %s is a part of ssl", part)) {
			t.Errorf("%s without ssl: %v", part, err)
		}
	}
}
