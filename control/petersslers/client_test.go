package petersslers

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"hellogate/cache"
	"hellogate/store"
	"hellogate/store/certtest"
)

// pool asks as a peter_sslers server asks the nginx servers that its configuration names.
type pool struct {
	servers  []string // nginx.servers_pool
	userpass string   // nginx.userpass
	client   *http.Client
}

// The defaults of a peter_sslers server.
const (
	resetPath  = "/.peter_sslers/nginx/shared_cache/expire"
	statusPage = "/.peter_sslers/nginx/shared_cache/status"
)

// document is the JSON of an answer with status 200; nil is anything else.
func (p pool) document(t *testing.T, url string) map[string]any {
	t.Helper()
	request, err := http.NewRequest(http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	if username, password, found := strings.Cut(p.userpass, ":"); found {
		request.SetBasicAuth(username, password)
	}
	response, err := p.client.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	var document map[string]any
	if response.StatusCode != http.StatusOK || json.Unmarshal(body, &document) != nil {
		return nil
	}
	return document
}

// expire asks every server for something below the reset path, and says which of them did it.
func (p pool) expire(t *testing.T, what string) (success []bool) {
	t.Helper()
	for _, server := range p.servers {
		success = append(success, p.document(t, server+resetPath+what)["result"] == "success")
	}
	return success
}

func TestTheirClient(t *testing.T) {
	login := func(o *Options) { o.Username, o.Password = "ops", says("marker") }
	first, second := serve(t, login), serve(t, nil)
	for _, r := range []*running{first, second} {
		r.cache.names, r.cache.unknown = []string{"a.example", "b.example"}, []string{"c.example"}
	}
	client := &http.Client{Transport: new(http.Transport)}
	defer client.CloseIdleConnections()
	signedIn := pool{servers: []string{first.url, second.url}, userpass: "ops:marker", client: client}
	stranger := pool{servers: signedIn.servers, client: client}

	if got := stranger.expire(t, "/all"); !slices.Equal(got, []bool{false, true}) {
		t.Errorf("all, without a login: %v", got)
	}
	if got := signedIn.expire(t, "/domain/a.example"); !slices.Equal(got, []bool{true, true}) {
		t.Errorf("a name: %v", got)
	}
	keys := func(server string) any { return signedIn.document(t, server+statusPage)["keys"] }
	want := map[string]any{"valid": []any{"b.example"}, "invalid": []any{"c.example"}, "autocert": []any{}}
	if diff := cmp.Diff(want, keys(first.url)); diff != "" {
		t.Errorf("status: %s", diff)
	}
	if got := signedIn.expire(t, "/all"); !slices.Equal(got, []bool{true, true}) {
		t.Errorf("all: %v", got)
	}
	want = map[string]any{"valid": []any{}, "invalid": []any{}, "autocert": []any{}}
	if diff := cmp.Diff(want, keys(first.url)); diff != "" {
		t.Errorf("status: %s", diff)
	}
	if got := signedIn.expire(t, "/everything"); !slices.Equal(got, []bool{false, false}) {
		t.Errorf("a path of nothing: %v", got)
	}
}

// counting is a store that has one certificate, and counts how often it was asked.
type counting struct {
	issued certtest.Issued
	asked  atomic.Int32
}

func (c *counting) Fetch(context.Context, store.Request) (*store.Bundle, error) {
	c.asked.Add(1)
	return &store.Bundle{Pairs: []store.Pair{c.issued.Pair}, Store: "counting"}, nil
}

// TestExpireReallyExpires: lua-resty-peter_sslers answers that it expired a name, and goes on serving what it has.
func TestExpireReallyExpires(t *testing.T) {
	asked := &counting{issued: certtest.NewCA(t).Issue(t, "a.example")}
	held := cache.New(cache.Options{Store: asked})
	defer held.Close()
	r := serve(t, func(o *Options) { o.Certificates = held })
	for _, step := range []struct {
		path string
		want int32
	}{
		{"", 1},
		{"", 1},
		{"/expire/domain/a.example", 2},
		{"", 2},
		{"/expire/domain/b.example", 2},
		{"/expire/all", 3},
	} {
		if step.path != "" {
			if status, body, _ := r.ask(t, "GET", prefix+step.path, ""); status != 200 {
				t.Fatalf("%s: %d %s", step.path, status, body)
			}
		}
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		_, err := held.Get(ctx, cache.Query{Name: "a.example"})
		cancel()
		if err != nil {
			t.Fatal(err)
		}
		if got := asked.asked.Load(); got != step.want {
			t.Errorf("after %q: the store was asked %d times, want %d", step.path, got, step.want)
		}
	}
}
