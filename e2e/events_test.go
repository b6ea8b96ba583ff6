package e2e

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// happening is one line of the event stream.
type happening struct {
	Time        time.Time `json:"time"`
	Event       string    `json:"event"`
	Name        string    `json:"name"`
	Names       []string  `json:"names"`
	Store       string    `json:"store"`
	Fingerprint string    `json:"fingerprint_sha256"`
	KeyType     string    `json:"key_type"`
	NotAfter    time.Time `json:"not_after"`
	Dropped     bool      `json:"dropped"`
	Reason      string    `json:"reason"`
}

// stream reads GET /events until the test ends.
type stream struct {
	t     testing.TB
	lines chan string
}

func (g *gate) events(query string) *stream {
	g.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	g.t.Cleanup(cancel)
	transport := &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", g.control)
		},
	}
	request := must(http.NewRequestWithContext(ctx, http.MethodGet, "http://hellogate/events"+query, nil))
	response, err := transport.RoundTrip(request)
	if err != nil {
		g.t.Fatal(err)
	}
	g.t.Cleanup(func() { response.Body.Close() })
	if response.StatusCode != http.StatusOK || response.Header.Get("Content-Type") != "application/x-ndjson" {
		g.t.Fatalf("GET /events: %s, %s", response.Status, response.Header.Get("Content-Type"))
	}
	s := &stream{t: g.t, lines: make(chan string, 1000)}
	go func() {
		defer close(s.lines)
		for lines := bufio.NewScanner(response.Body); lines.Scan(); {
			s.lines <- lines.Text()
		}
	}()
	return s
}

// next gives the next event of a kind that comes; those of other kinds are passed by.
func (s *stream) next(kind string) (got happening) {
	s.t.Helper()
	timeout := time.After(patience)
	for {
		select {
		case line, open := <-s.lines:
			if !open {
				s.t.Fatalf("the stream ended before %q", kind)
			}
			wantNoSecrets(s.t, "an event", line)
			got = happening{}
			if err := json.Unmarshal([]byte(line), &got); err != nil {
				s.t.Fatalf("%v in %q", err, line)
			}
			if age := time.Since(got.Time); age < -time.Minute || age > time.Minute {
				s.t.Errorf("its time: %s", line)
			}
			if got.Event == kind {
				return got
			}
		case <-timeout:
			s.t.Fatalf("no event %q", kind)
		}
	}
}

// What happens to names is told while it happens, a line of JSON each.
func TestEvents(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "cache: {ttl: 1s, min_ttl: 1s, withdraw_after: 1s}")
	told := w.events("")
	for i := range 30 { // so that one that is withdrawn is less than 5 % of what is refreshed
		w.visit(fmt.Sprintf("stays%d.example", i))
	}

	w.visit("a.example")
	first := w.store.pairFor("a.example")
	got := told.next("fetched")
	for got.Name != "a.example" {
		got = told.next("fetched")
	}
	if got.Store != w.store.url() || got.Fingerprint != first.fingerprint() || got.KeyType != "ecdsa-p256" || !got.NotAfter.Equal(first.leaf().NotAfter) {
		t.Errorf("fetched: %+v", got)
	}

	second := w.store.rotate("a.example")
	if got := told.next("renewed"); got.Name != "a.example" || got.Fingerprint != second.fingerprint() {
		t.Errorf("renewed: %+v", got)
	}

	w.store.on("broken.example", status(500))
	w.refused("broken.example", alertInternalError)
	if got := told.next("failed"); got.Name != "broken.example" || !strings.Contains(got.Reason, "500") {
		t.Errorf("failed: %+v", got)
	}

	w.store.on("a.example", status(404))
	if got := told.next("withdrawn"); got.Name != "a.example" || got.Dropped || got.Reason == "" {
		t.Errorf("withdrawn: %+v", got)
	}
	if got := told.next("withdrawn"); got.Name != "a.example" || !got.Dropped {
		t.Errorf("withdrawn for good: %+v", got)
	}

	w.store.on("old.example", bundle(ca().issue([]string{"old.example"}, valid(-time.Hour, 5*time.Minute))))
	w.visit("old.example")
	if got := told.next("expiring"); got.Name != "old.example" || got.NotAfter.IsZero() {
		t.Errorf("expiring: %+v", got)
	}

	w.flush("old.example")
	if got := told.next("flushed"); !slices.Equal(got.Names, []string{"old.example"}) {
		t.Errorf("flushed: %+v", got)
	}
}

// A listener may choose: kinds of events, and names.
func TestChosenEvents(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	chosen := w.events("?event=fetched&event=flushed&name=*.b.example")
	w.visit("a.example")
	w.visit("x.b.example")
	w.flush("x.b.example")
	if got := <-chosen.lines; !strings.Contains(got, `"fetched"`) || !strings.Contains(got, "x.b.example") {
		t.Errorf("first came %s", got)
	}
	if got := <-chosen.lines; !strings.Contains(got, `"flushed"`) {
		t.Errorf("then came %s", got)
	}
	for _, query := range []string{"?event=dance", "?name=bad..name", "?other=1"} {
		if code, text, err := w.request("GET", "/events"+query, ""); code != http.StatusBadRequest {
			t.Errorf("%s: %d %s %v", query, code, text, err)
		}
	}
}

