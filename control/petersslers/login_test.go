package petersslers

import (
	"encoding/json"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"

	"hellogate/store"
)

func TestLogin(t *testing.T) {
	r := serve(t, func(o *Options) { o.Username, o.Password = "ops", says("pass:marker") })
	for _, test := range []struct {
		name, user string
		status     int
	}{
		{"none", "", 401},
		{"right", "ops:pass:marker", 200},
		{"wrong password", "ops:pass:marke", 401},
		{"wrong user", "op:pass:marker", 401},
		{"empty", ":", 401},
		{"user alone", "ops:", 401},
		{"password in the user's place", "pass:marker:ops", 401},
	} {
		t.Run(test.name, func(t *testing.T) {
			for _, path := range []string{"/status", "/expire/all", "/expire/domain/a.example", "/nowhere"} {
				want := test.status
				if path == "/nowhere" && want == 200 {
					want = 404
				}
				status, body, header := r.ask(t, "GET", prefix+path, test.user)
				if status != want {
					t.Errorf("%s: %d, want %d", path, status, want)
				}
				if status != 401 {
					continue
				}
				if body != `{"result":"error","expired":"None","reason":"Unauthorized",`+by {
					t.Errorf("%s: %s", path, body)
				}
				if got := header.Get("WWW-Authenticate"); got != `Basic realm="hellogate", charset="UTF-8"` {
					t.Errorf("%s: challenge %q", path, got)
				}
			}
		})
	}
	if want := []string{"*", "a.example"}; !slices.Equal(r.cache.flushes, want) {
		t.Errorf("flushed %v, want %v: once each, by who may", r.cache.flushes, want)
	}
	if strings.Contains(r.log.String(), "marker") {
		t.Errorf("the log shows the password: %s", r.log)
	}
}

func TestLog(t *testing.T) {
	r := serve(t, func(o *Options) { o.Username, o.Password = "ops", says("marker") })
	r.cache.names = []string{"a.example", "b.example"}
	for range 20 {
		r.ask(t, "GET", prefix+"/expire/all", "ops:wrong")
	}
	r.ask(t, "GET", prefix+"/status", "ops:marker")
	r.ask(t, "GET", prefix+"/expire/domain/a.example", "ops:marker")
	r.ask(t, "GET", prefix+"/expire/all", "ops:marker")
	lines := strings.Split(strings.TrimSpace(r.log.String()), "\n")
	var got []map[string]any
	refused := 0
	for _, line := range lines {
		var entry map[string]any
		if err := json.Unmarshal([]byte(line), &entry); err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		if host, _, _ := net.SplitHostPort(fmt.Sprint(entry["peer"])); host != "127.0.0.1" {
			t.Errorf("no peer: %s", line)
		}
		delete(entry, "peer")
		if entry["level"] == "warn" {
			refused++
			continue
		}
		got = append(got, entry)
	}
	want := []map[string]any{
		{"level": "info", "name": "a.example", "flushed": 1.0, "pinned": 0.0, "message": "peter_sslers: expire"},
		{"level": "info", "all": true, "flushed": 1.0, "pinned": 0.0, "message": "peter_sslers: expire"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if refused == 0 || refused > 10 {
		t.Errorf("%d lines for 20 requests that were refused: some expected, not each", refused)
	}
}

// TestNoPasswordIsNone: nobody gets in with none, however it came to that.
func TestNoPasswordIsNone(t *testing.T) {
	var now atomic.Value
	now.Store("marker")
	r := serve(t, func(o *Options) {
		o.Username, o.Password = "ops", func() (string, error) { return now.Load().(string), nil }
	})
	now.Store("")
	for password, want := range map[string]int{"": 401, "marker": 200} {
		if status, _, _ := r.ask(t, "GET", prefix+"/status", "ops:"+password); status != want {
			t.Errorf("%q: %d, want %d", password, status, want)
		}
	}
	if _, err := Listen(Options{Address: "127.0.0.1:0", Username: "ops", Password: says("")}); err == nil || !strings.Contains(err.Error(), "password is empty") {
		t.Errorf("begun without one: %v", err)
	}
}

// TestPasswordChanges: a request must show what the file holds when it comes. One that can't be read leaves the last in
// force, which is said once.
func TestPasswordChanges(t *testing.T) {
	path := filepath.Join(t.TempDir(), "password")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(path+".new", []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(path+".new", path); err != nil {
			t.Fatal(err)
		}
	}
	write("marker-one\n")
	r := serve(t, func(o *Options) { o.Username, o.Password = "ops", store.PasswordFile(path) })
	admits := func(when, password string, want int) {
		t.Helper()
		if status, _, _ := r.ask(t, "GET", prefix+"/status", "ops:"+password); status != want {
			t.Errorf("%s: %d for %s, want %d", when, status, password, want)
		}
	}
	admits("at first", "marker-one", 200)
	write("marker-two\n")
	admits("changed", "marker-one", 401)
	admits("changed", "marker-two", 200)
	for _, gone := range []func(){func() { os.Remove(path) }, func() { write("\n") }} {
		gone()
		for range 3 {
			admits("unreadable", "marker-two", 200)
			admits("unreadable", "", 401)
		}
		write("marker-two\n")
		admits("back", "marker-two", 200)
	}
	if count := strings.Count(r.log.String(), "the last one counts"); count != 2 {
		t.Errorf("said %d times, want once each: %s", count, r.log)
	}
	if strings.Contains(r.log.String(), "marker") {
		t.Errorf("the log shows the password: %s", r.log)
	}
}
