package config

import (
	"crypto/tls"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"hellogate/sni"
)

// ignoreOrigin compares what a configuration says, not where it says it.
var ignoreOrigin = cmp.Options{cmpopts.IgnoreUnexported(Config{}), byValue[sni.Pattern](), byValue[sni.Regexp](), byValue[netip.Prefix]()}

func byValue[T comparable]() cmp.Option { return cmp.Comparer(func(a, b T) bool { return a == b }) }

func mustParse(t *testing.T, text string) *Config {
	t.Helper()
	config, err := Parse("test.yaml", []byte(text))
	if err != nil {
		t.Fatalf("unexpected problems:\n%v", err)
	}
	return config
}

// least is the shortest configuration that starts.
const least = `
listeners: [{address: ":443"}]
stores: [{dir: {path: /etc/certs}}]
backends: {mail: {servers: [{address: "10.0.0.5:143"}]}}
`

func pattern(t *testing.T, text string) sni.Pattern {
	t.Helper()
	p, err := sni.ParsePattern(text)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestFullFileIsTheDefaults(t *testing.T) {
	got, err := Load("testdata/full.yaml")
	if err != nil {
		t.Fatal(err)
	}
	want := Defaults()
	server, redis := new(HTTPStore), new(RedisStore)
	server.setDefaults()
	server.URL = "https://127.0.0.1:8888/certs"
	redis.setDefaults()
	redis.URL, redis.Addresses = "redis://127.0.0.1:6379/9", []string{}
	authority := new(ACMEStore)
	authority.setDefaults()
	authority.AcceptTerms, authority.Names, authority.OnDemand = true, []sni.Pattern{pattern(t, "www.example.com")}, []sni.Pattern{}
	authority.DNS01, authority.Message = []string{}, []string{}
	// What is off unless it is written, and then has defaults of its own.
	var backend Backend
	health, encrypted := new(Health), new(BackendTLS)
	health.setDefaults()
	encrypted.setDefaults()
	encrypted.ALPN = []string{}
	backend.setDefaults()
	backend.Servers = []Server{{Address: "10.0.0.5:143", Weight: 1}}
	backend.Health, backend.TLS = health, encrypted
	backend.CustomTLVs, backend.PassTLVs = map[string]Bytes{}, []TLVType{}
	accept := new(AcceptProxy)
	accept.setDefaults()
	accept.From = []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}
	want.Listeners = []Listener{{Name: ":443", Address: ":443", AcceptProxy: accept}}
	want.TLS.ClientAuth.Allow = ClientAllow{CN: []string{}, DNS: []string{}, URI: []string{}, SPKISHA256: []Hash{}}
	want.Stores = []Store{
		{Name: server.URL, HTTP: server, Names: []sni.Pattern{}, Breaker: want.Breaker, Allow: []netip.Prefix{}},
		{Name: redis.URL, Redis: redis, Breaker: want.Breaker},
		{Name: authority.Directories[0], ACME: authority, Breaker: want.Breaker},
	}
	want.Prefetch = []string{}
	want.Hooks.Command, want.Hooks.Events = []string{}, []Event{}
	want.Backends = map[string]Backend{"mail": backend}
	route := routeTo("mail")
	route.Match = Match{
		Names: []sni.Pattern{pattern(t, "*")}, NamesRegex: []sni.Regexp{}, ALPN: []string{},
		ClientIPs: []netip.Prefix{}, Listeners: []string{},
	}
	route.TLS = want.TLS
	want.Routes = []Route{route}
	want.Control.Socket = "/run/hellogate/control.sock"
	if diff := cmp.Diff(want, got, ignoreOrigin); diff != "" {
		t.Errorf("testdata/full.yaml and the defaults differ (-defaults +file):\n%s", diff)
	}
}

// routeTo is a route in which nothing is written but its backend.
func routeTo(backend string) Route {
	var route Route
	route.setDefaults()
	route.Backend = backend
	route.inherit(Defaults())
	return route
}

