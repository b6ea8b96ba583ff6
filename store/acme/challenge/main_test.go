package challenge

import (
	"context"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/mholt/acmez/v3/acme"
	"github.com/rs/zerolog"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// memory is a storage that counts what it is asked.
type memory struct {
	mu           sync.Mutex
	content      map[string]string
	loads, lists int
	fails        error
}

func newMemory() *memory { return &memory{content: make(map[string]string)} }

func (m *memory) Load(ctx context.Context, key string) ([]byte, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.loads++
	if err := m.refuse(ctx); err != nil {
		return nil, err
	}
	content, found := m.content[key]
	if !found {
		return nil, fmt.Errorf("load %s: %w", key, fs.ErrNotExist)
	}
	return []byte(content), nil
}

func (m *memory) Save(ctx context.Context, key string, content []byte) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.refuse(ctx); err != nil {
		return err
	}
	m.content[key] = string(content)
	return nil
}

func (m *memory) Remove(ctx context.Context, key string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.refuse(ctx); err != nil {
		return err
	}
	delete(m.content, key)
	return nil
}

func (m *memory) List(ctx context.Context, prefix string) ([]string, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.lists++
	if err := m.refuse(ctx); err != nil {
		return nil, err
	}
	return slices.DeleteFunc(m.keysLocked(), func(key string) bool { return !strings.HasPrefix(key, prefix+"/") }), nil
}

func (m *memory) refuse(ctx context.Context) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return m.fails
}

func (m *memory) keys() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.keysLocked()
}

func (m *memory) keysLocked() []string { return slices.Sorted(maps.Keys(m.content)) }

func (m *memory) set(key, content string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.content[key] = content
}

// asked returns how often it was since the last time.
func (m *memory) asked() (loads, lists int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	loads, lists = m.loads, m.lists
	m.loads, m.lists = 0, 0
	return loads, lists
}

func (m *memory) failWith(err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.fails = err
}

func pendingIn(storage Storage) *Pending {
	return New(Options{Storage: storage, Log: zerolog.Nop()})
}

// asks is a challenge as acmez hands it over.
func asks(kind, name, token string) acme.Challenge {
	return acme.Challenge{
		Type: kind, Token: token, KeyAuthorization: token + ".thumbprint",
		Identifier: acme.Identifier{Type: "dns", Value: name},
	}
}

const (
	alpn   = acme.ChallengeTypeTLSALPN01
	http01 = acme.ChallengeTypeHTTP01
	dns01  = acme.ChallengeTypeDNS01
)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// refill makes the next look the first in a while.
func (l *looks) refill() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.tokens = burst
}
