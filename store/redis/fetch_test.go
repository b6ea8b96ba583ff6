package redis

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"hellogate/store"
	"hellogate/store/certtest"
)

func fetch(t testing.TB, r *Redis, name string) (*store.Bundle, error) {
	t.Helper()
	return r.Fetch(context.Background(), store.Request{Name: name})
}

// several is the answer of an HTTP store with more than one pair.
func several(t testing.TB, pairs ...certtest.Issued) string {
	t.Helper()
	var members []map[string]string
	for _, pair := range pairs {
		members = append(members, map[string]string{"cert": string(pair.Chain), "key": string(pair.Key)})
	}
	body, err := json.Marshal(map[string]any{"certificates": members})
	if err != nil {
		t.Fatal(err)
	}
	return string(body)
}

// split is the leaf of a chain and what is above it.
func split(chain []byte) (leaf, above string) {
	at := strings.Index(string(chain), "-----END CERTIFICATE-----\n") + len("-----END CERTIFICATE-----\n")
	return string(chain[:at]), string(chain[at:])
}

func TestFetch(t *testing.T) {
	t.Parallel()
	s := start(t)
	ca := certtest.NewCA(t)
	one := ca.Issue(t, "a.example")
	other := ca.IssueWith(t, certtest.Options{Names: []string{"a.example"}, RSA: 2048})
	leaf, above := split(one.Chain)
	both := []store.Pair{one.Pair, other.Pair}
	tests := []struct {
		name, layout, prefix, ask string
		commands                  [][]string
		want                      []store.Pair
	}{
		{"prime1", Prime1, "", "p1.example", [][]string{
			{"HSET", "d1:p1.example", "c", "9", "p", "5", "i", "2"},
			{"SET", "c:9", leaf},
			{"SET", "p:5", string(one.Key)},
			{"SET", "i:2", above},
		}, both[:1]},
		{"prime2", Prime2, "", "p2.example", [][]string{
			{"HSET", "d2:p2.example", "f", string(one.Chain), "p", string(one.Key)},
		}, both[:1]},
		{"json", JSON, "", "j.example", [][]string{{"SET", "hellogate:j.example", string(one.JSON())}}, both[:1]},
		{"json with two pairs", JSON, "", "jj.example", [][]string{{"SET", "hellogate:jj.example", several(t, one, other)}}, both},
		{"json that is PEM", JSON, "x{1}:", "jp.example", [][]string{{"SET", "x{1}:jp.example", string(one.Bundle())}}, both[:1]},
		{"json wildcard", JSON, "", "a.w.example", [][]string{{"SET", "hellogate:*.w.example", string(one.JSON())}}, both[:1]},
		{"json exact before wildcard", JSON, "", "a.e.example", [][]string{
			{"SET", "hellogate:*.e.example", "broken"}, {"SET", "hellogate:a.e.example", string(one.JSON())},
		}, both[:1]},
		{"prime2 has no wildcards", Prime2, "", "a.v.example", [][]string{
			{"HSET", "d2:*.v.example", "f", string(one.Chain), "p", string(one.Key)},
		}, nil},
		{"unknown to prime1", Prime1, "", "no.example", nil, nil},
		{"unknown to prime2", Prime2, "", "no.example", nil, nil},
		{"unknown to json", JSON, "", "no.example", nil, nil},
		{"one label", JSON, "", "localhost", nil, nil},
		{"a hash with other fields", Prime2, "", "of.example", [][]string{{"HSET", "d2:of.example", "x", "1"}}, nil},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			for _, command := range test.commands {
				s.do(t, command...)
			}
			options := s.at(test.layout)
			options.Prefix = test.prefix
			r := newStore(t, options)
			bundle, err := fetch(t, r, test.ask)
			if test.want == nil {
				if !errors.Is(err, store.ErrUnknown) {
					t.Fatalf("bundle %v, error %v, want a no", bundle, err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.want, bundle.Pairs); diff != "" {
				t.Error(diff)
			}
			if bundle.Store != "redis://"+s.address || bundle.NotModified || bundle.Freshness != (store.Freshness{}) {
				t.Errorf("bundle %+v", bundle)
			}
			checkConditional(t, r, test.ask, bundle.Validator)
		})
	}
}

