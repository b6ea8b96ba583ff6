package control

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"strings"
	"testing"

	"hellogate/terminate"
	"hellogate/terminate/pool"
)

// twoServers are a backend with a server that is an address and one that is a path, which a URL must not take apart.
func twoServers() func() []Pool {
	return pools(
		pool.Status{Name: "empty"},
		pool.Status{Name: "mail", Servers: []pool.ServerStatus{
			{Address: "[::1]:143", Weight: 1, Connections: 3}, {Address: "unix:/run/mail.sock", Weight: 1},
		}},
	)
}

func TestServerChanges(t *testing.T) {
	t.Parallel()
	const mail = "/backends/mail/%5B::1%5D:143/"
	for _, c := range []struct {
		name, path, body string
		status           int
		want             string
	}{
		{"drain", mail + "drain", "", 200, `{"result":"success","backend":"mail","servers":[{"address":"[::1]:143","endpoint":"","state":"drain"`},
		{"enable", mail + "enable", "", 200, `"state":"up"`},
		{"disable", mail + "disable", "", 200, `"state":"disabled"`},
		{"disable says what it reset", mail + "disable", "", 200, `"killed":0}`},
		{"disable and kill", mail + "disable?kill=true", "", 200, `"killed":1}`},
		{"disable and perhaps kill", mail + "disable?kill=perhaps", "", 400, `kill is true or false`},
		{"drain and kill", mail + "drain?kill=true", "", 400, `unknown parameter \"kill\"`},
		{"weight", mail + "weight", `{"weight":7}`, 200, `"weight":7`},
		{"no weight", mail + "weight", `{"weight":0}`, 200, `"weight":0`},
		{"weight as configured", mail + "weight", `{"weight":-1}`, 200, `"weight":-1`},
		{"weight of nothing", mail + "weight", `{}`, 400, `weight: 0 to 256 expected`},
		{"weight that is too large", mail + "weight", `{"weight":257}`, 400, `weight: 0 to 256 expected`},
		{"weight that is negative", mail + "weight", `{"weight":-2}`, 400, `weight: 0 to 256 expected`},
		{"weight that is a word", mail + "weight", `{"weight":"7"}`, 400, `body: `},
		{"a path", "/backends/mail/unix:%2Frun%2Fmail.sock/drain", "", 200, `"address":"unix:/run/mail.sock","endpoint":"","state":"drain"`},
		{"no such backend", "/backends/other/1:1/drain", "", 404, `no backend \"other\", but empty, mail`},
		{"no such server", "/backends/mail/10.0.0.5:143/drain", "", 404, `backend mail: no server \"10.0.0.5:143\", but [::1]:143, unix:/run/mail.sock`},
		{"no server at all", "/backends/empty/1:1/drain", "", 404, `backend empty: no server \"1:1\", but none at all`},
		{"no such change", mail + "explode", "", 404, `no such path`},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := serve(t, func(o *Options) {
				o.Backends = twoServers()
				o.Traffic = fakeTraffic{kill: func(terminate.ConnectionInfo) {}, connections: []terminate.ConnectionInfo{
					{ID: "1", Backend: "mail", Server: "[::1]:143"},
					{ID: "2", Backend: "mail", Server: "unix:/run/mail.sock"},
					{ID: "3", Backend: "other", Server: "[::1]:143"},
				}}
			})
			status, text, _ := r.ask(t, "POST", c.path, c.body)
			if status != c.status || !strings.Contains(text, c.want) {
				t.Errorf("got %d %s, want %d %s", status, text, c.status, c.want)
			}
			if status, _, header := r.ask(t, "GET", strings.TrimSuffix(c.path, "?kill=true"), ""); c.status == 200 && (status != 405 || header.Get("Allow") != "POST") {
				t.Errorf("GET: %d, Allow %q", status, header.Get("Allow"))
			}
		})
	}
}

// A server that left while it was asked about is none.
func TestServerThatLeaves(t *testing.T) {
	gone := fakeLeaving{fakePool{&pool.Status{Name: "mail", Servers: []pool.ServerStatus{{Address: "a:1"}}}}}
	r := serve(t, func(o *Options) { o.Backends = func() []Pool { return []Pool{gone} } })
	_, err := r.client.Drain(t.Context(), "mail", "a:1")
	if refused, ok := errors.AsType[*Refused](err); !ok || refused.Code != 404 {
		t.Errorf("got %v", err)
	}
}

// fakeLeaving has connections to a server that is not configured any more.
type fakeLeaving struct{ fakePool }

