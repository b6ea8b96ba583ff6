package pool

import (
	"strings"
	"testing"
)

func TestAddresses(t *testing.T) {
	for text, want := range map[string]string{
		"127.0.0.1:80":                   "tcp 127.0.0.1:80",
		"[::1]:80":                       "tcp [::1]:80",
		"[::ffff:10.0.0.1]:80":           "tcp 10.0.0.1:80",
		"[fe80::1%eth0]:80":              "tcp [fe80::1%eth0]:80",
		"unix:/run/app.sock":             "unix /run/app.sock",
		"unix:@app":                      "unix @app",
		"db.internal:5432":               "name db.internal 5432",
		"my_service:80":                  "name my_service 80",
		"a.example.:80":                  "name a.example. 80",
		"srv://_imap._tcp.example.com":   "srv _imap._tcp.example.com",
		"srv://web.service.consul":       "srv web.service.consul",
		"":                               "error",
		"127.0.0.1":                      "error",
		"127.0.0.1:0":                    "error",
		"127.0.0.1:65536":                "error",
		"127.0.0.1:http":                 "error",
		":80":                            "error",
		"10.0.0.256:80":                  "error",
		"a..b:80":                        "error",
		"a b:80":                         "error",
		"bücher.example:80":              "error",
		strings.Repeat("a", 64) + ":80":  "error",
		strings.Repeat("a.", 130) + ":1": "error",
		"unix:":                          "error",
		"unix:@":                         "error",
		"unix:run/app.sock":              "error",
		"unix:/a\x00b":                   "error",
		"unix:/" + strings.Repeat("a", maxSocketPath): "error",
		"srv://":                   "error",
		"srv://_a._tcp.example:53": "error",
	} {
		expect(t, text, describe(ParseAddress(text)), want)
	}
}

func describe(a Address, err error) string {
	switch {
	case err != nil:
		return "error"
	case a.srv:
		return "srv " + a.host
	case a.isName():
		_, port, _ := strings.Cut(a.text, ":")
		return "name " + a.host + " " + port
	}
	place := a.endpoint()
	return place.network + " " + place.address
}

func FuzzParseAddress(f *testing.F) {
	for _, text := range []string{"127.0.0.1:80", "[::1]:80", "unix:@a", "srv://_a._tcp.b", "a:1"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		a, err := ParseAddress(text)
		if err != nil {
			return
		}
		expect(t, "text", a.String(), text)
		if !a.isName() && a.endpoint().address == "" {
			t.Errorf("%q stands for nothing", text)
		}
	})
}

func TestOptionsAreChecked(t *testing.T) {
	good := func() Options { return Options{Name: "mail", Servers: servers(1, 1)} }
	expectError(t, good().Check(), nil)
	for name, test := range map[string]struct {
		change func(*Options)
		want   string
	}{
		"no servers":          {func(o *Options) { o.Servers = nil }, "has no servers"},
		"twice the same":      {func(o *Options) { o.Servers[1].Address = o.Servers[0].Address }, "there twice"},
		"weight too large":    {func(o *Options) { o.Servers[0].Weight = 257 }, "weight 257"},
		"weight below zero":   {func(o *Options) { o.Servers[0].Weight = -1 }, "weight -1"},
		"places below zero":   {func(o *Options) { o.Servers[0].MaxConnections = -1 }, "max_connections -1"},
		"malformed address":   {func(o *Options) { o.Servers[0].Address = "x" }, "not host:port"},
		"unknown balance":     {func(o *Options) { o.Balance = 5 }, "balance 5"},
		"panic past 100":      {func(o *Options) { o.PanicThreshold = 101 }, "panic threshold"},
		"ejected past 100":    {func(o *Options) { o.Ejection.MaxEjected = 101 }, "101 percent"},
		"interval below zero": {func(o *Options) { o.ResolveInterval = -1 }, "below zero"},
	} {
		options := good()
		test.change(&options)
		if err := options.Check(); err == nil || !strings.Contains(err.Error(), test.want) || !strings.Contains(err.Error(), "backend mail") {
			t.Errorf("%s: got %v", name, err)
		}
		if _, err := New(options); err == nil {
			t.Errorf("%s: New took it", name)
		}
	}
}

func TestBalanceNames(t *testing.T) {
	for b := range Balance(len(balances)) {
		parsed, err := ParseBalance(b.String())
		expect(t, b.String(), parsed, b)
		expectError(t, err, nil)
	}
	if _, err := ParseBalance("random"); err == nil {
		t.Error("an unknown balance was taken")
	}
}