// checkConditional asks with a validator, and with one that is not this store's.
func checkConditional(t *testing.T, r *Redis, name string, validator store.Validator) {
	t.Helper()
	request := store.Request{Name: name, Validator: validator, From: r.Name()}
	bundle, err := r.Fetch(context.Background(), request)
	if err != nil || !bundle.NotModified || len(bundle.Pairs) > 0 || bundle.Validator != validator || bundle.Store != r.Name() {
		t.Errorf("with its validator: bundle %+v, error %v", bundle, err)
	}
	request.From = "another"
	bundle, err = r.Fetch(context.Background(), request)
	if err != nil || bundle.NotModified || len(bundle.Pairs) == 0 {
		t.Errorf("with another store's validator: bundle %+v, error %v", bundle, err)
	}
	request.From, request.Validator.ETag = r.Name(), `"other"`
	bundle, err = r.Fetch(context.Background(), request)
	if err != nil || bundle.NotModified {
		t.Errorf("with an old validator: bundle %+v, error %v", bundle, err)
	}
}

func TestFetchFailures(t *testing.T) {
	t.Parallel()
	s := start(t)
	one := certtest.NewCA(t).Issue(t, "a.example")
	leaf, above := split(one.Chain)
	large := strings.Repeat("secret", maxValue/6+1)
	tests := []struct {
		name, layout string
		commands     [][]string
		want         string
	}{
		{"prime2 wrong type", Prime2, [][]string{{"SET", "d2:NAME", "secret"}}, "WRONGTYPE"},
		{"prime2 without a key", Prime2, [][]string{{"HSET", "d2:NAME", "f", string(one.Chain)}}, "nothing in field p"},
		{"prime2 without a chain", Prime2, [][]string{{"HSET", "d2:NAME", "p", string(one.Key)}}, "nothing in field f"},
		{"prime2 garbage", Prime2, [][]string{{"HSET", "d2:NAME", "p", "secret", "f", "secret"}}, "key"},
		{"prime2 key among the certificates", Prime2, [][]string{{"HSET", "d2:NAME", "p", string(one.Key), "f", string(one.Bundle())}}, "private key"},
		{"prime2 too large", Prime2, [][]string{{"HSET", "d2:NAME", "p", string(one.Key), "f", large}}, "more than 1048576 bytes"},
		{"prime1 wrong type", Prime1, [][]string{{"SET", "d1:NAME", "secret"}}, "WRONGTYPE"},
		{"prime1 wrong type of a piece", Prime1, [][]string{
			{"HSET", "d1:NAME", "c", "w1", "p", "w1", "i", "w1"}, {"SET", "c:w1", leaf}, {"SET", "i:w1", above}, {"HSET", "p:w1", "x", "secret"},
		}, "WRONGTYPE"},
		{"prime1 missing id", Prime1, [][]string{{"HSET", "d1:NAME", "c", "m1", "i", "m1"}}, "nothing in field p"},
		{"prime1 missing piece", Prime1, [][]string{
			{"HSET", "d1:NAME", "c", "m2", "p", "m2", "i", "m2"}, {"SET", "c:m2", leaf}, {"SET", "p:m2", string(one.Key)},
		}, "id in field i"},
		{"prime1 insane id", Prime1, [][]string{{"HSET", "d1:NAME", "c", "a\nb", "p", "1", "i", "1"}}, "an id is"},
		{"prime1 long id", Prime1, [][]string{{"HSET", "d1:NAME", "c", strings.Repeat("secret", 30), "p", "1", "i", "1"}}, "an id is"},
		{"prime1 too large", Prime1, [][]string{
			{"HSET", "d1:NAME", "c", "l1", "p", "l1", "i", "l1"}, {"SET", "c:l1", leaf}, {"SET", "i:l1", large}, {"SET", "p:l1", string(one.Key)},
		}, "more than 1048576 bytes"},
		{"json wrong type", JSON, [][]string{{"HSET", "hellogate:NAME", "x", "secret"}}, "WRONGTYPE"},
		{"json too large", JSON, [][]string{{"SET", "hellogate:NAME", large}}, "more than 1048576 bytes"},
		{"json garbage", JSON, [][]string{{"SET", "hellogate:NAME", "{secret"}}, "json"},
		{"json empty", JSON, [][]string{{"SET", "hellogate:NAME", ""}}, "PEM"},
	}
	for i, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			name := "f" + string(rune('a'+i)) + ".example"
			for _, command := range test.commands {
				for at := range command {
					command[at] = strings.ReplaceAll(command[at], "NAME", name)
				}
				s.do(t, command...)
			}
			_, err := fetch(t, newStore(t, s.at(test.layout)), name)
			var failure *store.Failure
			if !errors.As(err, &failure) || !failure.Exempt || failure.Unreachable || errors.Is(err, store.ErrUnknown) {
				t.Fatalf("error %v, want a failure of that name", err)
			}
			if text := err.Error(); !strings.Contains(text, test.want) || !strings.HasPrefix(text, "store redis://"+s.address+`: get "`+name+`": `) {
				t.Errorf("error %q, want one with %q", text, test.want)
			}
			if strings.Contains(err.Error(), "secret") || strings.Contains(err.Error(), "BEGIN") {
				t.Errorf("error %q quotes a value", err)
			}
		})
	}
	t.Run("and the connection is still good", func(t *testing.T) {
		r := newStore(t, s.at(JSON))
		s.do(t, "SET", "hellogate:large.example", large)
		s.do(t, "SET", "hellogate:good.example", string(one.JSON()))
		for range 3 {
			if _, err := fetch(t, r, "large.example"); err == nil {
				t.Error("no error for the large one")
			}
			if _, err := fetch(t, r, "good.example"); err != nil {
				t.Error(err)
			}
		}
	})
}

