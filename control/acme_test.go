package control

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"hellogate/cache"
	"hellogate/store"
)

// fakeACME is a store that orders what a test says.
type fakeACME struct {
	name    string
	names   []ACMEName
	renew   func(ctx context.Context, name string, force bool) (ACMERenewal, error)
	revoked []string // name and reason
}

func (f *fakeACME) Name() string              { return f.name }
func (f *fakeACME) Names() iter.Seq[ACMEName] { return slices.Values(f.names) }
func (f *fakeACME) Orders() map[string]uint64 { return map[string]uint64{"ok": 7, "failed": 2} }

func (f *fakeACME) Show(_ context.Context, name string) (ACMEName, bool) {
	for _, known := range f.names {
		if known.Name == name {
			return known, true
		}
	}
	return ACMEName{}, false
}

func (f *fakeACME) Renew(ctx context.Context, name string, force bool) (ACMERenewal, error) {
	return f.renew(ctx, name, force)
}

func (f *fakeACME) Revoke(_ context.Context, name string, reason int) error {
	f.revoked = append(f.revoked, fmt.Sprint(name, " ", reason))
	return nil
}

// acmeAt is the time from which a test's names are, to the second.
func acmeAt() time.Time { return time.Now().UTC().Truncate(time.Second) }

func in(from time.Time, d time.Duration) *time.Time {
	at := from.Add(d)
	return &at
}

// ordered are two stores that know of names in all states.
func ordered(from time.Time) (first, second *fakeACME) {
	failed := &ACMETry{At: in(from, -time.Minute), Result: "failed", Error: "429: too many", Steps: []ACMEStep{{At: from, Type: "order", Detail: "new"}}}
	first = &fakeACME{name: "ca", names: []ACMEName{
		{Name: "a.example", Managed: true, State: ACMEValid, NotAfter: in(from, 60*24*time.Hour), DueAt: in(from, 30*24*time.Hour), NextAt: in(from, 30*24*time.Hour), KeyTypes: []string{"p256"}, CA: "https://ca"},
		{Name: "*.wild.example", Managed: true, State: ACMEValid, NotAfter: in(from, 60*24*time.Hour), KeyTypes: []string{"p256"}},
		{Name: "b.example", State: ACMEFailed, NotAfter: in(from, 24*time.Hour), DueAt: in(from, -29*24*time.Hour), NextAt: in(from, time.Hour), Errors: 3, Last: failed, KeyTypes: []string{"p256"}},
		{Name: "c.example", State: ACMEFailed, Errors: 1, Last: failed, KeyTypes: []string{}},
	}}
	second = &fakeACME{name: "other", names: []ACMEName{
		{Name: "d.example", State: ACMEExpired, NotAfter: in(from, -time.Hour), DueAt: in(from, -30*24*time.Hour), KeyTypes: []string{}, Last: failed},
	}}
	return first, second
}

func withOrders(stores ...ACME) func(*Options) {
	return func(o *Options) { o.ACME = func() []ACME { return stores } }
}

func TestACMEList(t *testing.T) {
	first, second := ordered(acmeAt())
	r := serve(t, withOrders(first, second))
	for _, c := range []struct {
		pattern string
		want    []string
	}{
		{"", []string{"a.example", "*.wild.example", "b.example", "c.example", "d.example"}},
		{"*", []string{"a.example", "*.wild.example", "b.example", "c.example", "d.example"}},
		{".example", []string{"a.example", "*.wild.example", "b.example", "c.example", "d.example"}},
		{"*.example", []string{"a.example", "b.example", "c.example", "d.example"}},
		{"*.wild.example", []string{"*.wild.example"}},
		{"www.wild.example", nil},
		{"any.wild.example", nil},
		{"d.example", []string{"d.example"}},
	} {
		var got, stores []string
		for each, err := range r.client.ACME(t.Context(), c.pattern) {
			if err != nil {
				t.Fatal(err)
			}
			stores = append(stores, each.Store)
			for _, name := range each.Names {
				got = append(got, name.Name)
			}
		}
		if !slices.Equal(got, c.want) || !slices.Equal(stores, []string{"ca", "other"}) {
			t.Errorf("%q: %q of %q", c.pattern, got, stores)
		}
	}
}

