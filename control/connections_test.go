package control

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"hellogate/terminate"
)

// someConnections are three that flow, one of which came over IPv6, and one that has only begun.
func someConnections() []terminate.ConnectionInfo {
	info := func(n int, from, name, route, backend, server string) terminate.ConnectionInfo {
		return terminate.ConnectionInfo{
			ID: fmt.Sprintf("%024x", n), Client: client(from), Listener: ":443", Name: name, Route: route, Backend: backend, Server: server,
			Stage: "splice", Age: time.Duration(100-n) * time.Second, BytesIn: 10, BytesOut: 20,
		}
	}
	return []terminate.ConnectionInfo{
		info(1, "192.0.2.7:50001", "a.mail.example", "*.mail.example", "mail", "10.0.0.5:143"),
		info(2, "192.0.2.8:50002", "b.mail.example", "*.mail.example", "mail", "10.0.0.6:143"),
		info(26, "[2001:db8::1]:50003", "db.example", `~db\..*`, "db", "10.0.0.7:5432"),
		{ID: fmt.Sprintf("%024x", 4), Listener: ":993", Stage: "hello"},
	}
}

func TestConnectionsAreFiltered(t *testing.T) {
	t.Parallel()
	all := []int{1, 2, 26, 4}
	for _, c := range []struct {
		name   string
		wanted ConnectionsRequest
		ids    []int
	}{
		{"all", ConnectionsRequest{}, all},
		{"name", ConnectionsRequest{Name: "A.mail.example."}, []int{1}},
		{"names", ConnectionsRequest{Name: "*.mail.example"}, []int{1, 2}},
		{"every name, and none", ConnectionsRequest{Name: "*"}, all},
		{"client", ConnectionsRequest{Client: "192.0.2.7"}, []int{1}},
		{"client in IPv6's writing", ConnectionsRequest{Client: "::ffff:192.0.2.7"}, []int{1}},
		{"clients", ConnectionsRequest{Client: "192.0.2.9/24"}, []int{1, 2}},
		{"clients of IPv6", ConnectionsRequest{Client: "2001:db8::/32"}, []int{26}},
		{"every client of IPv4, none that is not known", ConnectionsRequest{Client: "0.0.0.0/0"}, []int{1, 2}},
		{"server", ConnectionsRequest{Server: "10.0.0.6:143"}, []int{2}},
		{"backend", ConnectionsRequest{Backend: "mail"}, []int{1, 2}},
		{"route", ConnectionsRequest{Route: "*.Mail.example"}, []int{1, 2}},
		{"route of a regular expression", ConnectionsRequest{Route: `~db\..*`}, []int{26}},
		{"listener", ConnectionsRequest{Listener: ":993"}, []int{4}},
		{"stage", ConnectionsRequest{Stage: "hello"}, []int{4}},
		{"several", ConnectionsRequest{Backend: "mail", Client: "192.0.2.8"}, []int{2}},
		{"several that none meets", ConnectionsRequest{Backend: "db", Client: "192.0.2.8"}, nil},
		{"ids", ConnectionsRequest{IDs: []string{fmt.Sprintf("%024X", 26), fmt.Sprintf("%024x", 1), fmt.Sprintf("%024x", 9)}}, []int{1, 26}},
		{"ids and more", ConnectionsRequest{IDs: []string{fmt.Sprintf("%024x", 26)}, Backend: "mail"}, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			var killed []string
			r := serve(t, func(o *Options) {
				o.Traffic = fakeTraffic{connections: someConnections(), kill: func(info terminate.ConnectionInfo) { killed = append(killed, info.ID) }}
			})
			var want []string
			for _, id := range c.ids {
				want = append(want, fmt.Sprintf("%024x", id))
			}
			var listed []string
			for connection, err := range r.client.Connections(t.Context(), c.wanted) {
				if err != nil {
					t.Fatal(err)
				}
				listed = append(listed, connection.ID)
			}
			if !slices.Equal(listed, want) {
				t.Errorf("listed %v, want %v", listed, want)
			}
			everything := c.name == "all"
			result, err := r.client.Kill(t.Context(), KillRequest{c.wanted, everything})
			if err != nil || result.Killed != len(want) || !slices.Equal(killed, want) {
				t.Errorf("killed %v, %+v, %v, want %v", killed, result, err, want)
			}
		})
	}
}

