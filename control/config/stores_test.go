package config

import (
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"hellogate/sni"
)

// withStores is least with other stores, the first at 3:10.
func withStores(stores string) string {
	return strings.Replace(least, "{dir: {path: /etc/certs}}", stores, 1)
}

func TestStores(t *testing.T) {
	config := mustParse(t, `
listeners: [{address: ":443"}]
stores:
  - dir: {path: /etc/certs}
    names: [Bücher.example, "*.a.example"]
    write_back: true
    allow: [10.1.2.3/8, "2001:db8::1", "::ffff:192.0.2.7/120", 10.0.0.5]
    breaker: {reset: 1m}
  - redis: {url: "rediss://reader@redis.example:6380/9"}
    breaker: {failures: 2}
    write_back: true
  - redis: {url: "unix:///run/redis.sock?db=9", layout: json, prefix: "certs/"}
    breaker:
  - http: {url: "https://certs.example/.well-known/peter_sslers", form: peter_sslers, autocert: true, autocert_timeout: 3m, username: hello, password_file: p}
breaker: {failures: 7, reset: 3s}
permission: {url: "https://certs.example/ask", breaker: {failures: 9}}
backends: {mail: {servers: [{address: "10.0.0.5:143"}]}}
`)
	if got, want := config.Permission.Breaker, (Breaker{9, 3 * time.Second}); got != want {
		t.Errorf("permission.breaker = %v, want %v", got, want)
	}
	if got := config.Stores[3].HTTP.AutocertTimeout; got != 3*time.Minute {
		t.Errorf("autocert_timeout = %v", got)
	}
	names := make([]string, 0, len(config.Stores))
	breakers := make([]Breaker, 0, len(config.Stores))
	for _, store := range config.Stores {
		names, breakers = append(names, store.Name), append(breakers, store.Breaker)
	}
	wantNames := []string{
		"/etc/certs", "rediss://redis.example:6380/9", "unix:///run/redis.sock?db=9",
		"https://certs.example/.well-known/peter_sslers",
	}
	if diff := cmp.Diff(wantNames, names); diff != "" {
		t.Errorf("names (-want +got):\n%s", diff)
	}
	wantBreakers := []Breaker{{7, time.Minute}, {2, 3 * time.Second}, {7, 3 * time.Second}, {7, 3 * time.Second}}
	if diff := cmp.Diff(wantBreakers, breakers); diff != "" {
		t.Errorf("breakers (-want +got):\n%s", diff)
	}
	first := config.Stores[0]
	if want := []sni.Pattern{pattern(t, "xn--bcher-kva.example"), pattern(t, "*.a.example")}; !slices.Equal(first.Names, want) {
		t.Errorf("names = %v, want %v", first.Names, want)
	}
	if want := prefixes("10.0.0.0/8", "2001:db8::1/128", "192.0.2.0/24", "10.0.0.5/32"); !slices.Equal(first.Allow, want) {
		t.Errorf("allow = %v, want %v", first.Allow, want)
	}
	if !first.WriteBack || config.Stores[2].WriteBack {
		t.Error("write_back is not what was written")
	}
	redis := config.Stores[2].Redis
	if redis.Layout != LayoutJSON || redis.Prefix != "certs/" || redis.Timeout != 2*time.Second || redis.Fetches != 64 {
		t.Errorf("redis = %+v", redis)
	}
	http := config.Stores[3].HTTP
	if http.Form != FormPeterSSLers || !http.Autocert || http.Username != "hello" || http.PasswordFile != "p" {
		t.Errorf("http = %+v", http)
	}
	if len(config.Warnings) > 0 {
		t.Errorf("warnings: %q", config.Warnings)
	}
}

func prefixes(texts ...string) []netip.Prefix {
	var all []netip.Prefix
	for _, text := range texts {
		all = append(all, netip.MustParsePrefix(text))
	}
	return all
}

func TestRedisServers(t *testing.T) {
	config := mustParse(t, withStores(
		`{redis: {url: "rediss://u@/9", addresses: ["s2.example:26379", "[2001:db8::1]:26379"], sentinel_master: certs}},
		 {redis: {addresses: ["localhost:7001"], cluster: true}},
		 {redis: {url: "rediss://s1.example:26379/9", sentinel_master: certs}}`))
	sentinels, cluster := config.Stores[0].Redis, config.Stores[1].Redis
	if sentinels.SentinelMaster != "certs" || len(sentinels.Addresses) != 2 || sentinels.Cluster {
		t.Errorf("%+v", sentinels)
	}
	if !cluster.Cluster || len(cluster.Addresses) != 1 {
		t.Errorf("%+v", cluster)
	}
	for i, want := range []string{"rediss://s2.example:26379,[2001:db8::1]:26379/9", "redis://localhost:7001/", "rediss://s1.example:26379/9"} {
		if got := config.Stores[i].Name; got != want {
			t.Errorf("name = %q, want %q", got, want)
		}
	}
}

