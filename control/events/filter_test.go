package events

import (
	"fmt"
	"net/url"
	"strings"
	"testing"
)

func TestFilter(t *testing.T) {
	events := []Event{
		{Event: Fetched, Name: "a.example"},
		{Event: Failed, Name: "a.example"},
		{Event: Fetched, Name: "x.b.example"},
		{Event: Flushed, Names: []string{"c.example", "x.b.example"}},
		{Event: Flushed, Names: []string{"c.example"}},
		{Event: Flushed},
	}
	for query, want := range map[string]string{
		"":                              "0 1 2 3 4 5",
		"event=fetched":                 "0 2",
		"event=fetched,failed":          "0 1 2",
		"event=fetched&event=failed":    "0 1 2",
		"name=a.example":                "0 1",
		"name=*.b.example":              "2 3",
		"name=*.b.example,A.example.":   "0 1 2 3",
		"name=c.example&event=flushed":  "3 4",
		"name=d.example":                "",
		"event=withdrawn":               "",
		"name=.example&event=expiring":  "",
		"name=%2A.b.example":            "2 3",
		"event=flushed&name=.b.example": "3",
	} {
		t.Run(query, func(t *testing.T) {
			values, err := url.ParseQuery(query)
			if err != nil {
				t.Fatal(err)
			}
			filter, err := ParseFilter(values)
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for i, event := range events {
				if filter.takes(event) {
					got = append(got, fmt.Sprint(i))
				}
			}
			if strings.Join(got, " ") != want {
				t.Errorf("takes %v, want %s", got, want)
			}
		})
	}
}

func TestFilterRefuses(t *testing.T) {
	for query, says := range map[string]string{
		"event=gone":                        `event "gone": fetched, renewed,`,
		"event=":                            `event ""`,
		"event=dropped":                     `event "dropped"`,
		"event=fetched,":                    `event ""`,
		"name=a b":                          "name",
		"name=":                             "name",
		"nam=a":                             `unknown parameter "nam"`,
		"name=" + strings.Repeat("a,", 200): "more than 100 names",
	} {
		values, err := url.ParseQuery(query)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := ParseFilter(values); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%.20s: %v, want it to say %q", query, err, says)
		}
	}
}

func FuzzParseFilter(f *testing.F) {
	for _, seed := range []string{"", "event=fetched,failed&name=*.a.example", "name=%00", "event=%2C", "a=b"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, query string) {
		values, err := url.ParseQuery(query)
		if err != nil {
			return
		}
		filter, err := ParseFilter(values)
		if err != nil {
			if len(err.Error()) > 2000 {
				t.Errorf("error of %d bytes", len(err.Error()))
			}
			return
		}
		for _, kind := range filter.Events {
			if CheckKind(kind) != nil {
				t.Errorf("took event %q", kind)
			}
		}
		filter.takes(Event{Event: Fetched, Name: "a.example"})
	})
}
