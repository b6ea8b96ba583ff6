package e2e

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode"
)

// entry is one line of hellogate's log.
type entry map[string]any

func (e entry) text(field string) string {
	if e[field] == nil {
		return ""
	}
	return fmt.Sprint(e[field])
}

func (e entry) number(field string) float64 {
	n, _ := e[field].(float64)
	return n
}

// isAccess tells whether it is the line that ends a connection.
func (e entry) isAccess() bool { return e["conn"] != nil && e["total_ms"] != nil }

// logBook takes in what hellogate writes to its standard error.
type logBook struct {
	mu      sync.Mutex
	raw     []byte
	partial []byte
	entries []entry
	strange []string // lines that are no JSON object
	grown   chan struct{}
}

func newLogBook() *logBook { return &logBook{grown: make(chan struct{})} }

func (l *logBook) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.raw = append(l.raw, b...)
	l.partial = append(l.partial, b...)
	for {
		line, rest, whole := bytes.Cut(l.partial, []byte("\n"))
		if !whole {
			break
		}
		l.partial = rest
		var e entry
		if json.Unmarshal(line, &e) != nil {
			l.strange = append(l.strange, string(line))
		}
		l.entries = append(l.entries, e)
	}
	close(l.grown)
	l.grown = make(chan struct{})
	return len(b), nil
}

func (l *logBook) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return string(l.raw)
}

func (l *logBook) tail(lines int) string {
	all := strings.Split(strings.TrimSpace(l.String()), "\n")
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}

// all gives the lines so far, and a channel that is closed when there are more.
func (l *logBook) all() ([]entry, <-chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.entries[:len(l.entries):len(l.entries)], l.grown
}

// check holds the log against the rules for every log: each line parses, nothing in it controls a terminal, no secret.
func (l *logBook) check(t testing.TB) {
	t.Helper()
	text := l.String()
	for _, line := range l.strange {
		t.Errorf("no JSON in the log: %.500s", line)
	}
	if strings.ContainsFunc(text, func(r rune) bool { return r != '\n' && !unicode.IsPrint(r) }) {
		t.Errorf("the log has characters that do not print:\n%.2000q", text)
	}
	wantNoSecrets(t, "the log", text)
}

// wantNoSecrets checks a text that hellogate wrote for the store's token and for private keys.
func wantNoSecrets(t testing.TB, where, text string) {
	t.Helper()
	for _, secret := range []string{storeToken, "PRIVATE KEY", "MIGHAgEAMBMGByqGSM49"} { // the last: how every P-256 key begins
		if strings.Contains(text, secret) {
			t.Errorf("%s holds %q", where, secret)
		}
	}
}

// await gives the first line that matches, and waits for it.
func (g *gate) await(what string, match func(entry) bool) entry {
	g.t.Helper()
	timeout := time.After(patience)
	for {
		entries, grown := g.log.all()
		for _, e := range entries {
			if match(e) {
				return e
			}
		}
		select {
		case <-grown:
		case <-timeout:
			g.t.Fatalf("no %s in the log, which ends:\n%s", what, g.log.tail(30))
		}
	}
}

// access gives the first access-log line whose field is value.
func (g *gate) access(field, value string) entry {
	g.t.Helper()
	return g.await(fmt.Sprintf("access line with %s=%q", field, value), func(e entry) bool {
		return e.isAccess() && e.text(field) == value
	})
}

// accessOf gives the access-log line of the client's connection.
func (g *gate) accessOf(c *client) entry {
	g.t.Helper()
	return g.access("client", c.LocalAddr().String())
}