// storeProblems are entries of stores, the first at 3:10, with what is wrong.
var storeProblems = []struct {
	name, stores string
	want         []string
}{
	{"of no kind", "{name: x}", []string{"3:10: stores[0]: want http, dir, redis or acme"}},
	{"second of no kind", "{dir: {path: a}}, {names: [a.example]}", []string{"3:28: stores[1]: want http, dir, redis or acme"}},
	{"of two kinds", "{http: {url: https://a.example}, dir: {path: b}}", []string{"3:10: stores[0]: one entry is one store, not http and dir"}},
	{"of three kinds", "{redis: {}, http: {}, dir: {}}", []string{"3:10: stores[0]: one entry is one store, not http and dir and redis"}},
	{"folder without path", "{dir: {}}", []string{"3:11: stores[0].dir.path: missing"}},
	{"the same name", "{name: a, dir: {path: b}}, {name: c, dir: {path: d}}, {name: a, dir: {path: e}}", []string{
		"3:71: stores[2].name: the same as that of stores[0]: write a name that tells them apart",
	}},
	{"the same path", "{dir: {path: b}}, {dir: {path: b}}", []string{
		"3:28: stores[1].name: the same as that of stores[0]: write a name that tells them apart",
	}},
	{"the same URL", "{http: {url: 'https://h?a=1', form: caddy}}, {http: {url: 'https://h?a=2', form: caddy}}", []string{
		"3:55: stores[1].name: the same as that of stores[0]: write a name that tells them apart",
	}},
	{"bad pattern", "{dir: {path: b}, names: [a..b]}", []string{`3:35: stores[0].names[0]: pattern "a..b": name "a..b": empty label`}},
	{"no failures", "{dir: {path: b}, breaker: {failures: 0}}", []string{"3:47: stores[0].breaker.failures: must be at least 1"}},
	{"no reset", "{dir: {path: b}, breaker: {reset: 0}}", []string{"3:44: stores[0].breaker.reset: must be at least 10ms"}},
	{"misspelt reset", "{dir: {path: b}, breaker: {rest: 1s}}", []string{"3:37: stores[0].breaker.rest: unknown key; did you mean reset?"}},
	{"write back to a server", "{http: {url: https://h}, write_back: true}, {dir: {path: b}}", []string{
		"3:47: stores[0].write_back: only dir and redis can be written to",
	}},
	{"write back nothing", "{dir: {path: a}}, {dir: {path: b}, write_back: true}", []string{
		"3:57: stores[1].write_back: no store comes after this one, so there is nothing to write back",
	}},
	{"no range", "{dir: {path: b}, allow: [10.0.0.0/33, 10.0.0, 'fe80::1%eth0', localhost]}", []string{
		`3:35: stores[0].allow[0]: "10.0.0.0/33" is not a range of addresses, as in 10.0.0.0/8, nor one address`,
		`3:48: stores[0].allow[1]: "10.0.0" is not a range of addresses, as in 10.0.0.0/8, nor one address`,
		`3:56: stores[0].allow[2]: "fe80::1%eth0" is not a range of addresses, as in 10.0.0.0/8, nor one address`,
		`3:72: stores[0].allow[3]: "localhost" is not a range of addresses, as in 10.0.0.0/8, nor one address`,
	}},
	{"ranges not in a list", "{dir: {path: b}, allow: 10.0.0.0/8}", []string{"3:34: stores[0].allow: want a list, got one value"}},

	{"autocert of another form", "{http: {url: https://h, autocert: true}}", []string{
		"3:44: stores[0].http.autocert: only form: peter_sslers has it",
	}},
	{"autocert of an unknown form", "{http: {url: https://h, form: peter, autocert: true}}", []string{
		`3:40: stores[0].http.form: "peter" is not one of path, caddy, peter_sslers`,
	}},
	{"query with peter_sslers", "{http: {url: 'https://h?a=1', form: peter_sslers}}", []string{
		"3:23: stores[0].http.url: a query has no place in it with form: peter_sslers, where the name is added at its end",
	}},
	{"user without password", "{http: {url: https://h, username: u}}", []string{
		"3:44: stores[0].http.username: a user without a password: stores[0].http.password_file is missing",
	}},
	{"password without user", "{http: {url: https://h, password_file: p}}", []string{
		"3:49: stores[0].http.password_file: a password without a user: stores[0].http.username is missing",
	}},
	{"user with a colon", "{http: {url: https://h, username: 'a:b', password_file: p}}", []string{
		"3:44: stores[0].http.username: a colon has no place in it: basic authentication ends the name there",
	}},
	{"user and token", "{http: {url: https://h, username: a, password_file: p, token_file: t}}", []string{
		"3:44: stores[0].http.username: a request has room for one of username and token_file",
	}},
	{"Redis under http", "{http: {url: redis://h}}", []string{
		"3:23: stores[0].http.url: a Redis server is a store of its own kind: redis, not http",
	}},

	{"Redis without URL", "{redis: {}}", []string{"3:11: stores[0].redis.url: missing"}},
	{"unknown layout", "{redis: {url: redis://localhost, layout: prime3, prefix: a}}", []string{
		`3:51: stores[0].redis.layout: "prime3" is not one of prime1, prime2, json; did you mean prime1?`,
	}},
	{"prefix of another layout", "{redis: {url: redis://localhost, prefix: a}}", []string{"3:51: stores[0].redis.prefix: only layout: json has one"}},
	{"no fetches, no time", "{redis: {url: redis://localhost, fetches: 0, timeout: 1ms}}", []string{
		"3:52: stores[0].redis.fetches: must be at least 1",
		"3:64: stores[0].redis.timeout: must be at least 10ms",
	}},
	{"Redis' certificate without key", "{redis: {url: rediss://h, cert_file: c}}", []string{
		"3:47: stores[0].redis.cert_file: a certificate without its key: stores[0].redis.key_file is missing",
	}},
	{"two users", "{redis: {url: 'rediss://u@h', username: v}}", []string{"3:50: stores[0].redis.username: stores[0].redis.url names a user too"}},
	{"addresses of what", "{redis: {url: rediss:, addresses: ['a:1']}}", []string{
		"3:33: stores[0].redis.addresses: they need one of sentinel_master and cluster: true, which says what is there",
	}},
	{"both of them", "{redis: {url: rediss://h, sentinel_master: m, cluster: true}}", []string{
		"3:65: stores[0].redis.cluster: one of cluster and sentinel_master: a Cluster has no Sentinels",
	}},
	{"addresses and a host", "{redis: {url: rediss://h/9, addresses: ['a:1'], cluster: true}}", []string{
		"3:24: stores[0].redis.url: a host has no place in it beside addresses, as in rediss:///9",
	}},
	{"roots for no TLS", "{redis: {url: redis://localhost, ca_file: a}}", []string{
		"3:24: stores[0].redis.url: no certificate is looked at over redis://: what is said of TLS needs rediss://",
	}},
	{"certificates for a socket", "{redis: {url: unix:///r.sock, insecure_skip_verify: true}}", []string{
		"3:24: stores[0].redis.url: no certificate is looked at over unix://: what is said of TLS needs rediss://",
	}},
	{"a Cluster's database", "{redis: {url: rediss://h/9, cluster: true}}", []string{
		"3:24: stores[0].redis.url: database 9: a Cluster has only database 0",
	}},
	{"a Cluster behind a socket", "{redis: {url: unix:///r.sock, cluster: true}}", []string{
		"3:24: stores[0].redis.url: a socket leads to one server: addresses, sentinel_master and cluster need redis:// or rediss://",
	}},
	{"bad addresses", "{redis: {url: 'rediss:///0', addresses: [a, ':1', 'b:1', 'b:1'], cluster: true}}", []string{
		`3:51: stores[0].redis.addresses[0]: "a" is not host:port, as in ":443", "127.0.0.1:9000" or "[::1]:443"`,
		`3:54: stores[0].redis.addresses[1]: ":1" has no host, as in 127.0.0.1:1`,
		`3:67: stores[0].redis.addresses[3]: "b:1" is in the list twice`,
	}},
	{"a Sentinel elsewhere", "{redis: {addresses: ['127.0.0.1:26379', '10.0.0.1:26379'], sentinel_master: m}}", []string{
		"3:11: stores[0].redis.url: private keys would cross the network unencrypted: use rediss://, or allow it with plaintext: true in the file",
	}},
}

