package store_test

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"hellogate/sni"
	"hellogate/store"
	"hellogate/store/certtest"
)

func TestDecodeJSONRouting(t *testing.T) {
	pair := string(certtest.NewCA(t).Issue(t, name).JSON())
	for _, test := range []struct {
		name, body string
		want       *store.Routing
	}{
		{"none", `{PAIR}`, nil},
		{"inside a pair it is another member", `{"certificates":[{"backend":1,"servers":2,PAIR}]}`, nil},
		{"backend", `{"backend":"mail",PAIR}`, &store.Routing{Backend: "mail"}},
		{"backend of all characters", `{"backend":"_A.z-9",PAIR}`, &store.Routing{Backend: "_A.z-9"}},
		{"longest backend", `{PAIR,"backend":"` + strings.Repeat("b", 64) + `"}`, &store.Routing{Backend: strings.Repeat("b", 64)}},
		{
			"servers", `{"servers":["10.0.0.5:5432","[::1]:5432","db.internal:5432"],PAIR}`,
			&store.Routing{Servers: []string{"10.0.0.5:5432", "[::1]:5432", "db.internal:5432"}},
		},
		{
			"servers in other spellings",
			`{"servers":["[::ffff:10.0.0.5]:05432","[2001:DB8:0::1]:1","DB.internal.:65535","my_db:1","[10.0.0.6]:2"],PAIR}`,
			&store.Routing{Servers: []string{"10.0.0.5:5432", "[2001:db8::1]:1", "db.internal.:65535", "my_db:1", "10.0.0.6:2"}},
		},
		{"one server twice", `{"servers":["a:1","a:1"],PAIR}`, &store.Routing{Servers: []string{"a:1", "a:1"}}},
		{"most servers", `{"servers":["a:1"` + strings.Repeat(`,"a:1"`, 15) + `],PAIR}`, &store.Routing{Servers: slices.Repeat([]string{"a:1"}, 16)}},
	} {
		t.Run(test.name, func(t *testing.T) {
			answer, err := store.DecodeJSON([]byte(strings.Replace(test.body, "PAIR", pair[1:len(pair)-1], 1)))
			if err != nil || len(answer.Pairs) != 1 {
				t.Fatalf("%d pairs, %v", len(answer.Pairs), err)
			}
			if diff := cmp.Diff(test.want, answer.Routing); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// Members of an answer that are no routing, and what their error says.
var badRouting = []struct{ name, members, want string }{
	{"both", `"backend":"mail","servers":["a:1"],`, "both backend and servers"},
	{"backend twice", `"backend":"a","backend":"b",`, "backend is there twice"},
	{"servers twice", `"servers":["a:1"],"servers":["b:1"],`, "servers is there twice"},
	{"null backend", `"backend":null,`, "backend is no string"},
	{"backend of a wrong type", `"backend":["mail"],`, "backend is no string"},
	{"empty backend", `"backend":"",`, "backend is no name of up to 64 letters"},
	{"backend with a slash", `"backend":"secret/b",`, "backend is no name"},
	{"backend with a space", `"backend":"a b",`, "backend is no name"},
	{"backend with a line end", `"backend":"a\n",`, "backend is no name"},
	{"backend with a letter of another script", `"backend":"pöst",`, "backend is no name"},
	{"backend that begins with a hyphen", `"backend":"-a",`, "backend is no name"},
	{"long backend", `"backend":"` + strings.Repeat("b", 65) + `",`, "backend is no name"},
	{"null servers", `"servers":null,`, `servers: '[' expected`},
	{"servers of a wrong type", `"servers":"a:1",`, `servers: '[' expected`},
	{"no servers", `"servers":[],`, "servers is empty"},
	{"many servers", `"servers":["a:1"` + strings.Repeat(`,"a:1"`, 16) + `],`, "more than 16 servers"},
	{"server of a wrong type", `"servers":["a:1",7],`, "servers[1] is no string"},
	{"server that is a list", `"servers":[["a:1"]],`, "servers[0] is no string"},
	{"server that is null", `"servers":[null],`, "servers[0] is no string"},
	{"empty server", `"servers":["a:1",""],`, "servers[1]: not host:port"},
	{"no port", `"servers":["secret"],`, "servers[0]: not host:port"},
	{"empty port", `"servers":["a:"],`, "the port is no number"},
	{"port 0", `"servers":["a:0"],`, "the port is no number from 1 to 65535"},
	{"large port", `"servers":["a:65536"],`, "the port is no number"},
	{"signed port", `"servers":["a:+1"],`, "the port is no number"},
	{"service", `"servers":["a:postgres"],`, "the port is no number"},
	{"no host", `"servers":[":1"],`, "the host is neither"},
	{"IPv6 without brackets", `"servers":["::1:5432"],`, "not host:port"},
	{"number that is read as an address", `"servers":["127.1:1"],`, "the host is neither"},
	{"space", `"servers":["a b:1"],`, "the host is neither"},
	{"two dots", `"servers":["a..:1"],`, "the host is neither"},
	{"U-label", `"servers":["dö:1"],`, "the host is neither"},
	{"user", `"servers":["u@h:1"],`, "the host is neither"},
	{"path of a socket", `"servers":["/run/secret.sock:1"],`, "the host is neither"},
	{"zone", `"servers":["[fe80::1%eth0]:1"],`, "has a zone or is unspecified"},
	{"unspecified", `"servers":["0.0.0.0:1"],`, "has a zone or is unspecified"},
	{"unspecified, IPv6", `"servers":["[::]:1"],`, "has a zone or is unspecified"},
	{"unspecified, mapped", `"servers":["[::ffff:0.0.0.0]:1"],`, "has a zone or is unspecified"},
}

func TestDecodeJSONRefusesRouting(t *testing.T) {
	pair := string(certtest.NewCA(t).Issue(t, name).JSON())
	for _, test := range badRouting {
		t.Run(test.name, func(t *testing.T) {
			answer, err := store.DecodeJSON([]byte("{" + test.members + pair[1:]))
			if err == nil {
				t.Fatalf("accepted %v", answer.Routing)
			}
			if !strings.Contains(err.Error(), test.want) || strings.Contains(err.Error(), "secret") {
				t.Errorf("error %q, want it to say %q and to quote nothing", err, test.want)
			}
		})
	}
}

func TestHTTPRouting(t *testing.T) {
	issued := certtest.NewCA(t).Issue(t, name)
	json := string(issued.JSON())
	mail := &store.Routing{Backend: "mail"}
	for _, test := range []struct {
		name    string
		status  int
		headers []string
		body    string
		want    *store.Routing
		err     string
	}{
		{"pem", 200, nil, string(issued.Bundle()), nil, ""},
		{"pem and a header", 200, []string{"mail"}, string(issued.Bundle()), mail, ""},
		{"json and a header", 200, []string{"mail"}, json, mail, ""},
		{"member", 200, nil, `{"backend":"mail",` + json[1:], mail, ""},
		{"member and the same header", 200, []string{"mail"}, `{"backend":"mail",` + json[1:], mail, ""},
		{"member and another header", 200, []string{"web"}, `{"backend":"mail",` + json[1:], nil, "the body route to different places"},
		{"servers and a header", 200, []string{"web"}, `{"servers":["a:1"],` + json[1:], nil, "the body route to different places"},
		{"two headers", 200, []string{"mail", "mail"}, json, nil, "header X-Hellogate-Backend is there 2 times"},
		{"bad header", 200, []string{"a/b"}, json, nil, "header X-Hellogate-Backend: backend is no name"},
		{"empty header", 200, []string{""}, json, nil, "header X-Hellogate-Backend: backend is no name"},
		{"bad member", 200, nil, `{"backend":"a/b",` + json[1:], nil, "json: backend is no name"},
		{"not modified", 304, nil, "", nil, ""},
		{"not modified and a header", 304, []string{"mail"}, "", mail, ""},
		{"not modified and a bad header", 304, []string{"a b"}, "", nil, "header X-Hellogate-Backend: backend is no name"},
	} {
		t.Run(test.name, func(t *testing.T) {
			url := serve(t, func(w http.ResponseWriter, _ *http.Request) {
				w.Header()[store.BackendHeader] = test.headers
				w.WriteHeader(test.status)
				_, _ = w.Write([]byte(test.body))
			})
			request := store.Request{Name: name, Validator: store.Validator{ETag: `"v1"`}}
			bundle, err := newHTTP(t, store.HTTPOptions{URL: url}).Fetch(t.Context(), request)
			if test.err != "" {
				if failureOf(t, err); !strings.Contains(err.Error(), test.err) {
					t.Errorf("error %v, want it to say %q", err, test.err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.want, bundle.Routing); diff != "" || bundle.NotModified != (test.status == 304) {
				t.Errorf("not modified %t, routing %s", bundle.NotModified, diff)
			}
		})
	}
}

// TestHTTPPartial: what a store answers that was told of the client is for clients like it.
func TestHTTPPartial(t *testing.T) {
	issued := certtest.NewCA(t).Issue(t, name)
	url := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("If-None-Match") != "" {
			w.WriteHeader(http.StatusNotModified)
			return
		}
		_, _ = w.Write(issued.Bundle())
	})
	for form, want := range map[string]bool{store.FormPath: false, store.FormCaddy: true} {
		asks := newHTTP(t, store.HTTPOptions{URL: url, Form: form})
		for _, validator := range []store.Validator{{}, {ETag: `"v1"`}} {
			bundle, err := asks.Fetch(t.Context(), store.Request{Name: name, Validator: validator})
			if err != nil || bundle.Partial != want {
				t.Errorf("form %s, validator %v: %+v, %v: want partial %t", form, validator, bundle, err, want)
			}
		}
	}
}

// TestHTTPValidatorOfAnotherStore: a 304 to what was not asked with a condition is a failure, not somebody else's bundle.
func TestHTTPValidatorOfAnotherStore(t *testing.T) {
	url := serve(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNotModified) })
	asks := newHTTP(t, store.HTTPOptions{URL: url, Name: "here"})
	request := store.Request{Name: name, Validator: store.Validator{ETag: `"v1"`}, From: "elsewhere"}
	if _, err := asks.Fetch(t.Context(), request); err == nil || errors.Is(err, store.ErrUnknown) {
		t.Errorf("got %v", err)
	}
	request.From = "here"
	if bundle, err := asks.Fetch(t.Context(), request); err != nil || !bundle.NotModified {
		t.Errorf("%+v, %v", bundle, err)
	}
}

func FuzzServerAddress(f *testing.F) {
	for _, seed := range []string{"10.0.0.5:5432", "[::1]:5432", "DB.internal.:1", "[fe80::1%25eth0]:1", "[::ffff:0:0]:1", "a:b:c", ":", "[a]:1"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		address, err := store.ServerAddress(text)
		if err != nil {
			return
		}
		holdsAddress(t, address)
		if again, err := store.ServerAddress(address); err != nil || again != address {
			t.Errorf("%q, read again: %q, %v", address, again, err)
		}
	})
}

// holdsRouting: whatever is decoded is one of the two, within bounds, and can be dialled as it is.
func holdsRouting(t *testing.T, routing *store.Routing) {
	t.Helper()
	if routing == nil {
		return
	}
	if (routing.Backend == "") == (len(routing.Servers) == 0) || len(routing.Servers) > store.MaxServers || len(routing.Backend) > 64 {
		t.Errorf("routing %+v", routing)
	}
	for _, server := range routing.Servers {
		holdsAddress(t, server)
	}
}

func holdsAddress(t *testing.T, address string) {
	t.Helper()
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		t.Fatal(err)
	}
	if number, err := strconv.Atoi(port); err != nil || number < 1 || number > 65535 {
		t.Errorf("%q: port %q", address, port)
	}
	if ip, err := netip.ParseAddr(host); err == nil {
		if ip.IsUnspecified() || ip.Zone() != "" || ip.Is4In6() {
			t.Errorf("%q: address %s", address, ip)
		}
		return
	}
	if _, err := sni.Normalize(strings.TrimSuffix(host, ".")); err != nil {
		t.Errorf("%q: %v", address, err)
	}
}

func routingSeeds(f *testing.F) [][]byte {
	pair := string(certtest.NewCA(f).Issue(f, name).JSON())
	seeds := [][]byte{
		[]byte(`{"backend":"mail",` + pair[1:]),
		[]byte(`{"servers":["10.0.0.5:5432","[::1]:5432","db.internal:5432"],` + pair[1:]),
	}
	for _, bad := range badRouting {
		seeds = append(seeds, fmt.Append(nil, "{", bad.members, pair[1:]))
	}
	return seeds
}
