package challenge

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rs/zerolog"

	"hellogate/store/acme/program"
)

// script returns a DNS that runs a shell script, and the file $OUT of it.
func script(t *testing.T, storage Storage, text string) (*DNS, string) {
	t.Helper()
	out := filepath.Join(t.TempDir(), "out")
	path := filepath.Join(t.TempDir(), "dns01")
	must(t, os.WriteFile(path, []byte("#!/bin/sh\n"+text), 0o700))
	d, err := NewDNS(DNSOptions{
		Argv: []string{path, "an argument"}, Env: []string{"OUT=" + out}, Timeout: 10 * time.Second,
		Storage: storage, Log: zerolog.Nop(),
	})
	must(t, err)
	return d, out
}

func read(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	return string(text)
}

// dataOf is what RFC 8555 section 8.4 has in the record for the key authorization "token.thumbprint".
const dataOf = "61rBZ_4knHblO0MNoxFsXZ_eTFUHum0B6IVRbhvUn5I"

// TestDNS: the program gets what mod_md gives it, setup before and teardown after.
func TestDNS(t *testing.T) {
	storage := newMemory()
	d, out := script(t, storage, `echo "$#|$1|$2|$3|$4" >>$OUT`)
	for _, name := range []string{"a.example", "*.a.example"} {
		must(t, d.Present(t.Context(), asks(dns01, name, "token")))
		if got := storage.keys(); !slices.Equal(got, []string{"challenges/dns-01/token"}) {
			t.Errorf("stored %q", got)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		must(t, d.CleanUp(ctx, asks(dns01, name, "token")))
		want := "4|an argument|setup|a.example|" + dataOf + "\n4|an argument|teardown|a.example|" + dataOf + "\n"
		if got := read(t, out); got != want {
			t.Errorf("ran with %q, want %q", got, want)
		}
		os.Remove(out)
	}
	if got := storage.keys(); len(got) > 0 {
		t.Errorf("left %q", got)
	}
}

// TestDNSFails: what the program printed is in the error, what can't be stored or is no challenge is never set up, and what
// was left is torn down by Sweep, once.
func TestDNSFails(t *testing.T) {
	storage := newMemory()
	d, out := script(t, storage, `echo "$2" >>$OUT; echo the zone is locked; exit 4`)
	err := d.Present(t.Context(), asks(dns01, "a.example", "token"))
	if err == nil || !strings.Contains(err.Error(), "exit status 4: it printed the zone is locked") {
		t.Errorf("%v", err)
	}
	if err := d.CleanUp(t.Context(), asks(dns01, "a.example", "token")); err == nil {
		t.Error("no error")
	}
	must(t, d.Sweep(t.Context(), time.Hour))
	if got := storage.keys(); len(got) != 1 {
		t.Errorf("swept before its time: %q", got)
	}
	must(t, d.Sweep(t.Context(), 0))
	must(t, d.Sweep(t.Context(), 0))
	if got := read(t, out); got != "setup\nteardown\nteardown\n" || len(storage.keys()) > 0 {
		t.Errorf("ran %q, left %q", got, storage.keys())
	}
	os.Remove(out)
	full := errors.New("no space left on device")
	storage.failWith(full)
	if err := d.Present(t.Context(), asks(dns01, "a.example", "token")); !errors.Is(err, full) {
		t.Errorf("%v", err)
	}
	storage.failWith(nil)
	for _, name := range []string{"-x", "a.example; reboot", ""} {
		if err := d.Present(t.Context(), asks(dns01, name, "token")); err == nil {
			t.Errorf("%q: no error", name)
		}
	}
	if got := read(t, out); got != "" {
		t.Errorf("ran %q", got)
	}
}

func TestDNSTimeout(t *testing.T) {
	d, _ := script(t, newMemory(), `exec sleep 60`)
	d.options.Timeout = 100 * time.Millisecond
	if err := d.Present(t.Context(), asks(dns01, "a.example", "token")); !errors.Is(err, program.ErrTimeout) {
		t.Errorf("%v", err)
	}
	if err := d.CleanUp(t.Context(), asks(dns01, "a.example", "token")); !errors.Is(err, program.ErrTimeout) {
		t.Errorf("%v", err)
	}
}

func TestDNSWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &DNS{options: DNSOptions{Wait: time.Minute}}
		began := time.Now()
		must(t, d.Wait(t.Context(), asks(dns01, "a.example", "token")))
		if took := time.Since(began); took != time.Minute {
			t.Errorf("waited %s", took)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := d.Wait(ctx, asks(dns01, "a.example", "token")); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%v", err)
		}
	})
}

func TestNewDNSRefuses(t *testing.T) {
	for _, argv := range [][]string{nil, {""}, {"a\x00"}} {
		if _, err := NewDNS(DNSOptions{Argv: argv}); err == nil {
			t.Errorf("%q: no error", argv)
		}
	}
}