func TestStoreProblems(t *testing.T) {
	for _, test := range storeProblems {
		t.Run(test.name, func(t *testing.T) { wantProblems(t, withStores(test.stores), test.want) })
	}
}

func TestRedisURLs(t *testing.T) {
	tests := []struct{ url, more, want string }{
		{"redis://127.0.0.1", "", ""},
		{"redis://127.0.0.1:6379/", "", ""},
		{"redis://127.0.0.1:6379/9", "", ""},
		{"redis://[::1]:6379/9", "", ""},
		{"redis://reader@localhost/0", "", ""},
		{"REDIS://localhost", "", ""},
		{"rediss://redis.example:6380/9", "", ""},
		{"redis://redis.example", ", plaintext: true", ""},
		{"unix:///run/redis.sock", "", ""},
		{"unix:///run/redis.sock?db=9", "", ""},
		{"redis://redis.example", "", "use rediss://, or allow it with plaintext: true"},
		{"redis://10.0.0.1:6379/9", "", "unencrypted"},
		{"redis://:hunter2@127.0.0.1", "", "a password has no place in it: it comes from password_file, or from HELLOGATE_REDIS_PASSWORD"},
		{"rediss://u:hunter2@redis.example/9", "", "a password has no place"},
		{"rediss://u:hun/ter2@redis.example/9", "", "not a URL"},
		{"unix://u:hunter2@/run/redis.sock", "", "a password has no place"},
		{"unix://u@/run/redis.sock", "", "a user has no place in it: the name goes to username"},
		{"unix:///run/redis.sock?db=x", "", "the database must be a number"},
		{"unix:///run/redis.sock?db=", "", "the database must be a number"},
		{"redis:///9", "", "not a URL"},
		{"redis:///9", ", addresses: ['localhost:1'], cluster: true", "database 9"},
		{"redis:9", ", addresses: ['localhost:1'], cluster: true", "not a URL"},
		{"unix:///run/redis.sock?db=1&db=2", "", "the database must be a number"},
		{"unix:///run/redis.sock?password=hunter2", "", "only a database has a place in its query"},
		{"unix://run/redis.sock", "", "whole path of the socket, as in unix:///run/redis.sock?db=9"},
		{"redis://127.0.0.1/nine", "", "the database must be a number, as in redis://127.0.0.1:6379/9"},
		{"redis://127.0.0.1/1/2", "", "the database must be a number"},
		{"redis://127.0.0.1/-1", "", "the database must be a number"},
		{"redis://127.0.0.1/99999999999", "", "the database must be a number"},
		{"redis://127.0.0.1?db=9", "", "a query has no place in it"},
		{"redis://127.0.0.1/#a", "", "a # has no place in it"},
		{"redis://127.0.0.1:0", "", "port must be a number from 1"},
		{"redis://127.0.0.1:x", "", "not a URL, as in redis://127.0.0.1:6379/9"},
		{"redis://:6379", "", "not a URL"},
		{"redis:127.0.0.1", "", "not a URL"},
		{"127.0.0.1:6379", "", "not a URL"},
		{"redis.example/9", "", "not a URL"},
		{"https://redis.example", "", "must begin with redis://, rediss:// or unix://"},
		{"", "", "missing"},
	}
	for _, test := range tests {
		t.Run(test.url+test.more, func(t *testing.T) {
			checkURL(t, withStores(`{redis: {url: "`+test.url+`"`+test.more+"}}"), test.want)
		})
	}
}

