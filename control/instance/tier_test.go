package instance

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"hellogate/cache"
	"hellogate/cache/disk"
)

var _ cache.Disk = (*tier)(nil)

func waitUntil(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(5 * time.Second); !holds(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not so: %s", what)
		}
	}
}

// Let go of, the folder is another's; taken back, what was to be removed meanwhile is removed, and the rest is there.
func TestTierIsLetGoOfAndTakenBack(t *testing.T) {
	ctx := t.Context()
	options := disk.Options{Dir: t.TempDir(), Log: zerolog.Nop()}
	ours, err := openTier(options)
	if err != nil {
		t.Fatal(err)
	}
	defer ours.let()
	for _, key := range []string{"stays", "goes"} {
		ours.Put(disk.Record{Key: key, Value: []byte("value")})
	}
	if err := ours.let(); err != nil {
		t.Fatal(err)
	}
	if _, _, err := ours.Get(ctx, "stays"); !errors.Is(err, errLetGo) {
		t.Errorf("got %v: it would be taken for not there", err)
	}
	if _, err := ours.Keys(ctx, "", 9); !errors.Is(err, errLetGo) {
		t.Errorf("got %v", err)
	}
	if _, err := ours.Tagged(ctx, [32]byte{}); !errors.Is(err, errLetGo) {
		t.Errorf("got %v", err)
	}
	if err := ours.Sync(ctx); !errors.Is(err, errLetGo) {
		t.Errorf("got %v", err)
	}
	ours.Put(disk.Record{Key: "lost", Value: []byte("value")})
	ours.Delete("goes")
	ours.DeleteAll() // nothing asks for it meanwhile
	theirs, err := disk.Open(options)
	if err != nil {
		t.Fatal(err)
	}
	if err := ours.take(); !errors.Is(err, disk.ErrInUse) || ours.stats().LastError == "" {
		t.Errorf("taken back while another has it: %v, %+v", err, ours.stats())
	}
	if err := theirs.Close(); err != nil {
		t.Fatal(err)
	}
	if err := ours.take(); err != nil {
		t.Fatal(err)
	}
	for key, want := range map[string]bool{"stays": true, "goes": false, "lost": false} {
		if _, there, err := ours.Get(context.Background(), key); there != want || err != nil {
			t.Errorf("%s: %v, %v", key, there, err)
		}
	}
	if ours.stats().Failing {
		t.Error("said to fail")
	}
}

func TestTierRemembersABoundedNumber(t *testing.T) {
	ours := &tier{}
	for range 3 {
		ours.Delete(make([]string, missedMost/2+1)...)
	}
	if len(ours.missed) != missedMost {
		t.Errorf("%d", len(ours.missed))
	}
}