// hook writes a script and gives the setting that has it called, and the file that it writes to as $out.
func hook(t testing.TB, script, settings string) (setting, out string) {
	t.Helper()
	folder := shortFolder(t)
	path := filepath.Join(folder, "hook.sh")
	out = filepath.Join(folder, "out")
	if err := os.WriteFile(path, []byte("#!/bin/sh\nout="+out+"\n"+script), 0o700); err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("hooks: {command: [%q, argument]%s}", path, settings), out
}

// lines are those of a file, none where there is no file yet.
func linesOf(path string) []string {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil
	}
	return strings.Split(strings.TrimSpace(string(text)), "\n")
}

// The command is called with its own arguments, the event and the name, the event as JSON on its standard input, and an
// environment that has no secret of hellogate's; what it prints is logged.
func TestHookCommand(t *testing.T) {
	t.Parallel()
	setting, out := hook(t, `cat > $out.json
echo "it printed this"
env > $out.env
echo "$@" >> $out
exit 3
`, ", events: [fetched]")
	w := newWorld(t, setting)
	w.visit("a.example")
	w.flush("a.example") // which it is not called for
	w.eventually("it was called", func() bool { return len(linesOf(out)) > 0 })
	if got := linesOf(out); !slices.Equal(got, []string{"argument fetched a.example"}) {
		t.Errorf("called with %q", got)
	}
	var got happening
	if err := json.Unmarshal([]byte(strings.Join(linesOf(out+".json"), "\n")), &got); err != nil {
		t.Fatal(err)
	}
	if got.Event != "fetched" || got.Name != "a.example" || got.Fingerprint != w.store.pairFor("a.example").fingerprint() {
		t.Errorf("on its standard input: %+v", got)
	}
	environment := strings.Join(linesOf(out+".env"), "\n")
	wantNoSecrets(t, "its environment", environment)
	if !strings.Contains(environment, "HELLOGATE_EVENT=fetched") || !strings.Contains(environment, "HELLOGATE_NAME=a.example") {
		t.Errorf("its environment: %s", environment)
	}
	line := w.await("line about the call", func(e entry) bool { return e.text("message") == "event command" })
	if line.text("output") != "it printed this" || line.number("exit_code") != 3 || line.text("level") != "warn" {
		t.Errorf("logged %v", line)
	}
}

// A command that takes too long is killed with all that it started; nobody waits for it.
func TestHookTimeout(t *testing.T) {
	t.Parallel()
	setting, out := hook(t, `sleep 600 &
echo $$ >> $out
echo $! >> $out
wait
`, ", timeout: 1s")
	w := newWorld(t, setting)
	w.visit("a.example")
	w.visit("b.example")
	line := w.await("line about the kill", func(e entry) bool {
		return e.text("message") == "event command" && e.text("name") == "a.example"
	})
	if !strings.Contains(line.text("reason"), "killed") {
		t.Errorf("logged %v", line)
	}
	w.eventually("both were called", func() bool { return len(linesOf(out)) == 4 })
	for _, pid := range linesOf(out) {
		var id int
		fmt.Sscan(pid, &id)
		w.eventually(pid+" is gone", func() bool { return id > 0 && syscall.Kill(id, 0) != nil || zombie(id) })
	}
}

// zombie tells whether a process has ended and nobody has asked yet how.
func zombie(pid int) bool {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return err == nil && strings.Contains(string(text), ") Z ")
}

// Of one name the command is called for one event at a time, in the order in which they happened; other names don't wait.
func TestHookNeverTwiceAtOnce(t *testing.T) {
	t.Parallel()
	setting, out := hook(t, `mkdir $out.$3 2>/dev/null || echo overlap $3 >> $out
echo $3 $2 >> $out
[ $3 = slow.example ] && sleep 3 || sleep 0.05
rmdir $out.$3
`, "")
	w := newWorld(t, setting)
	w.visit("slow.example")
	var want []string
	for range 5 {
		w.visit("a.example")
		w.flush("a.example")
		want = append(want, "a.example fetched", "a.example flushed")
	}
	var got []string
	w.within(10*time.Second, "it was called for all", func() bool {
		got = slices.DeleteFunc(linesOf(out), func(line string) bool { return line == "slow.example fetched" })
		return len(got) >= len(want)
	})
	if !slices.Equal(got, want) {
		t.Errorf("called for %q", got)
	}
	if _, err := os.Stat(out + ".slow.example"); err != nil {
		t.Error("other names waited for the slow one")
	}
}
