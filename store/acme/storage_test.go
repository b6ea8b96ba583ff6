package acme

import (
	"cmp"
	"context"
	"errors"
	"io/fs"
	"slices"
	"strings"
	"sync"
	"time"
)

// memory is a storage that several stores can share, whose clock is a test's.
type memory struct {
	mu       sync.Mutex
	content  map[string][]byte
	locks    map[string]chan struct{}
	held     map[string]context.CancelFunc
	broken   error // that every write returns
	probe    error // that Writable returns
	watchers []*watcher
}

func newMemory() *memory {
	return &memory{content: make(map[string][]byte), locks: make(map[string]chan struct{}), held: make(map[string]context.CancelFunc)}
}

func (m *memory) Load(_ context.Context, key string) ([]byte, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	content, there := m.content[key]
	if !there {
		return nil, fs.ErrNotExist
	}
	return slices.Clone(content), nil
}

func (m *memory) Save(ctx context.Context, key string, content []byte) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.broken != nil {
		return m.broken
	}
	m.content[key] = slices.Clone(content)
	m.touched(key)
	return nil
}

func (m *memory) Remove(_ context.Context, key string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.broken != nil {
		return m.broken
	}
	delete(m.content, key)
	m.touched(key)
	return nil
}

func (m *memory) List(_ context.Context, prefix string) (keys []string, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for key := range m.content {
		if strings.HasPrefix(key, prefix+"/") {
			keys = append(keys, key)
		}
	}
	slices.Sort(keys)
	return keys, nil
}

func (m *memory) Writable(context.Context) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	return cmp.Or(m.broken, m.probe)
}

func (m *memory) Lock(ctx context.Context, name string) (context.Context, func(), error) {
	m.mu.Lock()
	lock := m.locks[name]
	if lock == nil {
		lock = make(chan struct{}, 1)
		m.locks[name] = lock
	}
	m.mu.Unlock()
	select {
	case lock <- struct{}{}:
		held, cancel := context.WithCancel(ctx)
		m.mu.Lock()
		m.held[name] = cancel
		m.mu.Unlock()
		return held, sync.OnceFunc(func() { cancel(); <-lock }), nil
	case <-ctx.Done():
		return nil, nil, errors.Join(errors.New("lock"), context.Cause(ctx))
	}
}

// lose has the holder of a lock lose it.
func (m *memory) lose(name string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.held[name]()
}

func (m *memory) Watch(ctx context.Context, prefix string, changed func([]string)) {
	mine := &watcher{wake: make(chan struct{}, 1)}
	m.mu.Lock()
	m.watchers = append(m.watchers, mine)
	m.mu.Unlock()
	changed(nil)
	for {
		select {
		case <-mine.wake:
		case <-ctx.Done():
			return
		}
		sleep(ctx, 2*time.Second)
		m.mu.Lock()
		keys := slices.DeleteFunc(mine.keys, func(key string) bool { return !strings.HasPrefix(key, prefix+"/") })
		mine.keys = nil
		m.mu.Unlock()
		if len(keys) > 0 && ctx.Err() == nil {
			changed(keys)
		}
	}
}

// watcher is a Watch, and what it has to tell.
type watcher struct {
	wake chan struct{}
	keys []string
}

// touched tells of a key. The caller holds mu.
func (m *memory) touched(key string) {
	for _, each := range m.watchers {
		each.keys = append(each.keys, key)
		select {
		case each.wake <- struct{}{}:
		default:
		}
	}
}

func (m *memory) has(key string) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	_, there := m.content[key]
	return there
}
