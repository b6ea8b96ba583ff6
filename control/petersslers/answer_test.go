package petersslers

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"testing"

	"hellogate/control/handover"
)

const by = `"server":"peter_sslers:hellogate","server_version":"1.2.3"}` + "\n"

func TestRoutes(t *testing.T) {
	unknown := `{"result":"error","expired":"None","reason":"Unknown URI",` + by
	for _, test := range []struct {
		method, path string
		status       int
		body         string
		flushes      []string
	}{
		{"GET", prefix + "/expire/all", 200, `{"result":"success","expired":"all",` + by, []string{"*"}},
		{"GET", prefix + "/expire/domain/a.example", 200, `{"result":"success","expired":"domain","domain":"a.example",` + by, []string{"a.example"}},
		{"GET", prefix + "/expire/domain/A.Example.", 200, `{"result":"success","expired":"domain","domain":"a.example",` + by, []string{"a.example"}},
		{"GET", prefix + "/expire/domain/not-cached.example", 200, `{"result":"success","expired":"domain","domain":"not-cached.example",` + by, []string{"not-cached.example"}},
		{"GET", prefix + "/expire/domain/_x.example?y=1", 200, `{"result":"success","expired":"domain","domain":"_x.example",` + by, []string{"_x.example"}},
		{"GET", prefix + "/expire/domain/a..example", 400, `{"result":"error","expired":"None","reason":"name \"a..example\": empty label",` + by, nil},
		{"GET", prefix + "/expire/domain/10.0.0.1", 400, `{"result":"error","expired":"None","reason":"name \"10.0.0.1\": last label is a number, as in an IP address",` + by, nil},
		{"GET", prefix + "/expire/domain/", 404, unknown, nil},
		{"GET", prefix + "/expire/domain/*.example", 404, unknown, nil},
		{"GET", prefix + "/expire/domain/a.example/", 404, unknown, nil},
		{"GET", prefix + "/expire/domain/a%2eexample", 404, unknown, nil},
		{"GET", prefix + "/expire/domain/../all", 404, unknown, nil},
		{"GET", prefix + "/expire/domain/%0d%0aall", 404, unknown, nil},
		{"GET", prefix + "/expire", 404, unknown, nil},
		{"GET", prefix + "/expire/all/", 404, unknown, nil},
		{"GET", prefix + "/expire//all", 404, unknown, nil},
		{"GET", "/", 404, unknown, nil},
		{"GET", "/flush/all", 404, unknown, nil},
		{"POST", prefix + "/expire/all", 405, `{"result":"error","expired":"None","reason":"only GET is answered",` + by, nil},
		{"DELETE", prefix + "/status", 405, `{"result":"error","expired":"None","reason":"only GET is answered",` + by, nil},
	} {
		t.Run(test.method+" "+test.path, func(t *testing.T) {
			r := serve(t, nil)
			status, body, header := r.ask(t, test.method, test.path, "")
			if status != test.status || body != test.body {
				t.Errorf("%d %s\nwant %d %s", status, body, test.status, test.body)
			}
			if status == http.StatusMethodNotAllowed && header.Get("Allow") != "GET" {
				t.Errorf("allow %q", header.Get("Allow"))
			}
			if !slices.Equal(r.cache.flushes, test.flushes) {
				t.Errorf("flushed %v, want %v", r.cache.flushes, test.flushes)
			}
		})
	}
}

func TestStatus(t *testing.T) {
	r := serve(t, nil)
	want := func(valid, invalid string) string {
		return `{"result":"success","note":"` + note + `","keys":{"valid":[` + valid + `],"invalid":[` + invalid + `],"autocert":[]},` +
			`"config":{"expiries":{"ngx.shared.cert_cache":0,"resty.lrucache":0},"maxitems":{"resty.lrucache":0}},` + by
	}
	if status, body, _ := r.ask(t, "GET", prefix+"/status", ""); status != 200 || body != want("", "") {
		t.Errorf("empty: %d %s", status, body)
	}
	r.cache.names, r.cache.unknown = []string{"a.example", "a.example", "b.example"}, []string{"c.example"}
	if _, body, _ := r.ask(t, "GET", prefix+"/status", ""); body != want(`"a.example","b.example"`, `"c.example"`) {
		t.Errorf("got %s", body)
	}
}

func TestStatusIsBounded(t *testing.T) {
	r := serve(t, nil)
	for i := range 2000 {
		r.cache.unknown = append(r.cache.unknown, fmt.Sprintf("u%04d.example", i))
		if i < 1000 {
			r.cache.names = append(r.cache.names, fmt.Sprintf("n%04d.example", i))
		}
	}
	_, body, _ := r.ask(t, "GET", prefix+"/status", "")
	var got status
	if err := json.Unmarshal([]byte(body), &got); err != nil {
		t.Fatal(err)
	}
	if len(got.Keys.Valid) != 1000 || len(got.Keys.Invalid) != 24 {
		t.Errorf("%d valid, %d invalid", len(got.Keys.Valid), len(got.Keys.Invalid))
	}
}

// What may be on disk still is not said to have expired, nor what can't be flushed now.
func TestExpireFails(t *testing.T) {
	for _, failing := range []struct {
		err  error
		want int
	}{{errors.New("the disk could not be looked through"), 500}, {handover.ErrBusy, 503}} {
		for _, path := range []string{"/expire/all", "/expire/domain/a.example"} {
			r := serve(t, nil)
			r.cache.fails = failing.err
			want := `{"result":"error","expired":"None","reason":"` + failing.err.Error() + `",` + by
			if status, body, _ := r.ask(t, "GET", prefix+path, ""); status != failing.want || body != want {
				t.Errorf("%s: %d %s", path, status, body)
			}
		}
	}
}