func (fakeLeaving) SetAdmin(string, pool.Admin) error {
	return fmt.Errorf("backend mail: %w", pool.ErrUnknownServer)
}

func TestClientChangesServers(t *testing.T) {
	r := serve(t, func(o *Options) {
		o.Backends = twoServers()
		o.Traffic = fakeTraffic{kill: func(terminate.ConnectionInfo) {}, connections: []terminate.ConnectionInfo{{Backend: "mail", Server: "[::1]:143"}}}
	})
	for _, c := range []struct {
		name          string
		change        func(server string) (ServerChange, error)
		state         string
		weight, reset int
	}{
		{"drain", func(s string) (ServerChange, error) { return r.client.Drain(t.Context(), "mail", s) }, "drain", 1, 0},
		{"disable", func(s string) (ServerChange, error) { return r.client.Disable(t.Context(), "mail", s, false) }, "disabled", 1, 0},
		{"kill", func(s string) (ServerChange, error) { return r.client.Disable(t.Context(), "mail", s, true) }, "disabled", 1, 1},
		{"enable", func(s string) (ServerChange, error) { return r.client.Enable(t.Context(), "mail", s) }, "up", 1, 0},
		{"weight", func(s string) (ServerChange, error) { return r.client.SetWeight(t.Context(), "mail", s, 0) }, "up", 0, 0},
	} {
		changed, err := c.change("[::1]:143")
		if err != nil || len(changed.Servers) != 1 || changed.Servers[0].State != c.state || changed.Servers[0].Weight != c.weight || changed.Killed != c.reset {
			t.Errorf("%s: %+v, %v", c.name, changed, err)
		}
		if _, err := c.change("unix:/run/mail.sock"); err != nil {
			t.Errorf("%s of a path: %v", c.name, err)
		}
	}
}

func TestServerChangesAreLogged(t *testing.T) {
	r := serve(t, func(o *Options) { o.Backends = twoServers() })
	r.ask(t, "POST", "/backends/mail/%5B::1%5D:143/weight", `{"weight":7}`)
	r.ask(t, "POST", "/backends/mail/%5B::1%5D:143/drain", "")
	r.ask(t, "POST", "/backends/mail/nobody/drain", "")
	want := []string{
		`"backend":"mail","server":"[::1]:143","state":"up","weight":7,"message":"control: weight"`,
		`"backend":"mail","server":"[::1]:143","state":"drain","weight":7,"message":"control: drain"`,
	}
	for _, line := range want {
		if !strings.Contains(r.log.String(), line) {
			t.Errorf("no %s in %s", line, r.log)
		}
	}
	if strings.Contains(r.log.String(), "nobody") {
		t.Errorf("what was refused is in the log as done: %s", r.log)
	}
	if _, ok := credentials(connect(t, r.path)); ok && strings.Count(r.log.String(), fmt.Sprintf(`"uid":%d,`, os.Getuid())) != 2 {
		t.Errorf("nobody is said to have asked: %s", r.log)
	}
}

// While an upgrade is under way nothing is changed that the new process would not know of.
func TestNothingChangesDuringAnUpgrade(t *testing.T) {
	r := serve(t, func(o *Options) {
		o.Backends = twoServers()
		o.Reload = func() (ReloadResult, error) { return ReloadResult{Result: "success"}, nil }
		o.Change = func() (func(), error) { return nil, errors.New("an upgrade is under way") }
		o.Traffic = fakeTraffic{}
	}, "a.example")
	for _, c := range []struct {
		method, path, body string
		status             int
	}{
		{"POST", "/backends/mail/%5B::1%5D:143/drain", "", 503},
		{"POST", "/flush/a.example", "", 503},
		{"POST", "/flush", `{"all":true}`, 503},
		{"POST", "/flush/all", "", 503},
		{"PUT", "/certs/a.example?ephemeral=true", pairJSON, 503},
		{"DELETE", "/certs/a.example", "", 503},
		{"POST", "/reload", "", 503},
		{"GET", "/certs/a.example", "", 200},
		{"POST", "/connections/kill", `{"all":true}`, 200},
		{"POST", "/shutdown", "", 200},
	} {
		status, text, _ := r.ask(t, c.method, c.path, c.body)
		if status != c.status || strings.Contains(text, "an upgrade is under way") != (c.status == 503) {
			t.Errorf("%s %s: %d %s", c.method, c.path, status, text)
		}
	}
}

// client is the address of a connection in a test.
func client(text string) netip.AddrPort { return netip.MustParseAddrPort(text) }
