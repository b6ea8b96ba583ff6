package events

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// stream is a request for events.
type stream struct {
	t        *testing.T
	response *http.Response
	lines    *bufio.Reader
	leave    context.CancelFunc
}

func listen(t *testing.T, url string) *stream {
	t.Helper()
	ctx, leave := context.WithTimeout(t.Context(), 30*time.Second)
	t.Cleanup(leave)
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { response.Body.Close(); http.DefaultClient.CloseIdleConnections() })
	return &stream{t, response, bufio.NewReaderSize(response.Body, 1<<20), leave}
}

func (s *stream) next() Event {
	s.t.Helper()
	line, err := s.lines.ReadBytes('\n')
	if err != nil {
		s.t.Fatal(err)
	}
	var event Event
	if err := json.Unmarshal(line, &event); err != nil {
		s.t.Fatalf("%v in %q", err, line)
	}
	return event
}

// serve runs a hub behind the time-outs of the control socket's server, only shorter.
func serve(t *testing.T) (hub *Hub, url string) {
	t.Helper()
	hub = NewHub()
	hub.writeTimeout = 300 * time.Millisecond
	server := httptest.NewUnstartedServer(hub)
	server.Config.ReadTimeout, server.Config.WriteTimeout = 200*time.Millisecond, 200*time.Millisecond
	server.Start()
	t.Cleanup(server.Close)
	return hub, server.URL
}

func subscribed(hub *Hub) int { return int(hub.count.Load()) }

func TestStream(t *testing.T) {
	hub, url := serve(t)
	s := listen(t, url+"?event=fetched&name=.example")
	if kind := s.response.Header.Get("Content-Type"); s.response.StatusCode != http.StatusOK || kind != "application/x-ndjson" {
		t.Errorf("%s, %s", s.response.Status, kind)
	}
	hub.Publish(Event{Event: Failed, Name: "a.example"})
	hub.Publish(Event{Event: Fetched, Name: "a.example"})
	if got := s.next(); got.Event != Fetched || got.Name != "a.example" || got.Time.IsZero() {
		t.Errorf("%+v", got)
	}
	time.Sleep(400 * time.Millisecond) // longer than the server's time-outs
	hub.Publish(Event{Event: Fetched, Name: "b.example"})
	if got := s.next(); got.Name != "b.example" {
		t.Errorf("%+v", got)
	}
	s.leave()
	waitFor(t, func() bool { return subscribed(hub) == 0 })
}

// TestStreamEnds with the context of the request, which is the server's.
func TestStreamEnds(t *testing.T) {
	hub := NewHub()
	ctx, end := context.WithCancel(t.Context())
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		hub.ServeHTTP(w, r.WithContext(ctx))
	}))
	t.Cleanup(server.Close)
	s := listen(t, server.URL)
	end()
	if rest, err := io.ReadAll(s.lines); err != nil || len(rest) > 0 {
		t.Errorf("%q, %v", rest, err)
	}
}

func TestStreamRefuses(t *testing.T) {
	hub, url := serve(t)
	for range maxSubscribers - 1 {
		subscribe(t, hub, Filter{})
	}
	for _, test := range []struct {
		query  string
		status int
		says   string
	}{
		{"?event=gone", http.StatusBadRequest, "gone"},
		{"?x=y", http.StatusBadRequest, "unknown parameter"},
	} {
		s := listen(t, url+test.query)
		text, _ := io.ReadAll(s.lines)
		if s.response.StatusCode != test.status || !strings.Contains(string(text), `"result":"error"`) || !strings.Contains(string(text), test.says) {
			t.Errorf("%s: %s, %s", test.query, s.response.Status, text)
		}
	}
	listen(t, url)
	if s := listen(t, url); s.response.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("one more than allowed: %s", s.response.Status)
	}
}

// TestStreamStops: a client that does not read for a while loses events, is told how many, and then gets what comes.
func TestStreamStops(t *testing.T) {
	hub, url := serve(t)
	s := listen(t, url)
	const published = 30_000
	reason := strings.Repeat("x", 400) // more in all than the sockets' buffers and the queue hold
	for i := range published {
		hub.Publish(Event{Event: Failed, Name: fmt.Sprintf("n%d.example", i), Reason: reason})
	}
	next, lost := 0, 0
	for next < published {
		event := s.next()
		if event.Event == Dropped {
			lost += event.Count
			next += event.Count
			continue
		}
		if want := fmt.Sprintf("n%d.example", next); event.Name != want {
			t.Fatalf("got %s, want %s", event.Name, want)
		}
		next++
	}
	if lost == 0 || next != published {
		t.Errorf("%d lost of %d", lost, next)
	}
	hub.Publish(Event{Event: Fetched, Name: "later.example"})
	if got := s.next(); got.Name != "later.example" {
		t.Errorf("%+v", got)
	}
}

// TestStreamStuck: a client that never reads has its place until a write takes too long.
func TestStreamStuck(t *testing.T) {
	hub, url := serve(t)
	conn, err := net.Dial("tcp", strings.TrimPrefix(url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	io.WriteString(conn, "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
	waitFor(t, func() bool { return subscribed(hub) == 1 })
	reason := strings.Repeat("x", 64<<10)
	waitFor(t, func() bool {
		hub.Publish(Event{Event: Failed, Name: "a.example", Reason: reason})
		return subscribed(hub) == 0
	})
}

// TestStreamClientDies: a client that is gone without a word is noticed, and its place is free again.
func TestStreamClientDies(t *testing.T) {
	hub, url := serve(t)
	conn, err := net.Dial("tcp", strings.TrimPrefix(url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	io.WriteString(conn, "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
	waitFor(t, func() bool { return subscribed(hub) == 1 })
	conn.Close()
	waitFor(t, func() bool { return subscribed(hub) == 0 })
}

// waitFor waits until done reports true.
func waitFor(t *testing.T, done func() bool) {
	t.Helper()
	for limit := time.Now().Add(15 * time.Second); !done(); time.Sleep(time.Millisecond) {
		if time.Now().After(limit) {
			t.Fatal("it did not happen")
		}
	}
}