func TestFetchRouting(t *testing.T) {
	t.Parallel()
	s := start(t)
	one := certtest.NewCA(t).Issue(t, "a.example")
	s.do(t, "SET", "hellogate:a.example", strings.Replace(string(one.JSON()), "{", `{"backend":"mail",`, 1))
	bundle, err := fetch(t, newStore(t, s.at(JSON)), "a.example")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(&store.Routing{Backend: "mail"}, bundle.Routing); diff != "" {
		t.Error(diff)
	}
}

func TestFetchRefusesNames(t *testing.T) {
	r := newStore(t, Options{URL: "redis://127.0.0.1:1", Layout: Prime2})
	for _, name := range []string{"", "A.example", "a.example.", "127.0.0.1", "a\r\nb", "*.example"} {
		_, err := fetch(t, r, name)
		var failure *store.Failure
		if !errors.As(err, &failure) || !failure.Exempt || failure.Unreachable {
			t.Errorf("%q: error %v, want a failure of that name before anything is asked", name, err)
		}
	}
}

func TestPut(t *testing.T) {
	t.Parallel()
	s := start(t)
	ca := certtest.NewCA(t)
	one, other := ca.Issue(t, "put.example"), ca.Issue(t, "put.example")
	direct := ca.IssueWith(t, certtest.Options{Names: []string{"put.example"}, Direct: true})
	tests := []struct {
		name, layout string
		pairs        []store.Pair
		refused      bool
	}{
		{"prime1", Prime1, []store.Pair{one.Pair}, false},
		{"prime1 again", Prime1, []store.Pair{one.Pair}, false},
		{"prime1 in place", Prime1, []store.Pair{other.Pair}, false},
		{"prime1 without an intermediate", Prime1, []store.Pair{direct.Pair}, false},
		{"prime1 two pairs", Prime1, []store.Pair{one.Pair, other.Pair}, true},
		{"prime2", Prime2, []store.Pair{one.Pair}, false},
		{"prime2 in place", Prime2, []store.Pair{other.Pair}, false},
		{"prime2 two pairs", Prime2, []store.Pair{one.Pair, other.Pair}, true},
		{"json", JSON, []store.Pair{one.Pair}, false},
		{"json two pairs", JSON, []store.Pair{one.Pair, other.Pair}, false},
		{"nothing", JSON, nil, true},
		{"no key", JSON, []store.Pair{{Chain: one.Pair.Chain, Key: []byte("x")}}, true},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			r := newStore(t, s.at(test.layout))
			err := r.Put(context.Background(), "put.example", test.pairs)
			if test.refused {
				var failure *store.Failure
				if !errors.As(err, &failure) || !failure.Exempt || !strings.Contains(err.Error(), `put "put.example": `) {
					t.Errorf("error %v, want a refusal", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			bundle, err := fetch(t, r, "put.example")
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.pairs, bundle.Pairs); diff != "" {
				t.Error(diff)
			}
		})
	}
	t.Run("as others read it", func(t *testing.T) {
		leaf, above := split(one.Chain)
		if err := newStore(t, s.at(Prime1)).Put(context.Background(), "raw.example", []store.Pair{one.Pair}); err != nil {
			t.Fatal(err)
		}
		ids := strings.Split(s.do(t, "HMGET", "d1:raw.example", "c", "p", "i"), ",")
		for i, want := range []string{leaf, string(one.Key), above} {
			if got := s.do(t, "GET", kinds[i]+":"+ids[i]); got != want {
				t.Errorf("%s: %q, want %q", kinds[i], got, want)
			}
		}
		if err := newStore(t, s.at(Prime2)).Put(context.Background(), "raw.example", []store.Pair{one.Pair}); err != nil {
			t.Fatal(err)
		}
		if got, want := s.do(t, "HMGET", "d2:raw.example", "f", "p"), string(one.Chain)+","+string(one.Key); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	})
	t.Run("over another type", func(t *testing.T) {
		s.do(t, "SET", "d2:type.example", "x")
		err := newStore(t, s.at(Prime2)).Put(context.Background(), "type.example", []store.Pair{one.Pair})
		if err == nil || !strings.Contains(err.Error(), "WRONGTYPE") {
			t.Errorf("error %v", err)
		}
	})
}