func TestACMEName(t *testing.T) {
	first, second := ordered(acmeAt())
	r := serve(t, withOrders(first, second))
	for _, c := range []struct{ name, found, store string }{
		{"a.example", "a.example", "ca"},
		{"d.example", "d.example", "other"},
		{"*.wild.example", "*.wild.example", "ca"},
		{"www.wild.example", "*.wild.example", "ca"},
	} {
		got, err := r.client.ACMEName(t.Context(), c.name)
		if err != nil || got.Name != c.found || got.Store != c.store {
			t.Errorf("%s: %+v, %v", c.name, got, err)
		}
	}
	got, _ := r.client.ACMEName(t.Context(), "b.example")
	want := first.names[2]
	want.Store = "ca"
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	for path, want := range map[string]int{
		"/acme/wild.example": 404, "/acme/a.www.wild.example": 404, "/acme/..": 404, "/acme/a%2Fb": 400, "/acme/*.*": 400, "/acme?pattern=a..b": 400, "/acme?patern=a": 400,
	} {
		if status, text, _ := r.ask(t, "GET", path, ""); status != want {
			t.Errorf("%s: %d %s", path, status, text)
		}
	}
}

// Where nothing is ordered the lists are empty, and no name is known.
func TestNoACME(t *testing.T) {
	r := serve(t, nil)
	if _, text, _ := r.ask(t, "GET", "/acme", ""); text != `{"acme":[]}`+"\n" {
		t.Error(text)
	}
	if status, _, _ := r.ask(t, "POST", "/acme/a.example/renew", "{}"); status != 404 {
		t.Error(status)
	}
	if _, text, _ := r.ask(t, "GET", "/metrics", ""); strings.Contains(text, "acme") {
		t.Error("metrics of nothing")
	}
}

func TestRenew(t *testing.T) {
	from := acmeAt()
	first, second := ordered(from)
	first.renew = func(_ context.Context, name string, force bool) (ACMERenewal, error) {
		switch {
		case strings.HasPrefix(name, "www."):
			return ACMERenewal{}, errors.New("the wildcard is what is renewed")
		case name == "b.example":
			return ACMERenewal{}, errors.New(`acme https://ca: order "b.example": rateLimited: too many`)
		case name == "c.example":
			return ACMERenewal{}, fmt.Errorf("c.example: %w", store.ErrUnknown)
		}
		return ACMERenewal{Renewed: force, DueAt: in(from, time.Hour)}, nil
	}
	r := serve(t, withOrders(first, second))
	for _, force := range []bool{true, false} {
		got, err := r.client.Renew(t.Context(), "www.wild.example", force)
		if want := (ACMERenewal{Result: "success", Renewed: force, DueAt: in(from, time.Hour)}); err != nil || cmp.Diff(want, got) != "" {
			t.Errorf("%+v, %v", got, err)
		}
	}
	for _, c := range []struct {
		name, reason string
		code         int
	}{
		{"b.example", `acme https://ca: order "b.example": rateLimited: too many`, 502},
		{"c.example", "c.example: unknown name", 404},
		{"nobody.example", "nobody.example: no certificate is ordered for it", 404},
	} {
		_, err := r.client.Renew(t.Context(), c.name, false)
		if refused, ok := errors.AsType[*Refused](err); !ok || refused.Code != c.code || refused.Reason != c.reason {
			t.Errorf("%s: %v", c.name, err)
		}
	}
	for body, want := range map[string]int{"": 400, `{"forse":true}`: 400, `{"force":1}`: 400, `{}`: 200} {
		if status, text, _ := r.ask(t, "POST", "/acme/a.example/renew", body); status != want {
			t.Errorf("%s: %d %s", body, status, text)
		}
	}
	if text := r.log.String(); !strings.Contains(text, `"name":"*.wild.example","force":true,"message":"control: acme renew"`) || !strings.Contains(text, `"uid":`) {
		t.Error(text)
	}
}

