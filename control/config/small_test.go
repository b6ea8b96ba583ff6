package config

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestFromSmall(t *testing.T) {
	config, notes, err := FromSmall(Small{
		Listen:    []string{":443", ":8443"},
		Backends:  []string{"127.0.0.1:9000", "127.0.0.1:9001"},
		Store:     "https://127.0.0.1:8888/certs",
		SendProxy: "v1",
		TokenFile: "/etc/token",
		CAFile:    "/etc/ca.pem",
		Control:   "/tmp/control.sock",
		LogLevel:  "debug",
		LogFormat: "text",
	})
	if err != nil || len(notes) > 0 {
		t.Fatalf("notes %q, error %v", notes, err)
	}
	same := mustParse(t, `
listeners: [{address: ":443"}, {address: ":8443"}]
stores: [{http: {url: "https://127.0.0.1:8888/certs", token_file: /etc/token, ca_file: /etc/ca.pem}}]
backends: {default: {send_proxy: v1, servers: [{address: "127.0.0.1:9000"}, {address: "127.0.0.1:9001"}]}}
control: {socket: /tmp/control.sock}
log: {level: debug, format: text}
`)
	if diff := cmp.Diff(same, config, ignoreOrigin); diff != "" {
		t.Errorf("the same from a file differs (-file +flags):\n%s", diff)
	}
}

func TestSmallRedis(t *testing.T) {
	config, _, err := FromSmall(Small{
		Listen: []string{":443"}, Backends: []string{"127.0.0.1:9000"}, SendProxy: "v2",
		Store: "rediss://reader@redis.example/9", CAFile: "/etc/ca.pem", Control: "/tmp/control.sock",
	})
	if err != nil {
		t.Fatal(err)
	}
	same := mustParse(t, `
listeners: [{address: ":443"}]
stores: [{redis: {url: "rediss://reader@redis.example/9", ca_file: /etc/ca.pem}}]
backends: {default: {servers: [{address: "127.0.0.1:9000"}]}}
control: {socket: /tmp/control.sock}
`)
	if diff := cmp.Diff(same, config, ignoreOrigin); diff != "" {
		t.Errorf("the same from a file differs (-file +flags):\n%s", diff)
	}
	if want := same.Breaker; config.Stores[0].Breaker != want {
		t.Errorf("breaker = %v, want %v", config.Stores[0].Breaker, want)
	}
}

func TestBareBackendIsSaid(t *testing.T) {
	config, notes, err := FromSmall(Small{Listen: []string{":0"}, Backends: []string{"127.0.0.1:9000"}, Store: "/etc/certs"})
	if err != nil {
		t.Fatal(err)
	}
	if len(notes) != 1 || !strings.Contains(notes[0], "v2") {
		t.Errorf("notes = %q", notes)
	}
	if got := config.Backends["default"].SendProxy; got != SendProxyV2 {
		t.Errorf("send_proxy = %q", got)
	}
	if config.Stores[0].Dir == nil || config.Stores[0].Name != "/etc/certs" {
		t.Errorf("store = %+v", config.Stores[0])
	}
}

func TestSmallProblemsNameFlags(t *testing.T) {
	good := func() Small {
		return Small{Listen: []string{":443"}, Backends: []string{"127.0.0.1:9000"}, Store: "https://127.0.0.1:8888"}
	}
	tests := []struct {
		name   string
		change func(*Small)
		want   string
	}{
		{"nothing", func(s *Small) { *s = Small{} }, "--listen: at least one is needed\n" +
			"--store: one is needed: it says where certificates come from\n" +
			"--backend: one is needed: it says where connections go"},
		{
			"address", func(s *Small) { s.Listen = append(s.Listen, "443") },
			`--listen: "443" is not host:port, as in ":443", "127.0.0.1:9000" or "[::1]:443"`,
		},
		{"backend", func(s *Small) { s.Backends[0] = "localhost:imap" }, `--backend: "localhost:imap": the port must be a number up to 65535`},
		{"backend twice", func(s *Small) { s.Backends = append(s.Backends, s.Backends...) }, `--backend: "127.0.0.1:9000" is in this backend twice`},
		{
			"password", func(s *Small) { s.Store = "rediss://:hunter2@h/9" },
			"--store: a password has no place in it: it comes from password_file, or from HELLOGATE_REDIS_PASSWORD in the environment",
		},
		{
			"unencrypted redis", func(s *Small) { s.Store = "redis://h/9" },
			"--store: private keys would cross the network unencrypted: use rediss://, or allow it with plaintext: true in the file",
		},
		{
			"roots of redis without TLS", func(s *Small) { s.Store, s.CAFile = "redis://localhost/9", "ca" },
			"--store: no certificate is looked at over redis://: what is said of TLS needs rediss://",
		},
		{
			"token of redis", func(s *Small) { s.Store, s.TokenFile = "rediss://h/9", "t" },
			"--token-file: a token is for an HTTP store; Redis has a password: HELLOGATE_REDIS_PASSWORD in the environment",
		},
		{"other scheme", func(s *Small) { s.Store = "ftp://h" }, "--store: must begin with https://, http://, unix://, redis:// or rediss://"},
		{
			"plaintext", func(s *Small) { s.Store = "http://h" },
			"--store: private keys would cross the network unencrypted: use https://, or allow it with plaintext: true in the file",
		},
		{"send_proxy", func(s *Small) { s.SendProxy = "v3" }, `--send-proxy: "v3" is not one of off, v1, v2`},
		{"level", func(s *Small) { s.LogLevel = "inof" }, `--log-level: "inof" is not one of trace, debug, info, warn, error; did you mean info?`},
		{"format", func(s *Small) { s.LogFormat = "xml" }, `--log-format: "xml" is not one of json, text`},
		{"key alone", func(s *Small) { s.FallbackKey = "k" }, "--fallback-key: a key without its certificate: --fallback-cert is missing"},
		{"certificate alone", func(s *Small) { s.FallbackCert = "c" }, "--fallback-cert: a certificate without its key: --fallback-key is missing"},
		{"token of a folder", func(s *Small) { s.Store, s.TokenFile = "/etc/certs", "t" }, "--token-file: a folder needs no token"},
		{"roots of a folder", func(s *Small) { s.Store, s.CAFile = "/etc/certs", "t" }, "--ca-file: a folder is not asked over TLS"},
		{"socket", func(s *Small) { s.Control = strings.Repeat("x", 200) }, "--control: 200 bytes long: a socket's path has at most 103"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			small := good()
			test.change(&small)
			config, _, err := FromSmall(small)
			if config != nil || err == nil {
				t.Fatal("accepted")
			}
			if diff := cmp.Diff(test.want, err.Error()); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}
