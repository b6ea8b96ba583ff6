package store_test

import (
	"encoding/json"
	"errors"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"hellogate/store"
	"hellogate/store/certtest"
)

func TestPeterSSLersQuery(t *testing.T) {
	ca := certtest.NewCA(t)
	multi, single := ca.Issue(t, name, "b.example"), ca.Issue(t, name)
	for _, generation := range generations {
		for _, test := range []struct {
			name   string
			answer any
			want   int // 0: the one for several names, 1: the other, -1: a no
		}{
			{"both", domainConfig(generation, &multi, &single), 0},
			{"several names", domainConfig(generation, &multi, nil), 0},
			{"one name", domainConfig(generation, nil, &single), 1},
			{"none", domainConfig(generation, nil, nil), -1},
			{"one name, and the other is not there", map[string]any{generation + "__latest_single": certificateJSON(&single)}, 1},
			{"none, and one is not there", map[string]any{generation + "__latest_multi": nil}, -1},
			{"none is there", map[string]any{"domain": map[string]string{"id": "1"}}, -1},
			{"other members", with(domainConfig(generation, &multi, nil), map[string]any{"x": []int{1}, "backend": 7}), 0},
		} {
			t.Run(generation+"/"+test.name, func(t *testing.T) {
				server := &peterSSLers{domains: map[string]any{name: test.answer}}
				asks := newHTTP(t, store.HTTPOptions{URL: server.start(t), Form: store.FormPeterSSLers, Name: "peter"})
				bundle, err := asks.Fetch(t.Context(), store.Request{Name: name})
				if test.want < 0 {
					if !errors.Is(err, store.ErrUnknown) {
						t.Errorf("%+v, %v: want a no", bundle, err)
					}
					return
				}
				if err != nil || leafOf(bundle, multi, single) != test.want || bundle.Partial || bundle.Store != "peter" {
					t.Fatalf("%+v, %v", bundle, err)
				}
				if _, err := store.Check(bundle.Pairs[0], name, time.Now()); err != nil {
					t.Error(err)
				}
				if len(server.primed) != 1 || server.log() != "GET "+name {
					t.Errorf("asked %s, primed %v", server.log(), server.primed)
				}
			})
		}
	}
}

// TestPeterSSLersGenerations: the newest spelling goes first, and several names before one whatever the spelling.
func TestPeterSSLersGenerations(t *testing.T) {
	ca := certtest.NewCA(t)
	first, second, third := ca.Issue(t, name), ca.Issue(t, name), ca.Issue(t, name)
	for _, test := range []struct {
		name   string
		answer map[string]any
		want   int
	}{
		{"all", map[string]any{
			"server_certificate__latest_multi": certificateJSON(&third), "certificate_signed__latest_multi": certificateJSON(&second),
			"x509_certificate__latest_multi": certificateJSON(&first),
		}, 0},
		{"the newest is null", map[string]any{
			"x509_certificate__latest_multi": nil, "server_certificate__latest_multi": certificateJSON(&third),
			"certificate_signed__latest_multi": certificateJSON(&second),
		}, 1},
		{"several names in the oldest", map[string]any{
			"x509_certificate__latest_single": certificateJSON(&first), "server_certificate__latest_multi": certificateJSON(&third),
		}, 2},
	} {
		t.Run(test.name, func(t *testing.T) {
			server := &peterSSLers{domains: map[string]any{name: test.answer}}
			asks := newHTTP(t, store.HTTPOptions{URL: server.start(t), Form: store.FormPeterSSLers})
			bundle, err := asks.Fetch(t.Context(), store.Request{Name: name})
			if err != nil || leafOf(bundle, first, second, third) != test.want {
				t.Errorf("%+v, %v", bundle, err)
			}
		})
	}
}