// A renewal may take longer than any other request, and ends with the client that asked.
func TestRenewWaits(t *testing.T) {
	first, second := ordered(acmeAt())
	ended := make(chan struct{})
	first.renew = func(ctx context.Context, _ string, _ bool) (ACMERenewal, error) {
		<-ctx.Done()
		close(ended)
		return ACMERenewal{}, ctx.Err()
	}
	r := serve(t, withOrders(first, second))
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	if _, err := r.client.Renew(ctx, "a.example", true); err == nil {
		t.Error("it was renewed")
	}
	<-ended
}

func TestRevoke(t *testing.T) {
	first, second := ordered(acmeAt())
	r := serve(t, withOrders(first, second))
	for _, reason := range []string{"", "key_compromise"} {
		if err := r.client.Revoke(t.Context(), "d.example", reason); err != nil {
			t.Error(err)
		}
	}
	if want := []string{"d.example 0", "d.example 1"}; !slices.Equal(second.revoked, want) || len(first.revoked) > 0 {
		t.Errorf("revoked %q, and elsewhere %q", second.revoked, first.revoked)
	}
	err := r.client.Revoke(t.Context(), "d.example", "boredom")
	if refused, ok := errors.AsType[*Refused](err); !ok || refused.Code != 400 || refused.Reason != `reason "boredom" is not one that a CA takes` {
		t.Error(err)
	}
}

// What only looks may be asked of the read socket, and no more.
func TestACMEReadOnly(t *testing.T) {
	first, second := ordered(acmeAt())
	options := Options{Certificates: new(fakeCache), Traffic: fakeTraffic{}}
	withOrders(first, second)(&options)
	server := NewServer(options)
	for request, want := range map[string]int{
		"GET /acme": 200, "GET /acme/a.example": 200, "POST /acme/a.example/renew": 405, "POST /acme/a.example/revoke": 405,
	} {
		if got := answered(t, server.reads(), request); got != want {
			t.Errorf("%s: %d", request, got)
		}
	}
	if got := answered(t, server.monitoring(), "GET /acme"); got != 404 {
		t.Errorf("admin address: %d", got)
	}
}

func TestACMEInStatus(t *testing.T) {
	from := acmeAt()
	first, second := ordered(from)
	r := serve(t, withOrders(first, second))
	status, err := r.client.Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if len(status.ACME) != 2 {
		t.Fatalf("%+v", status.ACME)
	}
	got := status.ACME[0]
	if got.Store != "ca" || got.Names[ACMEValid] != 2 || got.Names[ACMEFailed] != 2 || got.Expiring != 1 || !got.NextAt.Equal(from.Add(time.Hour)) {
		t.Errorf("%+v", got)
	}
	var troubled []string
	for _, name := range got.Troubled {
		troubled = append(troubled, name.Name)
		if name.Last == nil || name.Last.Error == "" {
			t.Errorf("last try %+v", name.Last)
		}
	}
	if !slices.Equal(troubled, []string{"c.example", "b.example"}) {
		t.Errorf("in trouble: %q", troubled)
	}
	want := []string{
		"acme ca: 1 certificate expires soon and could not be renewed", "acme ca: 1 name's order failed at the last try",
		"acme other: 1 certificate has expired and could not be renewed",
	}
	if status.State != StateDegraded || !slices.Equal(status.Problems, want) {
		t.Errorf("%s: %q", status.State, status.Problems)
	}
}

// A name whose renewal has only begun to fail has a certificate for long.
func TestExpiring(t *testing.T) {
	from := acmeAt()
	for _, c := range []struct {
		name ACMEName
		want bool
	}{
		{ACMEName{State: ACMEFailed, DueAt: in(from, -24*time.Hour), NotAfter: in(from, 29*24*time.Hour)}, false},
		{ACMEName{State: ACMEFailed, DueAt: in(from, -22*24*time.Hour), NotAfter: in(from, 8*24*time.Hour)}, true},
		{ACMEName{State: ACMEFailed}, false},
		{ACMEName{State: ACMEExpired, DueAt: in(from, -31*24*time.Hour), NotAfter: in(from, -time.Hour)}, false},
	} {
		if got := c.name.expiring(from); got != c.want {
			t.Errorf("%+v: %v", c.name, got)
		}
	}
}