func TestConnectionsAsJSON(t *testing.T) {
	r := serve(t, func(o *Options) { o.Traffic = fakeTraffic{connections: someConnections()[2:]} })
	_, text, _ := r.ask(t, "GET", "/connections", "")
	want := `{"connections":[{"id":"00000000000000000000001a","client":"[2001:db8::1]:50003","listener":":443","name":"db.example","route":"~db\\..*",` +
		`"backend":"db","server":"10.0.0.7:5432","stage":"splice","age_seconds":74,"bytes_in":10,"bytes_out":20}` + "\n" +
		`,{"id":"000000000000000000000004","client":"","listener":":993","name":"","route":"","backend":"","server":"","stage":"hello",` +
		`"age_seconds":0,"bytes_in":0,"bytes_out":0}` + "\n]}\n"
	if diff := cmp.Diff(want, text); diff != "" {
		t.Error(diff)
	}
	if _, text, _ := r.ask(t, "GET", "/connections?stage=connect", ""); text != "{\"connections\":[]}\n" || !json.Valid([]byte(text)) {
		t.Errorf("none: %s", text)
	}
}

func TestConnectionRequestsAreRefused(t *testing.T) {
	for _, c := range []struct {
		name, method, path, body string
		want                     string
	}{
		{"unknown parameter", "GET", "/connections?nam=a.example", "", `unknown parameter \"nam\"`},
		{"name that is none", "GET", "/connections?name=**", "", "pattern"},
		{"client that is none", "GET", "/connections?client=mail", "", "an IP address expected"},
		{"stage that is none", "GET", "/connections?stage=sleep", "", "one of proxy, preamble, hello, route, cert, handshake, startup, connect, splice expected"},
		{"empty filter", "GET", "/connections?backend=", "", "backend: one value expected"},
		{"two values", "GET", "/connections?backend=a&backend=b", "", "backend: one value expected"},
		{"id that is none", "GET", "/connections?id=7", "", "24 hexadecimal digits expected"},
		{"kill nothing", "POST", "/connections/kill", `{}`, "nothing to kill"},
		{"kill all and some", "POST", "/connections/kill", `{"all":true,"backend":"mail"}`, "all goes alone"},
		{"kill what is misspelt", "POST", "/connections/kill", `{"backends":"mail"}`, "unknown field"},
		{"kill an id that is none", "POST", "/connections/kill", `{"ids":["x"]}`, "24 hexadecimal digits expected"},
		{"kill a stage that is none", "POST", "/connections/kill", `{"stage":"x"}`, "expected"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := serve(t, func(o *Options) {
				o.Traffic = fakeTraffic{connections: someConnections(), kill: func(info terminate.ConnectionInfo) { t.Errorf("%s killed", info.ID) }}
			})
			if status, text, _ := r.ask(t, c.method, c.path, c.body); status != 400 || !strings.Contains(text, c.want) {
				t.Errorf("got %d %s, want %s", status, text, c.want)
			}
		})
	}
}

// Who is killed is logged, with what was asked for; and which of the ids were of nobody is said.
func TestKillIsLogged(t *testing.T) {
	r := serve(t, func(o *Options) {
		o.Traffic = fakeTraffic{connections: someConnections(), kill: func(terminate.ConnectionInfo) {}}
	})
	open, gone := fmt.Sprintf("%024x", 1), fmt.Sprintf("%024x", 99)
	result, err := r.client.Kill(t.Context(), KillRequest{ConnectionsRequest: ConnectionsRequest{IDs: []string{gone, open}}})
	if err != nil || result.Killed != 1 || !slices.Equal(result.NotOpen, []string{gone}) {
		t.Errorf("%+v, %v", result, err)
	}
	if _, err := r.client.Kill(t.Context(), KillRequest{ConnectionsRequest: ConnectionsRequest{Route: "*.mail.example", Server: "\u202ex"}}); err != nil {
		t.Error(err)
	}
	for _, want := range []string{
		`"ids":["` + gone + `","` + open + `"],"killed":1,"message":"control: kill"`,
		`"server":"\\u202ex","route":"*.mail.example","killed":0,"message":"control: kill"`,
	} {
		if !strings.Contains(r.log.String(), want) {
			t.Errorf("no %s in %s", want, r.log)
		}
	}
}

// A long list comes whole and in order.
func TestALongListOfConnections(t *testing.T) {
	t.Parallel()
	const count = 20_000
	connections := make([]terminate.ConnectionInfo, count)
	for i := range connections {
		connections[i] = terminate.ConnectionInfo{ID: fmt.Sprintf("%024x", i), Client: netip.AddrPortFrom(netip.IPv4Unspecified(), 1), Stage: "splice"}
	}
	r := serve(t, func(o *Options) { o.Traffic = fakeTraffic{connections: connections} })
	listed := 0
	for connection, err := range r.client.Connections(t.Context(), ConnectionsRequest{}) {
		if err != nil || connection.ID != connections[listed].ID {
			t.Fatalf("%d: %+v, %v", listed, connection, err)
		}
		listed++
	}
	if listed != count {
		t.Errorf("%d of %d", listed, count)
	}
	for range r.client.Connections(t.Context(), ConnectionsRequest{}) {
		break // whoever stops early leaves nothing behind: goleak looks
	}
}
