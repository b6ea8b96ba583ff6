package store

import (
	"net/http"
	"strings"
	"testing"
	"time"
)

func TestFreshness(t *testing.T) {
	known := func(d time.Duration) Freshness { return Freshness{MaxAge: d, Known: true} }
	for _, test := range []struct {
		name, control, age string
		want               Freshness
	}{
		{"nothing", "", "", Freshness{}},
		{"max-age", "max-age=3600", "", known(time.Hour)},
		{"case and space", " Public , MAX-AGE = 60 ", "", known(time.Minute)},
		{"quoted", `max-age="60"`, "", known(time.Minute)},
		{"s-maxage goes first", "max-age=60, s-maxage=120", "", known(2 * time.Minute)},
		{"s-maxage of 0 goes first", "max-age=60, s-maxage=0", "", Freshness{Revalidate: true}},
		{"age", "max-age=60", "20", known(40 * time.Second)},
		{"older than its age", "max-age=60", "100", known(-40 * time.Second)},
		{"age is junk", "max-age=60", "-20", known(time.Minute)},
		{"age is huge", "max-age=60", "99999999999999999999", known((60 - maxSeconds) * time.Second)},
		{"overflow", "max-age=99999999999999999999", "", known(maxSeconds * time.Second)},
		{"zero", "max-age=0", "", Freshness{Revalidate: true}},
		{"no-cache", "no-cache", "", Freshness{Revalidate: true}},
		{
			"no-cache of a field", `no-cache="set-cookie, max-age=9", max-age=60`, "",
			Freshness{Revalidate: true, MaxAge: time.Minute, Known: true},
		},
		{"private", "private, max-age=60", "", Freshness{Revalidate: true, MaxAge: time.Minute, Known: true}},
		{"no-store", "no-store", "", Freshness{NoStore: true}},
		{"the first counts", "max-age=60, max-age=120", "", known(time.Minute)},
		{"junk goes by", "max-age=abc, ,=,;, max-age=-1, max-age=1.5, max-age=, max-age", "", Freshness{}},
		{"junk before a value", "max-age=abc, max-age=60", "", known(time.Minute)},
		{"inside of quotes", `x="a\", max-age=5", max-age=60`, "", known(time.Minute)},
		{"open quote", `x="a, max-age=5`, "", Freshness{}},
	} {
		t.Run(test.name, func(t *testing.T) {
			header := http.Header{"Cache-Control": {test.control}, "Age": {test.age}}
			if got := freshness(header); got != test.want {
				t.Errorf("freshness of %q, age %q: %+v, want %+v", test.control, test.age, got, test.want)
			}
		})
	}
	t.Run("several lines", func(t *testing.T) {
		header := http.Header{"Cache-Control": {"public", "max-age=60"}}
		if got := freshness(header); got != known(time.Minute) {
			t.Errorf("got %+v", got)
		}
	})
}

func TestRetryAfter(t *testing.T) {
	now := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	for _, test := range []struct {
		name, value string
		want        time.Duration
	}{
		{"nothing", "", 0},
		{"seconds", "7", 7 * time.Second},
		{"zero", "0", 0},
		{"too long", "3600", MaxRetryAfter},
		{"overflow", "99999999999999999999999", MaxRetryAfter},
		{"negative", "-5", 0},
		{"junk", "soon", 0},
		{"date", "Sun, 22 Nov 2026 12:00:30 GMT", 30 * time.Second},
		{"far date", "Sun, 22 Nov 2026 13:00:00 GMT", MaxRetryAfter},
		{"past date", "Sun, 22 Nov 2026 11:00:00 GMT", 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got := retryAfter(http.Header{"Retry-After": {test.value}}, now); got != test.want {
				t.Errorf("got %s, want %s", got, test.want)
			}
		})
	}
}

func TestValidator(t *testing.T) {
	const date = "Sun, 22 Nov 2026 12:00:30 GMT"
	for _, test := range []struct{ name, etag, modified, want string }{
		{"both", `"a"`, date, `"a"`},
		{"a date alone", "", date, ""},
		{"weak", `W/"a"`, "", `W/"a"`},
		{"empty tag", `""`, "", `""`},
		{"star would match anything", `*`, "", ""},
		{"no quotes", `a`, "", ""},
		{"one quote", `"`, "", ""},
		{"a list", `"a", "b"`, "", ""},
		{"control character", "\"a\x01\"", "", ""},
		{"too long", `"` + strings.Repeat("a", 257) + `"`, "", ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			got := validator(http.Header{"Etag": {test.etag}, "Last-Modified": {test.modified}})
			if want := (Validator{ETag: test.want}); got != want {
				t.Errorf("got %+v, want %+v", got, want)
			}
		})
	}
}

func FuzzCacheControl(f *testing.F) {
	for _, seed := range []string{
		"", "max-age=60", `max-age="60", s-maxage=120`, `no-cache="a, b", private`, `x="\`, "max-age=99999999999999999999",
		",,=,\x00", "no-store,max-age=-1",
	} {
		f.Add(seed, "10")
	}
	f.Fuzz(func(t *testing.T, control, age string) {
		fresh := freshness(http.Header{"Cache-Control": {control}, "Age": {age}})
		if most := maxSeconds * time.Second; fresh.MaxAge > most || fresh.MaxAge < -most {
			t.Errorf("%q, age %q: %s is out of bounds", control, age, fresh.MaxAge)
		}
		if !fresh.Known && fresh.MaxAge != 0 {
			t.Errorf("%q: unknown, but %s", control, fresh.MaxAge)
		}
		if again := freshness(http.Header{"Cache-Control": {control, ""}, "Age": {age}}); again != fresh {
			t.Errorf("%q: %+v, with an empty line behind it %+v", control, fresh, again)
		}
	})
}
