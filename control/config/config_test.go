package config

import (
	"crypto/tls"
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
var ignoreOrigin = cmp.Options{cmpopts.IgnoreUnexported(Config{}), cmp.Comparer(func(a, b sni.Pattern) bool { return a == b })}

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
	store := new(HTTPStore)
	store.setDefaults()
	store.URL = "https://127.0.0.1:8888/certs"
	var backend Backend
	backend.setDefaults()
	backend.Servers = []Server{{Address: "10.0.0.5:143"}}
	want.Listeners = []Listener{{Address: ":443"}}
	want.Stores = []Store{{Name: store.URL, HTTP: store}}
	want.Backends = map[string]Backend{"mail": backend}
	want.Routes = []Route{{
		Match:      Match{Names: []sni.Pattern{pattern(t, "*")}, ALPN: []string{}},
		Action:     Terminate,
		Backend:    "mail",
		TLS:        want.TLS,
		Truncation: TruncationFIN,
	}}
	want.Control.Socket = "/run/hellogate/control.sock"
	if diff := cmp.Diff(want, got, ignoreOrigin); diff != "" {
		t.Errorf("testdata/full.yaml and the defaults differ (-defaults +file):\n%s", diff)
	}
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
	// A store is one or the other.
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

func TestLaterKeysAreNotKnown(t *testing.T) {
	known := schemaKeys(reflect.TypeFor[Config](), "")
	for key := range laterKeys {
		if slices.Contains(known, key) {
			t.Errorf("%s is read and said to be not supported", key)
		}
		if above := parent(key); above != "" && !slices.Contains(known, strings.TrimSuffix(above, "[]")) && above != "backends.*" {
			t.Errorf("%s is in no section that is read", key)
		}
	}
	for key := range laterValues {
		if !slices.Contains(known, key) {
			t.Errorf("%s is not read", key)
		}
	}
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
			[]Route{{Action: Terminate, Backend: "mail", TLS: TLS{MinVersion: tls.VersionTLS12, ALPN: []string{}}, Truncation: TruncationFIN}},
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
		if diff := cmp.Diff(want[i], route.TLS); diff != "" {
			t.Errorf("routes[%d]: %s", i, diff)
		}
	}
}

func TestWarnings(t *testing.T) {
	config := mustParse(t, `
listeners: [{address: ":443"}]
stores:
  - http: {url: "http://localhost/certs", insecure_skip_verify: true, timeout: 10s}
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
	if len(config.Warnings) != 9 || !strings.HasPrefix(config.Warnings[0], "test.yaml:") {
		t.Errorf("warnings: %q", config.Warnings)
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