// Every key that the decoder knows is in the full file, so that the file can be
// shown as what there is.
func TestFullFileHasEveryKey(t *testing.T) {
	config, err := Load("testdata/full.yaml")
	if err != nil {
		t.Fatal(err)
	}
	want := schemaKeys(reflect.TypeFor[Config](), "")
	for path := range config.origin.places {
		path = strings.Replace(index.ReplaceAllString(path, "[]"), "backends.mail", "backends.*", 1)
		want = slices.DeleteFunc(want, func(key string) bool { return key == path })
	}
	// It has a store of each other kind.
	want = slices.DeleteFunc(want, func(key string) bool { return strings.HasPrefix(key, "stores[].dir") })
	if len(want) > 0 {
		t.Errorf("not in testdata/full.yaml: %s", strings.Join(want, ", "))
	}
}

func schemaKeys(kind reflect.Type, path string) []string {
	if textParser(kind, "") != nil {
		return nil
	}
	switch kind.Kind() {
	case reflect.Pointer:
		return schemaKeys(kind.Elem(), path)
	case reflect.Slice:
		return schemaKeys(kind.Elem(), path+"[]")
	case reflect.Map:
		return schemaKeys(kind.Elem(), path+".*")
	}
	var keys []string
	for key, field := range fieldsOf(kind) {
		below := child(path, key)
		keys = append(keys, below)
		keys = append(keys, schemaKeys(kind.Field(field.index).Type, below)...)
	}
	return keys
}