func TestLogin(t *testing.T) {
	t.Parallel()
	s := start(t, "--requirepass", "right one")
	s.login = []string{"AUTH", "right one"}
	s.do(t, "ACL", "SETUSER", "gate", "on", ">hunter2", "~d2:*", "+@connection", "+hmget")
	file := filepath.Join(t.TempDir(), "password")
	if err := os.WriteFile(file, []byte("hunter2\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name    string
		options Options
		ask     string
		want    error
	}{
		{"password", Options{Password: "right one"}, "no.example", store.ErrUnknown},
		{"wrong password", Options{Password: "wrong one"}, "no.example", store.ErrToken},
		{"none", Options{}, "no.example", store.ErrToken},
		{"user", Options{Username: "gate", PasswordFile: file}, "no.example", store.ErrUnknown},
		{"user in the url", Options{URL: "redis://gate@" + s.address, PasswordFile: file}, "no.example", store.ErrUnknown},
		{"unknown user", Options{Username: "nobody", PasswordFile: file}, "no.example", store.ErrToken},
		{"user who may not", Options{Username: "gate", PasswordFile: file, Layout: JSON}, "no.example", store.ErrToken},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if test.options.URL == "" {
				test.options.URL = "redis://" + s.address
			}
			if test.options.Layout == "" {
				test.options.Layout = Prime2
			}
			_, err := fetch(t, newStore(t, test.options), test.ask)
			if !errors.Is(err, test.want) {
				t.Errorf("error %v, want %v", err, test.want)
			}
			for _, secret := range []string{"right one", "wrong one", "hunter2"} {
				if strings.Contains(err.Error(), secret) {
					t.Errorf("error %q quotes the password", err)
				}
			}
		})
	}
	t.Run("password changes", func(t *testing.T) {
		r := newStore(t, Options{URL: "redis://gate@" + s.address, PasswordFile: file, Layout: Prime2})
		if _, err := fetch(t, r, "no.example"); !errors.Is(err, store.ErrUnknown) {
			t.Fatal(err)
		}
		s.do(t, "ACL", "SETUSER", "gate", "resetpass", ">changed")
		s.do(t, "CLIENT", "KILL", "USER", "gate")
		if _, err := fetch(t, r, "no.example"); !errors.Is(err, store.ErrToken) {
			t.Fatalf("error %v with the old password", err)
		}
		if err := os.WriteFile(file, []byte("changed"), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := fetch(t, r, "no.example"); !errors.Is(err, store.ErrUnknown) {
			t.Fatalf("error %v with the new password", err)
		}
		if err := os.Remove(file); err != nil {
			t.Fatal(err)
		}
		s.do(t, "CLIENT", "KILL", "USER", "gate")
		var failure *store.Failure
		if _, err := fetch(t, r, "no.example"); !errors.As(err, &failure) || !failure.Exempt {
			t.Fatalf("error %v without the file", err)
		}
	})
}