func TestPeterSSLersRefuses(t *testing.T) {
	issued := certtest.NewCA(t).Issue(t, name)
	good := domainConfig("x509_certificate", &issued, nil)
	certificate := func(change func(map[string]any)) map[string]any {
		changed := certificateJSON(&issued).(map[string]any)
		change(changed)
		return with(good, map[string]any{"x509_certificate__latest_multi": changed})
	}
	for _, test := range []struct {
		name   string
		answer any
		want   string
	}{
		{"nothing", "", "json: cut short"},
		{"a web page", "<html>", "json: malformed at byte"},
		{"null", "null", `json: '{' expected`},
		{"an empty object", "{}", "json: no member of a domain's configuration"},
		{"what it answers elsewhere", `{"message":"hello","cert":"x"}`, "no member of a domain's configuration"},
		{"a failure", `{"result":"error","Domain":null,"x509_certificate__latest_multi":null}`, "the result is no success"},
		{"a failure in words", `{"result":"error","error":"no \u202e database"}`, `the result is no success: "no \u202e database"`},
		{"more behind it", `{"Domain":{}}{}`, "there is more behind the object"},
		{"certificate twice", `{"server_certificate__latest_multi":null,"server_certificate__latest_multi":null}`, "is there twice"},
		{"certificate of a wrong type", `{"server_certificate__latest_multi":"secret"}`, `server_certificate__latest_multi: '{' expected`},
		{"false", `{"server_certificate__latest_multi":false}`, `'{' expected`},
		{"result of a wrong type", `{"result":1}`, "result is no string"},
		{"no key", certificate(func(c map[string]any) { delete(c, "private_key") }), "x509_certificate__latest_multi: private_key.pem is missing or empty"},
		{"no chain", certificate(func(c map[string]any) { delete(c, "fullchain") }), "fullchain.pem is missing or empty"},
		{"null chain", certificate(func(c map[string]any) { c["fullchain"] = nil }), `fullchain: '{' expected`},
		{"ids alone", certificate(func(c map[string]any) {
			c["fullchain"], c["private_key"] = map[string]string{"id": "9,2"}, map[string]string{"id": "3"}
		}), "fullchain.pem is missing or empty"},
		{"null pem", certificate(func(c map[string]any) { c["private_key"] = map[string]any{"pem": nil} }), "private_key: pem is no string"},
		{"chain is garbage", certificate(func(c map[string]any) { c["fullchain"] = map[string]any{"pem": "secret"} }), "x509_certificate__latest_multi: no certificate"},
		{"key in the chain", certificate(func(c map[string]any) {
			c["fullchain"] = map[string]any{"pem": string(issued.Bundle())}
		}), "fullchain.pem holds a private key"},
		{"two keys", certificate(func(c map[string]any) {
			c["private_key"] = map[string]any{"pem": string(issued.Key) + string(issued.Key)}
		}), "private_key.pem holds 0 certificates and 2 private keys"},
	} {
		t.Run(test.name, func(t *testing.T) {
			server := &peterSSLers{domains: map[string]any{name: test.answer}}
			asks := newHTTP(t, store.HTTPOptions{URL: server.start(t), Form: store.FormPeterSSLers, Autocert: true})
			_, err := asks.Fetch(t.Context(), store.Request{Name: name})
			if failureOf(t, err).Exempt || !strings.Contains(err.Error(), test.want) || strings.Contains(err.Error(), "secret") {
				t.Errorf("error %v, want it to say %q", err, test.want)
			}
			if server.log() != "GET "+name {
				t.Errorf("asked %s: a failure orders nothing", server.log())
			}
		})
	}
}

func TestPeterSSLersPassword(t *testing.T) {
	issued := certtest.NewCA(t).Issue(t, name)
	answer := with(domainConfig("x509_certificate", &issued, nil), map[string]any{"result": "success"})
	server := &peterSSLers{password: "new " + token, autocert: func(string) any { return answer }}
	path := filepath.Join(t.TempDir(), "password")
	write(t, path, "old "+token+"\n")
	asks := newHTTP(t, store.HTTPOptions{
		URL: server.start(t), Form: store.FormPeterSSLers, Autocert: true, Username: "admin", PasswordFile: path,
	})
	_, err := asks.Fetch(t.Context(), store.Request{Name: name})
	if failureOf(t, err); !errors.Is(err, store.ErrToken) {
		t.Errorf("with the old password: %v", err)
	}
	write(t, path, "new "+token+"\n")
	if _, err := asks.Fetch(t.Context(), store.Request{Name: name}); err != nil {
		t.Errorf("with the new one: %v", err)
	}
	write(t, path, "\n")
	_, err = asks.Fetch(t.Context(), store.Request{Name: name})
	if !failureOf(t, err).Exempt || !strings.Contains(err.Error(), "the password is empty") {
		t.Errorf("with an empty one: %v", err)
	}
}

// TestHTTPPasswordIsHidden, however a store echoes it.
func TestHTTPPasswordIsHidden(t *testing.T) {
	path := filepath.Join(t.TempDir(), "password")
	write(t, path, token)
	for _, echo := range []string{token, "dXNlcjptYXJrZXItb2YtdGhlLXRva2Vu"} {
		asks := newHTTP(t, store.HTTPOptions{URL: listen(t, text("HTTP/1.1 "+echo+"\r\n\r\n")), Username: "user", PasswordFile: path})
		_, err := asks.Fetch(t.Context(), store.Request{Name: name})
		if failureOf(t, err); !strings.Contains(err.Error(), "TOKEN") || strings.Contains(err.Error(), echo) {
			t.Errorf("got %v", err)
		}
	}
}

func FuzzDecodeDomain(f *testing.F) {
	ca := certtest.NewCA(f)
	issued := ca.Issue(f, name)
	for _, generation := range generations {
		for _, answer := range []map[string]any{
			domainConfig(generation, &issued, nil),
			domainConfig(generation, nil, nil),
			with(domainConfig(generation, nil, &issued), map[string]any{"result": "success", "notes": "existing certificate(s)"}),
			{"result": "error", "form_errors": map[string]string{"domain_name": "blocklisted"}, "error": "x"},
		} {
			body, err := json.Marshal(answer)
			if err != nil {
				f.Fatal(err)
			}
			f.Add(body)
		}
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		for _, decode := range []func(string, []byte) (store.Answer, error){store.DecodeDomain, store.DecodeAutocert} {
			answer, err := decode("", body)
			holds(t, answer.Pairs, err)
			if (err == nil || errors.Is(err, store.ErrUnknown)) && !json.Valid(body) {
				t.Errorf("made sense of what is no JSON: %v", err)
			}
		}
	})
}
