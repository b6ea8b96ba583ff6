package message

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rs/zerolog"
	"go.uber.org/goleak"

	"hellogate/store/acme/program"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// script returns a command that runs a shell script, and the file $OUT of it.
func script(t *testing.T, text string) (*Command, string) {
	t.Helper()
	out := filepath.Join(t.TempDir(), "out")
	path := filepath.Join(t.TempDir(), "message")
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"+text), 0o700); err != nil {
		t.Fatal(err)
	}
	c, err := New(Options{Argv: []string{path, "an argument"}, Env: []string{"OUT=" + out}, Timeout: 10 * time.Second, Log: zerolog.Nop()})
	if err != nil {
		t.Fatal(err)
	}
	return c, out
}

func read(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	return string(text)
}

// TestSend: the program gets what mod_md gives it, and what it answers counts.
func TestSend(t *testing.T) {
	c, out := script(t, `echo "$#|$1|$2|$3|$HELLOGATE_EVENT|$HELLOGATE_NAME" >>$OUT; [ "$2" != errored ] || { echo no way; exit 7; }`)
	for _, reason := range []string{Renewing, ChallengeSetup("tls-alpn-01", "a.example"), Renewed, Installed, Expiring} {
		if err := c.Send(t.Context(), reason, "a.example", new(Sent)); err != nil {
			t.Error(err)
		}
		if got, want := read(t, out), fmt.Sprintf("3|an argument|%[1]s|a.example|%[1]s|a.example\n", reason); got != want {
			t.Errorf("ran with %q, want %q", got, want)
		}
		os.Remove(out)
	}
	err := c.Send(t.Context(), Errored, "a.example", new(Sent))
	if err == nil || !strings.Contains(err.Error(), "errored a.example") || !strings.Contains(err.Error(), "exit status 7: it printed no way") {
		t.Errorf("%v", err)
	}
	if got := ChallengeSetup("dns-01", "b.example"); got != "challenge-setup:dns-01:b.example" {
		t.Error(got)
	}
}

func TestWithoutACommand(t *testing.T) {
	var c *Command
	if err := c.Send(t.Context(), Renewing, "a.example", nil); err != nil {
		t.Error(err)
	}
	for _, argv := range [][]string{nil, {""}, {"a\x00"}} {
		if _, err := New(Options{Argv: argv}); err == nil {
			t.Errorf("%q: no error", argv)
		}
	}
}

// TestRateLimit: what was answered with 0 is not told again for a while, a veto and a failure are.
func TestRateLimit(t *testing.T) {
	c, out := script(t, `echo "$2" >>$OUT; [ ! -e $OUT.no ]`)
	runs := func() int { return strings.Count(read(t, out), "\n") }
	var sent Sent
	send := func(reason string, want bool) {
		t.Helper()
		if err := c.Send(t.Context(), reason, "a.example", &sent); (err == nil) != want {
			t.Errorf("%s: %v", reason, err)
		}
	}
	if err := os.WriteFile(out+".no", nil, 0o600); err != nil {
		t.Fatal(err)
	}
	send(Renewing, false)
	send(Renewing, false)
	send(Renewed, false)
	os.Remove(out + ".no")
	send(Renewed, true)
	send(Renewing, true)
	if got := runs(); got != 5 {
		t.Fatalf("%d runs", got)
	}
	if err := os.WriteFile(out+".no", nil, 0o600); err != nil {
		t.Fatal(err)
	}
	send(Renewing, true) // not run: it can't veto
	send(Renewed, true)
	if got := runs(); got != 5 {
		t.Fatalf("%d runs", got)
	}
	send(ChallengeSetup("http-01", "a.example"), false) // never limited
	sent.Reset()
	send(Renewing, false)
	if got := runs(); got != 7 {
		t.Fatalf("%d runs", got)
	}
}

func TestSent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for reason, limit := range map[string]time.Duration{
			Renewing: time.Hour, Errored: time.Hour, Renewed: 24 * time.Hour, Installed: 24 * time.Hour, Expiring: 24 * time.Hour,
			ChallengeSetup("dns-01", "a.example"): 0,
		} {
			var sent Sent
			if !sent.due(reason, time.Now()) {
				t.Errorf("%s: not due at first", reason)
			}
			sent.note(reason, time.Now())
			if got := sent.due(reason, time.Now()); got != (limit == 0) {
				t.Errorf("%s: due at once: %t", reason, got)
			}
			time.Sleep(max(limit-1, 0))
			if got := sent.due(reason, time.Now()); got != (limit == 0) {
				t.Errorf("%s: due before its time: %t", reason, got)
			}
			text, err := json.Marshal(sent)
			var kept Sent
			if err = errors.Join(err, json.Unmarshal(text, &kept)); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Nanosecond)
			if !kept.due(reason, time.Now()) || !sent.due(reason, time.Now()) {
				t.Errorf("%s: not due at its time", reason)
			}
		}
		future := Sent{Renewing: time.Now().Add(1000 * time.Hour)}
		if !future.due(Renewing, time.Now()) {
			t.Error("a wrong clock keeps it from being told")
		}
	})
}

// TestOrder: never two runs of one name at once, and names don't wait for each other.
func TestOrder(t *testing.T) {
	c, out := script(t, `mkdir $OUT.$3 || { echo twice; exit 1; }; [ $3 != a.example ] || sleep 0.05; rmdir $OUT.$3`)
	_ = out
	var group sync.WaitGroup
	for i := range 10 {
		group.Go(func() {
			if err := c.Send(t.Context(), Renewed, []string{"a.example", "b.example"}[i%2], nil); err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
	if len(c.names) > 0 || len(c.running) > 0 {
		t.Errorf("left: %d names, %d runs", len(c.names), len(c.running))
	}
}

// TestAtOnce: no more than so many processes, however many names there are.
func TestAtOnce(t *testing.T) {
	c, out := script(t, `touch $OUT.$3; ls $OUT.* | wc -l >>$OUT; sleep 0.2; rm $OUT.$3`)
	var group sync.WaitGroup
	for i := range 3 * atOnce {
		group.Go(func() {
			if err := c.Send(t.Context(), Renewed, fmt.Sprintf("n%d.example", i), nil); err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
	for line := range strings.Lines(read(t, out)) {
		var count int
		if fmt.Sscan(line, &count); count > atOnce {
			t.Errorf("%d at once", count)
		}
	}
}

// TestGivenUp: one who waits leaves when its context is done, and what runs then is killed.
func TestGivenUp(t *testing.T) {
	c, out := script(t, `touch $OUT; exec sleep 60`)
	stopped := errors.New("stopped")
	ctx, cancel := context.WithCancelCause(t.Context())
	var group sync.WaitGroup
	group.Go(func() {
		if err := c.Send(ctx, Renewed, "a.example", nil); !errors.Is(err, stopped) {
			t.Errorf("the one that ran: %v", err)
		}
	})
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		if _, err := os.Stat(out); err == nil {
			break
		}
	}
	late, end := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer end()
	if err := c.Send(late, Renewed, "a.example", nil); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("the one that waited: %v", err)
	}
	cancel(stopped)
	group.Wait()
	if len(c.names) > 0 || len(c.running) > 0 {
		t.Errorf("left: %d names, %d runs", len(c.names), len(c.running))
	}
	c.options.Timeout = 50 * time.Millisecond
	if err := c.Send(t.Context(), Renewed, "a.example", nil); !errors.Is(err, program.ErrTimeout) {
		t.Errorf("%v", err)
	}
}
