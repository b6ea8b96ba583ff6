package events

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func subscribe(t *testing.T, hub *Hub, filter Filter) *Subscription {
	t.Helper()
	s, err := hub.Subscribe(filter)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

// pending returns what waits for a subscription now.
func pending(s *Subscription) (told []string) {
	for _, event := range s.take() {
		told = append(told, event.Event+" "+nameOf(event))
	}
	return told
}

// TestJSON: what is told of an event, and that what is empty is not.
func TestJSON(t *testing.T) {
	at := time.Date(2026, 11, 22, 12, 0, 0, 123456789, time.FixedZone("", 3600))
	many := make([]string, maxNames+5)
	for i := range many {
		many[i] = "n.example"
	}
	for _, test := range []struct {
		name  string
		event Event
		want  string // its beginning
	}{
		{"least", Event{Time: at, Event: Failed, Name: "a.example"}, `{"time":"2026-11-22T11:00:00.123Z","event":"failed","name":"a.example"}`},
		{
			"most",
			Event{
				Time: at, Event: Renewed, Name: "a.example", Store: "s", Fingerprint: "ab", KeyType: "rsa-2048",
				NotAfter: at, Dropped: true, Reason: "<&>",
			},
			`{"time":"2026-11-22T11:00:00.123Z","event":"renewed","name":"a.example","store":"s","fingerprint_sha256":"ab","key_type":"rsa-2048",` +
				`"not_after":"2026-11-22T11:00:00.123456789Z","dropped":true,"reason":"`,
		},
		{"several", Event{Time: at, Event: Flushed, Names: []string{"a", "b"}}, `{"time":"2026-11-22T11:00:00.123Z","event":"flushed","names":["a","b"]}`},
		{"very many", Event{Time: at, Event: Flushed, Names: many}, `{"time":"2026-11-22T11:00:00.123Z","event":"flushed","names":["n.example","n.example",`},
	} {
		t.Run(test.name, func(t *testing.T) {
			event := test.event.finished(time.Now())
			text, err := json.Marshal(event)
			if err != nil || !strings.HasPrefix(string(text), test.want) {
				t.Errorf("%v\n%.300s, want\n%s", err, text, test.want)
			}
			if len(event.Names)+event.More != len(test.event.Names) || len(event.Names) > maxNames {
				t.Errorf("%d names and %d more", len(event.Names), event.More)
			}
		})
	}
}

func TestPublish(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var also []string
		hub := NewHub(func(e Event) { also = append(also, e.Name) })
		hub.Publish(Event{Event: Fetched, Name: "early.example"})
		s := subscribe(t, hub, Filter{})
		names := []string{"b.example", "c.example"}
		hub.Publish(Event{Event: Fetched, Name: "a.example"})
		hub.Publish(Event{Event: Flushed, Names: names})
		names[0] = "changed.example"
		got := s.take()
		want := []Event{
			{Time: time.Now().UTC(), Event: Fetched, Name: "a.example"},
			{Time: time.Now().UTC(), Event: Flushed, Names: []string{"b.example", "c.example"}},
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("want, got:\n%s", diff)
		}
		if got := strings.Join(also, " "); got != "early.example a.example " {
			t.Errorf("also got %q", got)
		}
	})
}

// TestSlowSubscriber: one that takes nothing loses events, in order, and is told how many; nobody else does, and
// publishing goes on.
func TestSlowSubscriber(t *testing.T) {
	hub := NewHub()
	slow, fast := subscribe(t, hub, Filter{}), subscribe(t, hub, Filter{})
	const published = 20_000
	got := 0
	for i := range published {
		hub.Publish(Event{Event: Fetched, Name: fmt.Sprintf("n%d.example", i)})
		for _, event := range fast.take() {
			if want := fmt.Sprintf("n%d.example", got); event.Name != want {
				t.Fatalf("the fast one got %s, want %s", event.Name, want)
			}
			got++
		}
	}
	if got != published {
		t.Errorf("the fast one got %d", got)
	}
	if slow.bytes > queueBytes {
		t.Errorf("%d bytes wait", slow.bytes)
	}
	taken := slow.take()
	last := taken[len(taken)-1]
	for i, event := range taken[:len(taken)-1] {
		if want := fmt.Sprintf("n%d.example", i); event.Name != want {
			t.Fatalf("%s is event %d, want %s", event.Name, i, want)
		}
	}
	if kept := len(taken) - 1; last.Event != Dropped || last.Count+kept != published || kept < 1000 || last.Time.IsZero() {
		t.Errorf("%d kept, then %+v", kept, last)
	}
	hub.Publish(Event{Event: Fetched, Name: "later.example"})
	if got := pending(slow); len(got) != 1 || got[0] != "fetched later.example" {
		t.Errorf("afterwards %q", got)
	}
}

// TestLostOrder: what would fit behind something lost is lost too, so that Dropped says where.
func TestLostOrder(t *testing.T) {
	hub := NewHub()
	s := subscribe(t, hub, Filter{})
	hub.Publish(Event{Event: Failed, Name: "a.example", Reason: strings.Repeat("x", queueBytes)})
	hub.Publish(Event{Event: Failed, Name: "b.example"})
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	for event := range s.Events(ctx) {
		if event.Event != Dropped || event.Count != 2 {
			t.Errorf("%.100v", event)
		}
		break
	}
}

func TestSubscribers(t *testing.T) {
	hub := NewHub()
	var held []*Subscription
	for range maxSubscribers {
		held = append(held, subscribe(t, hub, Filter{}))
	}
	if _, err := hub.Subscribe(Filter{}); err == nil {
		t.Error("one more than allowed")
	}
	held[0].Close()
	held[0].Close()
	again := subscribe(t, hub, Filter{})
	hub.Publish(Event{Event: Fetched, Name: "a.example"})
	if got := pending(held[0]); got != nil {
		t.Errorf("a closed one got %q", got)
	}
	if got := pending(again); len(got) != 1 {
		t.Errorf("a new one got %q", got)
	}
}

// TestConcurrently: many publish, subscribe and leave at once. It is for the race detector, and for what must come through.
func TestConcurrently(t *testing.T) {
	hub := NewHub()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	steady := subscribe(t, hub, Filter{Events: []string{Withdrawn}})
	var work sync.WaitGroup
	for range 4 {
		work.Go(func() {
			for i := range 500 {
				hub.Publish(Event{Event: Fetched, Name: "a.example"})
				if i%100 == 0 {
					hub.Publish(Event{Event: Withdrawn, Name: "b.example"})
				}
			}
		})
		work.Go(func() {
			for range 50 {
				s, err := hub.Subscribe(Filter{})
				if err != nil {
					t.Error(err)
					return
				}
				s.take()
				s.Close()
			}
		})
	}
	got := 0
	for event := range steady.Events(ctx) {
		if event.Event != Withdrawn {
			t.Errorf("%+v", event)
		}
		if got++; got == 20 {
			break
		}
	}
	work.Wait()
	if got != 20 {
		t.Errorf("got %d of 20", got)
	}
}
