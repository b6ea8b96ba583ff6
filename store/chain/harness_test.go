package chain

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/rs/zerolog"
	"go.uber.org/goleak"

	"hellogate/sni"
	"hellogate/store"
	"hellogate/store/certtest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const name = "a.example"

// shelf is a store, a Writer and a Watcher that does as a test says. It answers no until told otherwise.
type shelf struct {
	called string
	answer func(context.Context, store.Request) (*store.Bundle, error) // nil: no
	put    func(context.Context, string, []store.Pair) error           // nil: kept
	watch  func(context.Context, func(store.Change))

	mu    sync.Mutex
	asked []store.Request
	kept  map[string][]store.Pair
	puts  int
}

func (s *shelf) Fetch(ctx context.Context, request store.Request) (*store.Bundle, error) {
	s.mu.Lock()
	s.asked = append(s.asked, request)
	s.mu.Unlock()
	if s.answer == nil {
		return nil, fmt.Errorf("store %s: get %q: 404: %w", s.called, request.Name, store.ErrUnknown)
	}
	return s.answer(ctx, request)
}

func (s *shelf) Put(ctx context.Context, name string, pairs []store.Pair) error {
	if s.put != nil {
		if err := s.put(ctx, name, pairs); err != nil {
			return err
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.puts++
	if s.kept == nil {
		s.kept = make(map[string][]store.Pair)
	}
	s.kept[name] = pairs
	return nil
}

func (s *shelf) Watch(ctx context.Context, changed func(store.Change)) { s.watch(ctx, changed) }

func (s *shelf) requests() []store.Request {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.asked
}

func (s *shelf) has(name string) []store.Pair {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.kept[name]
}

func (s *shelf) written() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.puts
}

type answer = func(context.Context, store.Request) (*store.Bundle, error)

func fails(err error) answer {
	return func(context.Context, store.Request) (*store.Bundle, error) { return nil, err }
}

func gives(issued certtest.Issued, edit ...func(*store.Bundle)) answer {
	return func(context.Context, store.Request) (*store.Bundle, error) {
		bundle := &store.Bundle{Pairs: []store.Pair{issued.Pair}, Store: "by another name"}
		for _, each := range edit {
			each(bundle)
		}
		return bundle, nil
	}
}

// unmodified answers any request with a validator by 304, and others with a bundle.
func unmodified(issued certtest.Issued) answer {
	return func(ctx context.Context, request store.Request) (*store.Bundle, error) {
		if !request.Validator.IsZero() {
			return &store.Bundle{NotModified: true, Validator: request.Validator}, nil
		}
		return gives(issued)(ctx, request)
	}
}

// record is a log that can be read while it is written.
type record struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (r *record) Write(line []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.text.Write(line)
}

func (r *record) String() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.text.String()
}

// lines returns the lines that have all of parts.
func (r *record) lines(parts ...string) (found []string) {
next:
	for line := range strings.Lines(r.String()) {
		for _, part := range parts {
			if !strings.Contains(line, part) {
				continue next
			}
		}
		found = append(found, line)
	}
	return found
}

// chained makes a chain of shelves, called a, b and so on. edit may change its links.
func chained(t *testing.T, edit func([]Link), shelves ...*shelf) (*Chain, *record) {
	t.Helper()
	links := make([]Link, len(shelves))
	for i, each := range shelves {
		each.called = string(rune('a' + i))
		links[i] = Link{Name: each.called, Store: each, Writer: each}
	}
	if edit != nil {
		edit(links)
	}
	log := new(record)
	c := New(links, zerolog.New(log))
	t.Cleanup(c.Close)
	return c, log
}

// backed makes the first link one that is written to.
func backed(links []Link) { links[0].WriteBack = true }

func pattern(t *testing.T, text string) sni.Pattern {
	t.Helper()
	parsed, err := sni.ParsePattern(text)
	if err != nil {
		t.Fatal(err)
	}
	return parsed
}
