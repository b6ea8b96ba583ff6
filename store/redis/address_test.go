package redis

import (
	"strings"
	"testing"

	"github.com/redis/rueidis"
)

func TestParsePlace(t *testing.T) {
	tests := []struct {
		name    string
		options Options
		shown   string
		at      string // the addresses
		refused string
	}{
		{"host", Options{URL: "redis://127.0.0.1:6380/9"}, "redis://127.0.0.1:6380/9", "127.0.0.1:6380", ""},
		{"no port", Options{URL: "redis://localhost"}, "redis://localhost", "localhost:6379", ""},
		{"IPv6", Options{URL: "redis://[::1]/1"}, "redis://[::1]/1", "[::1]:6379", ""},
		{"TLS", Options{URL: "rediss://cache.example"}, "rediss://cache.example", "cache.example:6379", ""},
		{"user", Options{URL: "redis://gate@localhost/1"}, "redis://localhost/1", "localhost:6379", ""},
		{"socket", Options{URL: "unix:///run/redis.sock?db=3"}, "unix:///run/redis.sock?db=3", "/run/redis.sock", ""},
		{"plaintext", Options{URL: "redis://cache.example", Plaintext: true}, "redis://cache.example", "cache.example:6379", ""},
		{"sentinels", Options{URL: "rediss:///2", Addresses: []string{"a", "b:1"}, SentinelMaster: "m"}, "rediss://a:26379,b:1/2", "a:26379 b:1", ""},
		{"cluster", Options{Addresses: []string{"127.0.0.1", "::1"}, Cluster: true}, "redis://127.0.0.1:6379,[::1]:6379", "127.0.0.1:6379 [::1]:6379", ""},

		{"nothing", Options{}, "", "", "scheme"},
		{"password", Options{URL: "redis://:hunter2@localhost"}, "", "", "password_file"},
		{"user and password", Options{URL: "rediss://gate:hunter2@localhost"}, "", "", "password_file"},
		{"malformed with a password", Options{URL: "redis://gate:hunter2@local host"}, "", "", "malformed"},
		{"scheme", Options{URL: "http://localhost"}, "", "", "scheme"},
		{"no host", Options{URL: "redis:///9"}, "", "", "no host"},
		{"opaque", Options{URL: "redis:localhost"}, "", "", "malformed"},
		{"fragment", Options{URL: "redis://localhost#1"}, "", "", "malformed"},
		{"query", Options{URL: "redis://localhost?db=9"}, "", "", "query"},
		{"database", Options{URL: "redis://localhost/nine"}, "", "", "number expected"},
		{"negative database", Options{URL: "redis://localhost/-1"}, "", "", "number expected"},
		{"socket without a path", Options{URL: "unix://run/redis.sock"}, "", "", "three slashes"},
		{"socket with another query", Options{URL: "unix:///run/redis.sock?x=1"}, "", "", "db alone"},
		{"socket in a cluster", Options{URL: "unix:///run/redis.sock", Cluster: true}, "", "", "socket"},
		{"plain text", Options{URL: "redis://cache.example"}, "", "", "plain text"},
		{"plain text to a sentinel", Options{Addresses: []string{"127.0.0.1", "10.0.0.1"}, SentinelMaster: "m"}, "", "", "plain text"},
		{"host and addresses", Options{URL: "redis://localhost", Addresses: []string{"localhost"}, Cluster: true}, "", "", "both"},
		{"addresses of what", Options{Addresses: []string{"localhost", "127.0.0.1"}}, "", "", "neither"},
		{"sentinel and cluster", Options{Addresses: []string{"localhost"}, Cluster: true, SentinelMaster: "m"}, "", "", "both"},
		{"cluster with a database", Options{URL: "redis://localhost/1", Cluster: true}, "", "", "database 0"},
		{"bad port", Options{URL: "redis://localhost:0"}, "", "", "host:port"},
		{"bad address", Options{Addresses: []string{"a:b:c"}, Cluster: true}, "", "", "host:port"},
		{"TLS settings without TLS", Options{URL: "redis://localhost", CAFile: "x"}, "", "", "without rediss"},
		{"two users", Options{URL: "redis://a@localhost", Username: "b"}, "", "", "another"},
		{"two passwords", Options{URL: "redis://localhost", Password: "hunter2", PasswordFile: "x"}, "", "", "both"},
		{"no such password file", Options{URL: "redis://localhost", PasswordFile: "/nonexistent"}, "", "", "no such file"},
		{"layout", Options{URL: "redis://localhost", Layout: "prime3"}, "", "", "layout"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if test.options.Layout == "" {
				test.options.Layout = JSON
			}
			r, err := New(test.options)
			if test.refused != "" {
				if err == nil || !strings.Contains(err.Error(), test.refused) || strings.Contains(err.Error(), "hunter2") {
					t.Fatalf("error %v, want one with %q", err, test.refused)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			defer r.Close()
			if at := strings.Join(r.servers.place.addresses, " "); r.Name() != test.shown || at != test.at {
				t.Errorf("%s at %s, want %s at %s", r.Name(), at, test.shown, test.at)
			}
		})
	}
}

func TestSlot(t *testing.T) {
	tests := []struct {
		key  string
		want uint16
	}{
		{"123456789", 0x31c3}, {"", 0}, {"foo", 12182}, {"{foo}bar", 12182}, {"x{foo}{bar}", 12182}, {"foo{}{bar}", slot("foo{}{bar}")},
	}
	for _, test := range tests {
		if got := slot(test.key); got != test.want {
			t.Errorf("%q: %d, want %d", test.key, got, test.want)
		}
	}
	if slot("foo{}{bar}") == slot("bar") {
		t.Error("empty braces are no tag")
	}
}

func FuzzChanged(f *testing.F) {
	for _, seed := range []string{"d1:a.example", "d2:a.example", "c:1", "p:1", "i:\n", "hellogate:*.a.example", "hellogate:a", "d2:", "", "x"} {
		f.Add(seed)
	}
	layouts := map[string]layout{}
	for _, name := range []string{Prime1, Prime2, JSON} {
		layout, err := newLayout(Options{Layout: name})
		if err != nil {
			f.Fatal(err)
		}
		layouts[name] = layout
	}
	f.Fuzz(func(t *testing.T, key string) {
		for name, layout := range layouts {
			whose, isID := layout.changed(key)
			if text := whose.String(); text != "" && (isID || !strings.HasSuffix(key, text) || text == "*" || text[0] == '.') {
				t.Errorf("%s: %q is said to be of %q, an id %v", name, key, text, isID)
			}
			if isID && (name != Prime1 || len(key) > maxID+2 || strings.ContainsAny(key, "\r\n\x00 ")) {
				t.Errorf("%s: %q is said to be an id's", name, key)
			}
		}
	})
}

func TestPendingIsBounded(t *testing.T) {
	p := newPending()
	p.add([]rueidis.RedisMessage{})
	if keys, all := p.take(); len(keys) != 0 || all {
		t.Errorf("nothing became %v, all %v", keys, all)
	}
	p.add(nil)
	if keys, all := p.take(); len(keys) != 0 || !all {
		t.Errorf("all became %v, all %v", keys, all)
	}
	if _, all := p.take(); all {
		t.Error("all twice")
	}
}

func TestIDsAreBounded(t *testing.T) {
	i := newIDs()
	for n := range maxIDs + 100 {
		i.note(string(rune(n+1))+"x", "v", "a.example")
	}
	if len(i.known) > maxIDs {
		t.Errorf("%d ids", len(i.known))
	}
	for n := range 2 * maxNames {
		i.note("c:1", "v", string(rune('a'+n))+".example")
	}
	if names := i.names("c:1"); len(names) != maxNames {
		t.Errorf("%d names", len(names))
	}
}
