package config

import (
	"fmt"
	"strings"
	"testing"
)

// A unit that was mistyped must not become a storm of attempts.
func TestShortestDurations(t *testing.T) {
	httpStore := strings.Replace(least, "dir: {path: /etc/certs}", "http: {url: https://a.example, timeout: %s}", 1)
	tests := []struct{ text, least, below string }{
		{least + "cache: {ttl: %s, min_ttl: 1s}", "1s", "999ms"},
		{least + "cache: {min_ttl: %s}", "1s", "1us"},
		{least + "cache: {negative_ttl: %s}", "1s", "1ns"},
		{least + "cache: {withdraw_after: %s}", "1s", "1ns"},
		{least + "cache: {renew_before: %s}", "1s", "1ns"},
		{least + "cache: {lookup_timeout: %s}", "10ms", "9ms"},
		{least + "breaker: {reset: %s}", "10ms", "1ns"},
		{least + "cache: {route_ttl: %s}", "1s", "999ms"},
		{least + "permission: {timeout: %s}", "10ms", "1ns"},
		{least + "hooks: {timeout: %s}", "10ms", "1ns"},
		{least + "permission: {breaker: {reset: %s}}", "10ms", "1ns"},
		{withStores("{http: {url: https://a.example, form: peter_sslers, autocert: true, autocert_timeout: %s}}"), "10ms", "1ns"},
		{withStores("{redis: {url: redis://localhost, timeout: %s}}"), "10ms", "1ns"},
		{withStores("{dir: {path: a}, breaker: {reset: %s}}"), "10ms", "1ns"},
		{least + "limits: {hello_timeout: %s}", "10ms", "1ns"},
		{least + "limits: {handshake_timeout: %s}", "10ms", "0"},
		{least + "limits: {idle_timeout: %s}", "1s", "500ms"},
		{least + "limits: {half_close_timeout: %s}", "10ms", "1ms"},
		{httpStore, "10ms", "1ns"},
		{least + "limits: {alert_timeout: %s}", "10ms", "1ns"},
		{least + "limits: {life_timeout: %s}", "1s", "1ms"},
		{least + "limits: {tcp_keepalive: %s}", "1s", "1ms"},
		{least + "limits: {tcp_user_timeout: %s}", "1s", "1ms"},
		{strings.Replace(least, `":443"`, `":443", accept_proxy: {from: [10.0.0.1], timeout: %s}`, 1), "10ms", "0"},
		{least + "session_tickets: {rotate: %s}", "1m0s", "59s"},
		{least + "routes: [{backend: mail, session_tickets: {rotate: %s}}]", "1m0s", "59s"},
		{least + "routes: [{backend: mail, limits: {handshake_timeout: %s}}]", "10ms", "0"},
		{least + "routes: [{backend: mail, limits: {idle_timeout: %s}}]", "1s", "1ms"},
		{least + "routes: [{backend: mail, limits: {half_close_timeout: %s}}]", "10ms", "1ns"},
		{least + "routes: [{backend: mail, limits: {life_timeout: %s}}]", "1s", "1ms"},
		{withBackend("queue: {timeout: %s}"), "10ms", "0"},
		{withBackend("dial_timeout: %s"), "10ms", "0"},
		{withBackend("slow_start: %s"), "1s", "1ms"},
		{withBackend("resolve_interval: %s"), "1s", "1ms"},
		{withBackend("health: {interval: %s}"), "10ms", "0"},
		{withBackend("health: {timeout: %s}"), "10ms", "0"},
		{withBackend("ejection: {time: %s}"), "1s", "0"},
		{strings.Replace(least, "143\"}]", "143\"}], connect_timeout: %s", 1), "10ms", "1us"},
	}
	for _, test := range tests {
		mustParse(t, fmt.Sprintf(test.text, test.least))
		_, err := Parse("f", []byte(fmt.Sprintf(test.text, test.below)))
		if want := ": must be at least " + test.least + "\n"; err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %q", fmt.Sprintf(test.text, test.below), err, want)
		}
	}
	mustParse(t, least+"cache: {ttl: 0s, renew_before: auto}")
	mustParse(t, least+"limits: {life_timeout: 0, tcp_keepalive: 0, tcp_user_timeout: 0}")
	mustParse(t, withBackend("slow_start: 0, resolve_interval: auto"))
}

func numbered(format string, count int) string {
	var text strings.Builder
	for i := range count {
		fmt.Fprintf(&text, format, i)
	}
	return text.String()
}

// A file may be generated, and wrong in every line: the first problems are told,
// and how many more there are.
func TestProblemsWithoutEnd(t *testing.T) {
	backends := "backends:\n" + numbered("  k%d: {servers: [{address: \"10.0.0.5:143\"}]}\n", 5_000)
	tests := []struct{ name, text, want string }{
		{"repeated key on one line", least + "log: {" + strings.Repeat("level: info, ", 15_000) + "}\n", "and 950 more problems"},
		{"unknown keys on one line", least + "log: {" + numbered("k%d: 1, ", 20_000) + "}\n", "and 950 more problems"},
		{"many unknown backends", backends + "routes:\n" + strings.Repeat("- backend: mial\n", 5_000), "and 950 more problems"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			_, err := Parse("f", []byte(test.text))
			if err == nil || !strings.HasSuffix(err.Error(), test.want) && !strings.Contains(err.Error(), test.want+"\n") {
				t.Errorf("got %v, want %q", err, test.want)
			}
		})
	}
}

// A file may be large.
func TestLargeFilesAreRead(t *testing.T) {
	const count = 15_000
	block := least + "routes:\n" + numbered("- match: {names: [n%d.example]}\n  backend: mail\n", count)
	lines := least + "routes: [\n" + numbered("{\nmatch: {names: [n%d.example]},\nbackend: mail\n},\n", count) + "]\n"
	for _, text := range []string{block, lines} {
		if got := len(mustParse(t, text).Routes); got != count {
			t.Errorf("%d routes, want %d", got, count)
		}
	}
	const fewer = 2_000
	names := least + "prefetch:\n" + numbered("- n%d.example\n", fewer)
	if got := len(mustParse(t, names).Prefetch); got != fewer {
		t.Errorf("%d names, want %d", got, fewer)
	}
	stores := withStores(numbered("{dir: {path: s%d}, write_back: true},\n", fewer) + "{dir: {path: /last}}")
	if got := len(mustParse(t, stores).Stores); got != fewer+1 {
		t.Errorf("%d stores, want %d", got, fewer+1)
	}
}
