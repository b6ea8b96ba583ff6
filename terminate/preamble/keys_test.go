package preamble

import (
	"fmt"
	"sync"
	"testing"
)

func TestKeys(t *testing.T) {
	keys := NewKeys[string](2)
	a, b, c := Key{"aaaaaaaa"}, Key{"bbbbbbbb"}, Key{"cccccccc"}
	if _, ok := keys.Find(a); ok {
		t.Error("found in none")
	}
	releaseA, keptA := keys.Add(a, "first")
	releaseAgain, keptAgain := keys.Add(a, "second")
	if got, ok := keys.Find(a); !keptA || keptAgain || !ok || got != "first" {
		t.Errorf("kept %v, then %v; found %q, %v", keptA, keptAgain, got, ok)
	}
	if releaseAgain(); keys.Len() != 1 {
		t.Error("one that was not kept was released")
	}
	_, _ = keys.Add(b, "b")
	if _, kept := keys.Add(c, "c"); kept || keys.Len() != 2 {
		t.Errorf("a third of two: %d", keys.Len())
	}
	if releaseA(); keys.Len() != 1 {
		t.Errorf("%d are left", keys.Len())
	}
	if _, kept := keys.Add(a, "third"); !kept {
		t.Error("not kept again")
	}
	releaseA()
	if got, ok := keys.Find(a); !ok || got != "third" {
		t.Errorf("released twice: %q, %v", got, ok)
	}
}

func TestKeysAtOnce(t *testing.T) {
	keys := NewKeys[int](1000)
	var group sync.WaitGroup
	for i := range 8 {
		group.Go(func() {
			for j := range 100 {
				key := Key{fmt.Sprintf("%04d%04d", i, j)}
				release, kept := keys.Add(key, j)
				if got, ok := keys.Find(key); !kept || !ok || got != j {
					t.Errorf("%d, %v, %v", got, ok, kept)
				}
				release()
			}
		})
	}
	group.Wait()
	if keys.Len() != 0 {
		t.Errorf("%d are left", keys.Len())
	}
}
