package control

import (
	"errors"
	"fmt"
	"strings"
	"testing"
)

// A flush that could not look at all of the disk is no success: the answer says what it could not do, and what it did.
func TestFlushFails(t *testing.T) {
	for _, c := range []struct{ name, path, body string }{
		{"a name", "/flush/a.example", ""},
		{"all", "/flush/all", ""},
		{"names", "/flush", `{"names":["a.example"]}`},
		{"pattern", "/flush", `{"pattern":"*.example"}`},
		{"fingerprint", "/flush", `{"fingerprint":"` + fmt.Sprintf("%064x", 9) + `"}`},
		{"several", "/flush", `{"names":["a.example"],"all":true}`},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := serve(t, nil, "a.example")
			r.cache.flushError = errors.New("the disk could not be looked through")
			status, text, _ := r.ask(t, "POST", c.path, c.body)
			want := `{"result":"error","reason":"the disk could not be looked through","flushed":["a.example"],"pinned":[]}`
			if status != 500 || strings.TrimSpace(text) != want {
				t.Errorf("%d %s", status, text)
			}
			if !strings.Contains(r.log.String(), `"level":"error"`) {
				t.Errorf("logged %s", r.log)
			}
		})
	}
}

// The command gets the reason however much was flushed.
func TestClientSaysWhyAFlushFailed(t *testing.T) {
	r := serve(t, nil)
	for i := range 10_000 {
		r.cache.infos = append(r.cache.infos, certificate(fmt.Sprintf("name-%d.example", i)))
	}
	r.cache.flushError = errors.New("the disk could not be looked through")
	_, err := r.client.Flush(t.Context(), FlushRequest{All: true})
	if err == nil || err.Error() != "the disk could not be looked through" {
		t.Fatalf("got %v", err)
	}
}
