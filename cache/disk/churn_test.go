package disk

import (
	"math/rand/v2"
	"os"
	"strings"
	"testing"
	"time"

	"go.etcd.io/bbolt"
)

// What is checked before a transaction is never found wrong in a file that bbolt wrote, however it was changed, and bbolt
// finds nothing wrong either.
func TestChurn(t *testing.T) {
	l := newLab(t, false, quick())
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 1))
	keyOf := func() string {
		number := random.IntN(3000)
		return strings.Repeat("k", number%200) + sample(number).Key
	}
	want := make(map[string]int)
	sizes := []int{10, 300, 1100, 5000, 20000}
	for deadline := time.Now().Add(2 * time.Second); time.Now().Before(deadline); {
		deletes := random.IntN(100)
		for range random.IntN(300) {
			key := keyOf()
			if random.IntN(100) < deletes {
				l.Delete(key)
				delete(want, key)
				continue
			}
			want[key] = random.Int()
			l.Put(Record{Key: key, Value: filling(want[key], sizes[want[key]%len(sizes)]), Tags: [][32]byte{tagOf(random.IntN(50))}})
		}
		l.sync()
	}
	for key, value := range want {
		got, found := l.Get(key)
		if !found || string(got.Value) != string(filling(value, sizes[value%len(sizes)])) {
			t.Fatalf("%q: found %t", key, found)
		}
	}
	if got := l.Stats().Records; got != len(want) {
		t.Fatalf("%d records, want %d", got, len(want))
	}
	l.log.has(t, 0, "set aside")
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	l.raw(func(tx *bbolt.Tx) error {
		for err := range tx.Check() {
			t.Error(err)
		}
		return nil
	})
	if err := os.Remove(l.file()); err != nil {
		t.Fatal(err)
	}
}
