package disk

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"testing"
	"time"
)

// One byte is flipped, anywhere: whatever is read is right or isn't there, and what is written then is there.
func TestFlippedBytes(t *testing.T) {
	both(t, func(t *testing.T, encrypted bool) {
		l := newLab(t, encrypted, quick())
		records := l.fill(60)
		l.Delete(records[9].Key, records[10].Key) // so that there are free pages
		l.sync()
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		whole, err := os.ReadFile(l.file())
		if err != nil {
			t.Fatal(err)
		}
		seed := uint64(time.Now().UnixNano())
		t.Logf("%d bytes, seed %d", len(whole), seed)
		random := rand.New(rand.NewPCG(seed, 1))
		offsets := structural(whole, random)
		tried := 0
		for deadline := time.Now().Add(2 * time.Second); time.Now().Before(deadline); tried++ {
			at := random.IntN(len(whole))
			if tried < len(offsets) {
				at = offsets[tried]
			}
			damaged := bytes.Clone(whole)
			damaged[at] ^= byte(1 + random.IntN(255))
			l.write(damaged)
			l.flipped(records, fmt.Sprintf("offset %d, %#x instead of %#x", at, damaged[at], whole[at]))
		}
		t.Logf("%d flips, of %d in the structure", tried, len(offsets))
	})
}

// structural returns the offsets of the headers and elements of the pages, shuffled.
func structural(file []byte, random *rand.Rand) []int {
	var offsets []int
	for at := 0; at+4096 <= len(file); at += 4096 {
		p := page(file[at : at+4096])
		length := min(pageHeader+p.count()*elementSize, 256)
		if p.flags() == metaPage {
			length = pageHeader + metaSize
		}
		for i := range length {
			offsets = append(offsets, at+i)
		}
	}
	random.Shuffle(len(offsets), func(i, j int) { offsets[i], offsets[j] = offsets[j], offsets[i] })
	return offsets
}

// flipped opens the file as it is and goes through all that can be done with it.
func (l *lab) flipped(records []Record, what string) {
	l.t.Helper()
	l.open()
	defer func() {
		l.Close()
		for _, path := range l.aside() {
			os.Remove(path)
		}
	}()
	right := func(record Record) {
		l.t.Helper()
		if got, found := l.Get(record.Key); found && difference(record, got) != "" {
			l.t.Fatalf("%s: %q is wrong: %s", what, record.Key, difference(record, got))
		}
	}
	for _, record := range records {
		right(record)
	}
	tagged, _ := l.Tier.Tagged(l.t.Context(), tagOf(3))
	for _, key := range tagged {
		if !slices.ContainsFunc(records, func(r Record) bool { return r.Key == key && slices.Contains(r.Tags, tagOf(3)) }) {
			l.t.Fatalf("%s: %q has no such tag", what, key)
		}
	}
	_, _ = l.Tier.Keys(l.t.Context(), "", 100)
	added := []Record{sample(500), sample(501), sample(20)}
	gone := []string{records[0].Key, records[1].Key, records[2].Key, records[3].Key, records[31].Key, records[59].Key}
	before := len(l.aside())
	missing := l.change(added, gone, what)
	if missing != "" && len(l.aside()) > before {
		missing = l.change(added, gone, what) // it was written to the file that was found corrupted after that
	}
	if missing != "" {
		l.t.Fatalf("%s: %q was written and is not there", what, missing)
	}
	for _, record := range records {
		right(record)
	}
}

// change puts and deletes, and returns the key of a record that isn't there then.
func (l *lab) change(added []Record, gone []string, what string) (missing string) {
	l.t.Helper()
	for _, record := range added {
		l.Put(record)
	}
	l.Delete(gone...)
	if err := l.trySync(); err != nil {
		l.t.Fatalf("%s: %v", what, err)
	}
	l.lacks(gone...)
	for _, record := range added {
		if got, found := l.Get(record.Key); !found || difference(record, got) != "" {
			missing = record.Key
		}
	}
	return missing
}
