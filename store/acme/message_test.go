package acme

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"hellogate/store/acme/challenge"
	"hellogate/store/acme/message"
)

// script is a program that notes its arguments in a file, and fails for a first argument that is in another.
func script(t *testing.T) (path string, calls func() []string, refuse func(reasons ...string)) {
	t.Helper()
	folder := t.TempDir()
	path = filepath.Join(folder, "command")
	content := "#!/bin/sh\necho \"$@\" >> " + folder + "/calls\n! grep -qsx -e \"$1\" " + folder + "/refused\n"
	if err := os.WriteFile(path, []byte(content), 0o700); err != nil {
		t.Fatal(err)
	}
	calls = func() []string {
		text, _ := os.ReadFile(filepath.Join(folder, "calls"))
		return strings.FieldsFunc(string(text), func(r rune) bool { return r == '\n' })
	}
	refuse = func(reasons ...string) {
		if err := os.WriteFile(filepath.Join(folder, "refused"), []byte(strings.Join(reasons, "\n")), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return path, calls, refuse
}

func command(t *testing.T, path string) *message.Command {
	t.Helper()
	made, err := message.New(message.Options{Argv: []string{path}})
	if err != nil {
		t.Fatal(err)
	}
	return made
}

func TestMessages(t *testing.T) {
	path, calls, refuse := script(t)
	challengeSetup := "challenge-setup:tls-alpn-01:" + example
	in(t, func(o *Options) { o.Message = command(t, path) }, func(t *testing.T, w *world) {
		refuse("renewing")
		w.Start()
		time.Sleep(10 * time.Second)
		status := w.status(example)
		if w.ca.placed() != 0 || status.Last.Result != "vetoed" || status.Errors != 0 || status.NextAt.Before(time.Now()) {
			t.Errorf("%d orders after a veto: %+v", w.ca.placed(), status)
		}
		refuse(challengeSetup)
		time.Sleep(time.Until(status.NextAt) + 10*time.Second)
		if status = w.status(example); status.Last.Result != "failed" || w.ca.asked("/challenge/1") != 0 {
			t.Errorf("an order that was aborted at its challenge: %+v", status)
		}
		refuse("renewed")
		time.Sleep(time.Until(status.NextAt) + 10*time.Second)
		w.mustLeaf(w.Store, example)
		seen := calls()
		if want := []string{
			"renewing " + example, "renewing " + example, challengeSetup + " " + example, "errored " + example,
			challengeSetup + " " + example, "renewed " + example,
		}; !slices.Equal(seen, want) {
			t.Errorf("calls %q, want %q", seen, want)
		}
		// What was not taken is told again, by another process too.
		w.Store.Close()
		refuse("nothing")
		again := w.another()
		defer again.Close()
		again.Start()
		time.Sleep(2 * time.Minute)
		if got := calls()[len(seen):]; !slices.Equal(got, []string{"renewed " + example, "installed " + example}) {
			t.Errorf("then calls %q", got)
		}
		time.Sleep(time.Until(w.status(example).DueAt) + time.Minute)
		if got := calls()[len(seen)+2:]; !slices.Contains(got, "renewing "+example) || !slices.Contains(got, "installed "+example) {
			t.Errorf("calls of the next renewal %q", got)
		}
	})
}

// TestMessagesOfEachRenewal: the limits of messages are those of one renewal, however short certificates live.
func TestMessagesOfEachRenewal(t *testing.T) {
	path, calls, _ := script(t)
	in(t, func(o *Options) { o.Message = command(t, path) }, func(t *testing.T, w *world) {
		w.ca.life = 10 * time.Minute
		w.Start()
		time.Sleep(30 * time.Minute)
		told := strings.Count(strings.Join(calls(), "\n"), "installed")
		if orders := w.ca.placed(); orders < 4 || told != orders {
			t.Errorf("told of %d of %d certificates", told, orders)
		}
	})
}

func TestWildcard(t *testing.T) {
	path, calls, _ := script(t)
	in(t, func(o *Options) {
		dns, err := challenge.NewDNS(challenge.DNSOptions{Argv: []string{path}, Storage: o.Storage, Log: zerolog.Nop()})
		if err != nil {
			t.Fatal(err)
		}
		o.DNS01, o.Names = dns, []string{"*.example.com"}
	}, func(t *testing.T, w *world) {
		w.Start()
		time.Sleep(10 * time.Second)
		leaf := w.mustLeaf(w.Store, example)
		if !slices.Equal(leaf.DNSNames, []string{"*.example.com"}) || w.ca.placed() != 1 {
			t.Errorf("a certificate for %q", leaf.DNSNames)
		}
		if _, err := leafOf(w.Store, "a.b.example.com"); err == nil {
			t.Error("a wildcard is for one label")
		}
		seen := calls()
		if len(seen) != 2 || !strings.HasPrefix(seen[0], "setup example.com ") || !strings.HasPrefix(seen[1], "teardown example.com ") {
			t.Errorf("calls %q", seen)
		}
	})
}
