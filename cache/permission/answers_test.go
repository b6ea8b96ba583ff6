package permission

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// TestFlood: noes without end take no more than their share, and push out no yes.
func TestFlood(t *testing.T) {
	p := open(t, Options{URL: "http://localhost:1", Size: 64 << 10})
	p.remember(name, verdict{yes: true, keep: time.Minute})
	for i := range 10_000 {
		p.remember(fmt.Sprintf("n%d.example", i), verdict{keep: time.Hour})
	}
	if permitted, known := p.Recall(name); !known || !permitted {
		t.Error("the yes is gone")
	}
	if p.no.bytes > 16<<10 || len(p.no.byName) < 50 {
		t.Errorf("%d noes of %d bytes", len(p.no.byName), p.no.bytes)
	}
	if _, known := p.Recall("n9999.example"); !known {
		t.Error("the newest no is gone")
	}
	for i := range 10_000 {
		p.remember(fmt.Sprintf("y%d.example", i), verdict{yes: true, keep: time.Hour})
	}
	if p.yes.bytes > 48<<10 {
		t.Errorf("yeses of %d bytes", p.yes.bytes)
	}
}

// TestFlightsBound: so many names may wait for their answer, and one more is a failure.
func TestFlightsBound(t *testing.T) {
	url, _ := serve(t, func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	p := open(t, Options{URL: url, Timeout: time.Minute})
	p.mu.Lock()
	for i := range maxFlights {
		p.flights[fmt.Sprintf("n%d.example", i)] = &flight{done: make(chan struct{})}
	}
	p.mu.Unlock()
	if err := p.Ask(t.Context(), name); means(err) != failed || !strings.Contains(err.Error(), "being asked about") {
		t.Errorf("%v", err)
	}
}

// TestAnswersModel: the list, the map and the count of bytes agree, whatever is done.
func TestAnswersModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a := newAnswers(2000)
		model := map[string]int64{}
		now := int64(0)
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			now += rapid.Int64Range(0, 3).Draw(t, "time")
			name := rapid.SampledFrom([]string{"a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l", "m", "n", "o", "p"}).Draw(t, "name")
			_, had := model[name]
			if a.drop(name) && !had {
				t.Fatalf("%s was there", name)
			}
			delete(model, name)
			if rapid.Bool().Draw(t, "add") {
				until := now + rapid.Int64Range(1, 10).Draw(t, "for")
				a.add(name, now, until)
				model[name] = until
			}
			var bytes int64
			count := 0
			for held := a.oldest; held != nil; held = held.next {
				bytes += held.cost()
				count++
				if a.byName[held.name] != held || model[held.name] != held.until {
					t.Fatalf("%s is wrong", held.name)
				}
			}
			if bytes != a.bytes || count != len(a.byName) || a.bytes > a.limit {
				t.Fatalf("%d answers of %d bytes, counted %d and %d", count, bytes, len(a.byName), a.bytes)
			}
			for name, until := range model {
				if a.has(name, now) && now >= until {
					t.Fatalf("%s is past its time", name)
				}
			}
		}
	})
}