func TestTLS(t *testing.T) {
	t.Parallel()
	ca, folder := certtest.NewCA(t), t.TempDir()
	issued := ca.IssueWith(t, certtest.Options{Names: []string{"localhost"}})
	certFile, keyFile := issued.Write(t, folder, "server")
	caFile, strange := filepath.Join(folder, "ca"), filepath.Join(folder, "strange")
	for file, text := range map[string][]byte{caFile: ca.PEM(), strange: certtest.NewCA(t).PEM()} {
		if err := os.WriteFile(file, text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	secure := freeAddress(t)
	port := secure[strings.LastIndex(secure, ":")+1:]
	start(t, "--tls-port", port, "--tls-cert-file", certFile, "--tls-key-file", keyFile, "--tls-ca-cert-file", caFile)
	tests := []struct {
		name    string
		options Options
		known   bool
	}{
		{"client certificate", Options{URL: "rediss://localhost:" + port, CAFile: caFile, CertFile: certFile, KeyFile: keyFile}, true},
		{"no client certificate", Options{URL: "rediss://localhost:" + port, CAFile: caFile}, false},
		{"strange roots", Options{URL: "rediss://localhost:" + port, CAFile: strange, CertFile: certFile, KeyFile: keyFile}, false},
		{"another host", Options{URL: "rediss://127.0.0.1:" + port, CAFile: caFile, CertFile: certFile, KeyFile: keyFile}, false},
		{"no verification", Options{URL: "rediss://127.0.0.1:" + port, InsecureSkipVerify: true, CertFile: certFile, KeyFile: keyFile}, true},
		{"plain text", Options{URL: "redis://127.0.0.1:" + port, Timeout: time.Second}, false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			test.options.Layout = Prime2
			_, err := fetch(t, newStore(t, test.options), "no.example")
			if known := errors.Is(err, store.ErrUnknown); known != test.known {
				t.Errorf("error %v", err)
			}
		})
	}
}

func TestSocketAndDatabase(t *testing.T) {
	t.Parallel()
	s := start(t)
	one := certtest.NewCA(t).Issue(t, "a.example")
	inNine := newStore(t, Options{URL: "redis://" + s.address + "/9", Layout: JSON})
	if err := inNine.Put(context.Background(), "a.example", []store.Pair{one.Pair}); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name, url string
		known     bool
	}{
		{"host, 9", "redis://" + s.address + "/9", true},
		{"host, 0", "redis://" + s.address + "/0", false},
		{"socket, 9", "unix://" + filepath.Join(s.folder, "s") + "?db=9", true},
		{"socket, 0", "unix://" + filepath.Join(s.folder, "s"), false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			_, err := fetch(t, newStore(t, Options{URL: test.url, Layout: JSON}), "a.example")
			if known := err == nil; known != test.known || err != nil && !errors.Is(err, store.ErrUnknown) {
				t.Errorf("error %v, known %v", err, test.known)
			}
		})
	}
	if _, err := fetch(t, newStore(t, Options{URL: "redis://" + s.address + "/99", Layout: JSON}), "a.example"); err == nil ||
		errors.Is(err, store.ErrUnknown) || !strings.Contains(err.Error(), "database") {
		t.Errorf("a database that is not there: error %v", err)
	}
}

func TestFetchAcrossRestart(t *testing.T) {
	t.Parallel()
	address := ""
	s := start(t)
	r := newStore(t, s.at(Prime2))
	if _, err := fetch(t, r, "no.example"); !errors.Is(err, store.ErrUnknown) {
		t.Fatal(err)
	}
	address = s.address
	s.kill(t)
	var failure *store.Failure
	if _, err := fetch(t, r, "no.example"); !errors.As(err, &failure) || !failure.Unreachable || !strings.Contains(err.Error(), address) {
		t.Fatalf("error %v, want one of connecting", err)
	}
	s.restart(t)
	if _, err := fetch(t, r, "no.example"); !errors.Is(err, store.ErrUnknown) {
		t.Fatalf("error %v after it came back", err)
	}
	s.kill(t)
	s.restart(t)
	if _, err := fetch(t, r, "no.example"); !errors.Is(err, store.ErrUnknown) {
		t.Fatalf("error %v over a connection from before the restart", err)
	}
}