func TestACMEMetrics(t *testing.T) {
	from := acmeAt()
	first, second := ordered(from)
	_, text, _ := serve(t, withOrders(first, second)).ask(t, "GET", "/metrics", "")
	for _, want := range []string{
		`hellogate_acme_orders_total{store="ca",result="failed"} 2`, `hellogate_acme_orders_total{store="other",result="ok"} 7`,
		`hellogate_acme_names{store="ca",state="valid"} 2`, `hellogate_acme_names{store="ca",state="ordering"} 0`, `hellogate_acme_names{store="other",state="expired"} 1`,
		`hellogate_acme_expiring{store="ca"} 1`, fmt.Sprintf(`hellogate_acme_next_timestamp_seconds{store="ca"} %d`, from.Add(time.Hour).Unix()),
	} {
		if !strings.Contains(text, want+"\n") {
			t.Errorf("no %s", want)
		}
	}
	for _, never := range []string{"a.example", `acme_next_timestamp_seconds{store="other"}`} {
		if strings.Contains(text, never) {
			t.Errorf("%s is there", never)
		}
	}
}

// cert show and explain say when a name is due, what the last try did and when the next is.
func TestACMEInExplainAndCert(t *testing.T) {
	from := acmeAt()
	first, second := ordered(from)
	r := serve(t, withOrders(first, second), "b.example", "www.wild.example", "foreign.example")
	r.cache.infos[0].Store, r.cache.infos[1].Store = "ca", "ca"
	for name, want := range map[string]string{
		"b.example":        "failed until " + from.Add(24*time.Hour).Format(time.RFC3339) + "; last try 1m",
		"c.example":        "failed; last try 1m",
		"a.example":        "valid until " + from.Add(60*24*time.Hour).Format(time.RFC3339) + "; due " + from.Add(30*24*time.Hour).Format(time.RFC3339),
		"www.wild.example": "*.wild.example valid until " + from.Add(60*24*time.Hour).Format(time.RFC3339),
	} {
		explanation, err := r.client.Explain(t.Context(), name, ExplainOptions{})
		if err != nil {
			t.Fatal(err)
		}
		at := slices.IndexFunc(explanation.Steps, func(s Step) bool { return s.Step == "acme" })
		if at < 0 || !strings.HasPrefix(explanation.Steps[at].Result, want) {
			t.Errorf("%s: %v, want %s", name, explanation.Steps, want)
		}
	}
	failed, _ := r.client.Explain(t.Context(), "b.example", ExplainOptions{})
	if text := fmt.Sprint(failed.Steps); !strings.Contains(text, "429: too many (after order); 3 errors in a row; next try "+from.Add(time.Hour).Format(time.RFC3339)) {
		t.Error(text)
	}
	for name, want := range map[string]string{"b.example": "b.example", "www.wild.example": "*.wild.example", "foreign.example": ""} {
		cert, err := r.client.Cert(t.Context(), name)
		got := ""
		if cert.ACME != nil {
			got = cert.ACME.Name
		}
		if err != nil || got != want {
			t.Errorf("%s: ordered for %q, %v", name, got, err)
		}
	}
}

// A name that is served by another store's certificate is not said to be ordered.
func TestOrderOfAnotherStore(t *testing.T) {
	first, _ := ordered(acmeAt())
	server := NewServer(Options{ACME: func() []ACME { return []ACME{first} }})
	if got := server.orderOf(t.Context(), cache.Info{Name: "a.example", Store: "elsewhere"}); got != nil {
		t.Errorf("%+v", got)
	}
}

// answered is the status that a request is answered with.
func answered(t *testing.T, handler http.Handler, request string) int {
	t.Helper()
	method, path, _ := strings.Cut(request, " ")
	recorder := httptest.NewRecorder()
	handler.ServeHTTP(recorder, httptest.NewRequest(method, path, strings.NewReader("{}")))
	return recorder.Code
}