func TestPermissionURLs(t *testing.T) {
	tests := []struct{ url, more, want string }{
		{"https://ask.example/allowed", "", ""},
		{"https://ask.example/allowed?tenant=7", "", ""},
		{"http://localhost:9123/ask", "", ""},
		{"unix:///run/ask.sock", "", ""},
		{"http://ask.example", ", plaintext: true", ""},
		{"http://ask.example", "", "5:19: permission.url: whoever is on the way there could answer: use https://, or allow it with plaintext: true"},
		{"https://u:hunter2@ask.example", "", "5:19: permission.url: a user name or password has no place in it"},
		{"https://ask.example/#a", "", "5:19: permission.url: a # has no place in it"},
		{"unix://run/ask.sock", "", "whole path"},
		{"ask.example/allowed", "", "not a URL"},
		{"redis://ask.example", "", "must begin with https://, http:// or unix://"},
	}
	for _, test := range tests {
		t.Run(test.url+test.more, func(t *testing.T) {
			checkURL(t, least+`permission: {url: "`+test.url+`"`+test.more+"}\n", test.want)
		})
	}
}

// checkURL parses a file with one URL in it. want is a part of what is wrong
// with it, or empty.
func checkURL(t *testing.T, text, want string) {
	t.Helper()
	_, err := Parse("f", []byte(text))
	switch {
	case want == "" && err != nil:
		t.Errorf("refused:\n%v", err)
	case want == "" && err == nil:
	case err == nil || !strings.Contains(err.Error(), want):
		t.Errorf("got %v, want %q", err, want)
	case len(err.(Problems)) != 1:
		t.Errorf("got %v, want one problem", err)
	case strings.Contains(err.(Problems)[0].String(), "hunter2"):
		t.Errorf("a password is shown:\n%v", err)
	}
}