func TestBenchmarkFile(t *testing.T) {
	config := mustParse(t, `listeners:
  - address: "127.0.0.1:4433"
stores:
  - dir: {path: "/tmp/certs"}
cache: {san_aliases: "off"}
limits: {connections: 9900, idle_timeout: 10m}
backends:
  bench:
    servers: [{address: "127.0.0.1:9000"}]
    send_proxy: v2
routes:
  - match: {names: ["*"]}
    action: terminate
    backend: bench
control: {socket: "/tmp/control.sock"}
log: {level: error, access: false}
`)
	want := []any{9900, 10 * time.Minute, AliasesOff, "/tmp/certs", "/tmp/control.sock", LogLevel("error"), false}
	got := []any{
		config.Limits.Connections, config.Limits.IdleTimeout, config.Cache.SANAliases,
		config.Stores[0].Name, config.Control.Socket, config.Log.Level, config.Log.Access,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if len(config.Warnings) > 0 {
		t.Errorf("warnings: %q", config.Warnings)
	}
}

func TestParse(t *testing.T) {
	tests := []struct {
		name, text string
		get        func(*Config) any
		want       any
	}{
		{
			"one backend needs no routes", "", func(c *Config) any { return c.Routes },
			[]Route{routeTo("mail")},
		},
		{"an empty section is its defaults", "limits:\n", func(c *Config) any { return c.Limits }, Defaults().Limits},
		{"a null value is its default", "limits: {connections: ~, idle_timeout: null}", func(c *Config) any { return c.Limits }, Defaults().Limits},
		{"mode, unquoted, is octal", "control: {mode: 0600}", func(c *Config) any { return c.Control.Mode }, os.FileMode(0o600)},
		{"mode, quoted", `control: {mode: "0640"}`, func(c *Config) any { return c.Control.Mode }, os.FileMode(0o640)},
		{"mode, YAML 1.2 octal", `control: {mode: 0o660}`, func(c *Config) any { return c.Control.Mode }, os.FileMode(0o660)},
		{"mode without a group", "control: {}", func(c *Config) any { return c.Control.Mode }, os.FileMode(0o600)},
		{"a group opens the socket to it", "control: {group: ops}", func(c *Config) any { return c.Control.Mode }, os.FileMode(0o660)},
		{"a mode that is written stays", "control: {group: ops, mode: 0620}", func(c *Config) any { return c.Control.Mode }, os.FileMode(0o620)},
		{"a group's number", "control: {group: 1000}", func(c *Config) any { return c.Control.Group }, "1000"},
		{"version, unquoted", "tls: {min_version: 1.3}", func(c *Config) any { return c.TLS.MinVersion }, TLSVersion(tls.VersionTLS13)},
		{"days", "limits: {idle_timeout: 1d12h}", func(c *Config) any { return c.Limits.IdleTimeout }, 36 * time.Hour},
		{"zero without a unit", "limits: {drain_timeout: 0}", func(c *Config) any { return c.Limits.DrainTimeout }, time.Duration(0)},
		{"size in bytes", "limits: {hello_bytes: 16384}", func(c *Config) any { return c.Limits.HelloBytes }, Size(16 << 10)},
		{"size in gigabytes", "cache: {size: 2G}", func(c *Config) any { return c.Cache.Size }, Size(2 << 30)},
		{"renewal auto", "cache: {renew_before: auto}", func(c *Config) any { return c.Cache.RenewBefore }, time.Duration(0)},
		{"renewal by hand", "cache: {renew_before: 14d}", func(c *Config) any { return c.Cache.RenewBefore }, 14 * 24 * time.Hour},
		{"off without quotes", "cache: {san_aliases: off}", func(c *Config) any { return c.Cache.SANAliases }, AliasesOff},
		{"text in a block", "control:\n  group: >-\n    ops\n", func(c *Config) any { return c.Control.Group }, "ops"},
		{"an explicit key", "? log\n: {level: warn}\n", func(c *Config) any { return c.Log.Level }, LogLevel("warn")},
		{"windows line ends", "log:\r\n  level: warn\r\n  access: false\r\n", func(c *Config) any { return c.Log }, Log{Level: "warn", Format: LogJSON}},
		{"names to fetch", "prefetch: [Bücher.example., A.example]", func(c *Config) any { return c.Prefetch }, []string{"xn--bcher-kva.example", "a.example"}},
		{"look-ups without limit", "lookups: {rate: 0, burst: 0, per_client: 0, per_client_burst: 0}", func(c *Config) any { return c.Lookups }, Lookups{}},
		{
			"a permission with a query", `permission: {url: "https://h/ask?tenant=7", timeout: 1s}`, func(c *Config) any { return c.Permission },
			Permission{URL: "https://h/ask?tenant=7", Timeout: time.Second, Breaker: Breaker{5, 30 * time.Second}},
		},
		{"no permission", `permission: {url: ""}`, func(c *Config) any { return c.Permission }, Defaults().Permission},
		{
			"a hook", "hooks: {command: [/bin/notify, --all, 1], events: [failed, expiring]}", func(c *Config) any { return c.Hooks },
			Hooks{Command: []string{"/bin/notify", "--all", "1"}, Events: []Event{EventFailed, EventExpiring}, Timeout: 30 * time.Second},
		},
		{
			"peter_sslers on loopback", `control: {peter_sslers: {address: "localhost:9080"}}`, func(c *Config) any { return c.Control.PeterSSLers },
			PeterSSLers{Address: "localhost:9080"},
		},
		{
			"peter_sslers everywhere", `control: {peter_sslers: {address: ":9080", username: ops, password_file: p}}`,
			func(c *Config) any { return c.Control.PeterSSLers },
			PeterSSLers{Address: ":9080", Username: "ops", PasswordFile: "p"},
		},
		{"a disk tier", "cache: {dir: /var/cache/h, dir_key_file: k, wildcards: true, route_ttl: 1s}", func(c *Config) any {
			return []any{c.Cache.Dir, c.Cache.DirKeyFile, c.Cache.Wildcards, c.Cache.RouteTTL}
		}, []any{"/var/cache/h", "k", true, time.Second}},
		{"an emoji in a comment", "# 👨‍👩‍👧\n", func(c *Config) any { return len(c.Listeners) }, 1},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			config := mustParse(t, least+test.text)
			if diff := cmp.Diff(test.want, test.get(config), ignoreOrigin); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestNames(t *testing.T) {
	config := mustParse(t, `
listeners: [{address: ":443", default_name: Bücher.Example.}]
stores: [{dir: {path: /etc/certs}}]
backends: {mail: {servers: [{address: "10.0.0.5:143"}]}}
routes:
  - {match: {names: [Bücher.example, "*.A.example", .b.example]}, backend: mail}
`)
	if got := config.Listeners[0].DefaultName; got != "xn--bcher-kva.example" {
		t.Errorf("default_name = %q", got)
	}
	want := []sni.Pattern{pattern(t, "xn--bcher-kva.example"), pattern(t, "*.a.example"), pattern(t, ".b.example")}
	if got := config.Routes[0].Match.Names; !slices.Equal(got, want) {
		t.Errorf("names = %v, want %v", got, want)
	}
}

func TestRouteInheritsTLS(t *testing.T) {
	config := mustParse(t, least+`
routes:
  - {match: {names: [a.example]}, backend: mail}
  - {match: {names: [b.example]}, backend: mail, tls: {min_version: "1.2"}}
  - {match: {names: [c.example]}, backend: mail, tls: {alpn: []}}
  - {match: {names: [d.example]}, backend: mail, tls: {alpn: [imap]}}
tls: {min_version: "1.3", alpn: [h2]}
`)
	want := []TLS{
		{MinVersion: tls.VersionTLS13, ALPN: []string{"h2"}},
		{MinVersion: tls.VersionTLS12, ALPN: []string{"h2"}},
		{MinVersion: tls.VersionTLS13, ALPN: []string{}},
		{MinVersion: tls.VersionTLS13, ALPN: []string{"imap"}},
	}
	for i, route := range config.Routes {
		want[i].ClientAuth.Mode = ClientAuthOff
		if diff := cmp.Diff(want[i], route.TLS); diff != "" {
			t.Errorf("routes[%d]: %s", i, diff)
		}
	}
}

func TestWarnings(t *testing.T) {
	config := mustParse(t, `
listeners: [{address: ":443"}]
stores:
  - http: {url: "http://localhost/certs", insecure_skip_verify: true, timeout: 10s, autocert_timeout: 2m}
backends:
  mail: {servers: [{address: "10.0.0.5:143"}]}
  web: {servers: [{address: "10.0.0.5:80"}]}
routes: [{backend: mail}]
cache: {ttl: 1m, san_aliases: all, alias_ca_file: /ca.pem}
fallback: {cert_file: a.crt, key_file: a.key, on: []}
control: {mode: 0606, group: ops}
`)
	for _, want := range []string{
		"backends.web: no route uses it",
		"stores[0].http.insecure_skip_verify: whoever answers",
		"stores[0].http.autocert_timeout: nothing is obtained without autocert: true",
		"stores[0].http.timeout: 10s is longer than cache.lookup_timeout, 5s",
		"stores[0].http.url: no certificate is looked at over http://",
		"cache.ttl: 1m0s is less than min_ttl, 5m0s",
		"cache.alias_ca_file: not used with san_aliases: all",
		"fallback.on: empty",
		"control.mode: 0606 keeps the members",
		"control.mode: 0606 lets everybody",
	} {
		if !slices.ContainsFunc(config.Warnings, func(got string) bool { return strings.Contains(got, want) }) {
			t.Errorf("no warning %q in %q", want, config.Warnings)
		}
	}
	if len(config.Warnings) != 10 || !strings.HasPrefix(config.Warnings[0], "test.yaml:") {
		t.Errorf("warnings: %q", config.Warnings)
	}
}

func TestWarningsAreBounded(t *testing.T) {
	config := mustParse(t, least+"prefetch:\n"+strings.Repeat("- a.example\n", 2*mostProblems))
	if got := len(config.Warnings); got != mostProblems {
		t.Errorf("%d warnings, want %d", got, mostProblems)
	}
}

// Each of these is one warning, and none of them is said of what is good.
func TestOneWarning(t *testing.T) {
	http, redis := withStores("{http: {%s}}"), withStores("{redis: {%s}}")
	tests := []struct{ name, bad, good, want string }{
		{"no rate", least + "lookups: {rate: 0}", least + "lookups: {rate: 1}", "5:17: lookups.rate: 0 is no limit: a flood of unknown names reaches the stores whole"},
		{"no rate for one", least + "lookups: {per_client: 0}", least + "lookups: {per_client: 1}", "5:23: lookups.per_client: 0 is no limit: one client may use up the rate of all"},
		{
			"permission's roots alone", least + "permission: {ca_file: a}", least + "permission: {ca_file: a, url: https://h}",
			"5:1: permission: nobody is asked without permission.url",
		},
		{
			"permission's roots unused", least + "permission: {ca_file: a, url: http://localhost}", least + "permission: {ca_file: a, url: https://h}",
			"5:31: permission.url: no certificate is looked at over http://",
		},
		{
			"permission's query", least + "permission: {url: 'https://h/?domain=a'}", least + "permission: {url: 'https://h/?tenant=a'}",
			"5:19: permission.url: the domain in its query gives way to the name that is asked for",
		},
		{
			"permission's patience", least + "permission: {timeout: 6s, url: https://h}", least + "permission: {timeout: 5s, url: https://h}",
			"5:23: permission.timeout: 6s is longer than cache.lookup_timeout, 5s: handshakes do not wait that long",
		},
		{"fetched twice", least + "prefetch: [b.example, a.example, A.example.]", least + "prefetch: [b.example, a.example]", `5:34: prefetch[2]: "a.example" is in the list twice`},
		{"events alone", least + "hooks: {events: [failed]}", least + "hooks: {events: [failed], command: [/a]}", "5:9: hooks.events: nothing is called without hooks.command"},
		{
			"a login alone", least + "control: {peter_sslers: {username: a, password_file: b}}",
			least + "control: {peter_sslers: {username: a, password_file: b, address: ':1'}}",
			"5:11: control.peter_sslers: nothing is listened on without an address",
		},
		{
			"every address", withStores("{dir: {path: a}, allow: [10.0.0.0/8, '::/0']}"), withStores("{dir: {path: a}, allow: ['::/1']}"),
			"3:47: stores[0].allow[1]: whoever writes this store's answers can reach every address from here",
		},
		{
			"write back what depends on the client", withStores("{dir: {path: a}, write_back: true}, {http: {url: https://h, form: caddy}}"),
			withStores("{http: {url: https://h, form: caddy}}, {dir: {path: a}, write_back: true}, {dir: {path: b}}"),
			"3:39: stores[0].write_back: what stores[1] answers depends on the client (form: caddy) and is not written back",
		},
		{
			"whoever is Redis", fmt.Sprintf(redis, "url: rediss://h, insecure_skip_verify: true"), fmt.Sprintf(redis, "url: rediss://h, insecure_skip_verify: false"),
			"3:58: stores[0].redis.insecure_skip_verify: whoever answers at the store's address can hand out certificates",
		},
		{
			"Redis' patience", fmt.Sprintf(redis, "url: rediss://h, timeout: 6s"), fmt.Sprintf(redis, "url: rediss://h, timeout: 5s"),
			"3:45: stores[0].redis.timeout: 6s is longer than cache.lookup_timeout, 5s: handshakes do not wait that long",
		},
		{
			"a server's patience", fmt.Sprintf(http, "url: https://h, timeout: 6s"), fmt.Sprintf(http, "url: https://h, timeout: 5s"),
			"3:43: stores[0].http.timeout: 6s is longer than cache.lookup_timeout, 5s: handshakes do not wait that long",
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

func TestHelpers(t *testing.T) {
	config := mustParse(t, least+"fallback: {cert_file: a.crt, key_file: a.key, on: [unknown]}\n")
	if !config.Fallback.Serves(OnUnknown) || config.Fallback.Serves(OnFailure) {
		t.Error("the fallback is for unknown names alone")
	}
	if Defaults().Fallback.Serves(OnUnknown) {
		t.Error("no fallback is served when none is configured")
	}
	backend := config.Backends["mail"]
	if !backend.Carries(TLVAuthority) {
		t.Error("a v2 header carries the authority by default")
	}
	backend.SendProxy = SendProxyV1
	if backend.Carries(TLVAuthority) {
		t.Error("a v1 header carries no fields")
	}
}

func TestDefaultSocket(t *testing.T) {
	folder := t.TempDir()
	t.Setenv("XDG_RUNTIME_DIR", folder)
	want := filepath.Join(folder, "hellogate", "control.sock")
	if os.Geteuid() == 0 {
		want = "/run/hellogate/control.sock"
	}
	if got := DefaultSocket(); got != want {
		t.Errorf("DefaultSocket() = %q, want %q", got, want)
	}
}

func TestLoadUnreadable(t *testing.T) {
	missing := filepath.Join(t.TempDir(), "none.yaml")
	_, err := Load(missing)
	if want := "read configuration: open " + missing + ": no such file or directory"; err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
	if _, err := Load(t.TempDir()); err == nil || strings.Contains(err.Error(), "\n") {
		t.Errorf("a folder: got %v, want one line", err)
	}
}
