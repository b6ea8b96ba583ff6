package disk

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/rs/zerolog"
	"go.uber.org/goleak"
	"golang.org/x/sys/unix"
)

// TestMain is also the other process of the tests that need one.
func TestMain(m *testing.M) {
	if child := children[os.Getenv(childVariable)]; child != nil {
		child()
		return
	}
	goleak.VerifyTestMain(m)
}

const childVariable = "HELLOGATE_DISK_CHILD"

var children = map[string]func(){"write": childWrites, "open": childOpens}

// quick is a pace without waiting, for tests in real time.
func quick() pace {
	p := defaultPace
	p.every = 0
	p.retryFirst, p.retryMost = 10*time.Millisecond, 50*time.Millisecond
	p.replaceEvery = 0
	p.closeWait = 2 * time.Second
	return p
}

// lines is a log that can be looked at.
type lines struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// has fails the test unless so many lines of the log have text.
func (l *lines) has(t testing.TB, want int, text string) {
	t.Helper()
	if got := strings.Count(l.String(), text); got != want {
		t.Fatalf("%d lines of the log say %q, want %d:\n%s", got, text, want, l)
	}
}

// lab is a tier and what is needed to open it again.
type lab struct {
	*Tier
	t       testing.TB
	options Options
	pace    pace
	log     *lines
}

// memoryDir is a folder on a file system that takes no time to sync, if there is one.
func memoryDir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "hellogate-disk-")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// newLab opens a tier in a new folder, with a key or without.
func newLab(t testing.TB, encrypted bool, p pace) *lab {
	t.Helper()
	dir := memoryDir(t)
	l := &lab{t: t, pace: p, log: &lines{}}
	l.options = Options{Dir: filepath.Join(dir, "tier"), Log: zerolog.New(l.log)}
	if encrypted {
		l.options.KeyFile = writeKey(t, 1)
	}
	l.open()
	t.Cleanup(func() { l.Close() })
	return l
}

// writeKey makes a key file.
func writeKey(t testing.TB, fill byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(path, bytes.Repeat([]byte{fill}, keySize), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func (l *lab) open() {
	l.t.Helper()
	tier, err := open(l.options, l.pace)
	if err != nil {
		l.t.Fatal(err)
	}
	l.Tier = tier
}

// reopen closes the tier and opens it again, after change if there is one.
func (l *lab) reopen(change func()) {
	l.t.Helper()
	if err := l.Close(); err != nil {
		l.t.Fatal(err)
	}
	if change != nil {
		change()
	}
	l.open()
}

func (l *lab) sync() {
	l.t.Helper()
	if err := l.trySync(); err != nil {
		l.t.Fatal(err)
	}
}

func (l *lab) trySync() error {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	return l.Sync(ctx)
}

// Get is that of the tier, without the reason why there is none.
func (l *lab) Get(key string) (Record, bool) {
	record, found, _ := l.Tier.Get(context.Background(), key)
	return record, found
}

// Keys is that of the tier, and fails the test if they can't be told.
func (l *lab) Keys(after string, most int) []string {
	l.t.Helper()
	keys, err := l.Tier.Keys(context.Background(), after, most)
	if err != nil {
		l.t.Error(err)
	}
	return keys
}

// Tagged is that of the tier, and fails the test if they can't be told.
func (l *lab) Tagged(tag [32]byte) []string {
	l.t.Helper()
	keys, err := l.Tier.Tagged(context.Background(), tag)
	if err != nil {
		l.t.Error(err)
	}
	return keys
}

// holds fails the test unless the record is there, whole.
func (l *lab) holds(want Record) {
	l.t.Helper()
	got, found := l.Get(want.Key)
	if !found {
		l.t.Fatalf("%q is not there:\n%s", want.Key, l.log)
	}
	if diff := difference(want, got); diff != "" {
		l.t.Fatalf("%q (-want +got):\n%s", want.Key, diff)
	}
}

// difference returns how a record differs from the one that is wanted, "" if it doesn't.
func difference(want, got Record) string {
	if want.Key == got.Key && bytes.Equal(want.Value, got.Value) && slices.EqualFunc(want.Shared, got.Shared, bytes.Equal) &&
		slices.Equal(want.Tags, got.Tags) && want.Expires.Equal(got.Expires) {
		return ""
	}
	return cmp.Diff(want, got)
}

func (l *lab) lacks(keys ...string) {
	l.t.Helper()
	for _, key := range keys {
		if _, found := l.Get(key); found {
			l.t.Fatalf("%q is there", key)
		}
	}
}

func (l *lab) file() string { return filepath.Join(l.options.Dir, fileName) }

// aside returns what was set aside.
func (l *lab) aside() []string {
	l.t.Helper()
	found, err := filepath.Glob(filepath.Join(l.options.Dir, asidePrefix+"*"))
	if err != nil {
		l.t.Fatal(err)
	}
	return found
}

// breakDisk has every write to the file fail until mend is called, as on a disk that became read-only.
func (l *lab) breakDisk() (mend func()) {
	l.t.Helper()
	descriptor := int(l.Tier.file.Load().handle.Fd())
	kept, err := unix.Dup(descriptor)
	if err != nil {
		l.t.Fatal(err)
	}
	readOnly, err := unix.Open(l.file(), unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		l.t.Fatal(err)
	}
	defer unix.Close(readOnly)
	if err := unix.Dup2(readOnly, descriptor); err != nil {
		l.t.Fatal(err)
	}
	return func() {
		if err := unix.Dup2(kept, descriptor); err != nil {
			l.t.Fatal(err)
		}
		unix.Close(kept)
	}
}

// eventually fails the test unless something is so within some seconds.
func eventually(t testing.TB, what string, so func() bool) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); !so(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not so after 10 s: %s", what)
		}
	}
}

// chain is what several records share.
func chain(number int) [][]byte {
	return [][]byte{filling(number, 700), filling(number+1, 900)}
}

// filling is bytes that are known by a number.
func filling(number, size int) []byte {
	seed := sha256.Sum256(binary.BigEndian.AppendUint64(nil, uint64(number)))
	return bytes.Repeat(seed[:], size/len(seed)+1)[:size]
}

func tagOf(number int) [32]byte { return sha256.Sum256([]byte(fmt.Sprint("tag", number))) }

// sample is a record as a certificate makes it.
func sample(number int) Record {
	return Record{
		Key:     fmt.Sprintf("name-%06d.example", number),
		Value:   filling(1000+number, 1100),
		Shared:  chain(number % 2),
		Tags:    [][32]byte{tagOf(number % 10)},
		Expires: time.Date(2099, 1, 2, 3, 4, 5, number, time.UTC),
	}
}

func (l *lab) fill(count int) []Record {
	l.t.Helper()
	records := make([]Record, count)
	for i := range records {
		records[i] = sample(i)
		l.Put(records[i])
	}
	l.sync()
	return records
}

func isRoot() bool { return os.Geteuid() == 0 }
