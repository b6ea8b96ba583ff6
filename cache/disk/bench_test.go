package disk

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime/debug"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"
)

// certificate is a record of the size that a P-256 certificate with its key takes, 1.1 KB, under one of 4 chains.
func certificate(number int) Record {
	record := sample(number)
	record.Shared = chain(number % 4)
	record.Tags = [][32]byte{tagOf(number)}
	return record
}

// load writes records, in the order of their names, and returns how long that took.
func (l *lab) load(count int) time.Duration {
	l.t.Helper()
	start := time.Now()
	for i := range count {
		l.Put(certificate(i))
		if i%4096 == 4095 {
			l.sync()
		}
	}
	l.sync()
	return time.Since(start)
}

// realLab is a tier on the disk of the temporary folder, with a key.
func realLab(t testing.TB) *lab {
	l := &lab{t: t, pace: defaultPace, log: &lines{}}
	l.options = Options{Dir: filepath.Join(t.TempDir(), "tier"), KeyFile: writeKey(t, 1), Log: zerolog.New(l.log)}
	l.open()
	return l
}

// How long it takes to open a file doesn't hang on what is in it. It is told, not asserted.
func TestOpenTime(t *testing.T) {
	count := 200_000
	if raceEnabled || testing.Short() {
		count = 10_000
	}
	p := quick()
	p.batchBytes, p.batchLength = 32<<20, 20_000
	l := newLab(t, true, p)
	took := l.load(count)
	must(t, l.Close())
	start := time.Now()
	l.open()
	t.Logf("%d records, %d MB, written in %s: opened in %s", count, l.Stats().FileBytes>>20, took, time.Since(start))
	if got := l.Stats().Records; got != count {
		t.Fatalf("%d records, want %d", got, count)
	}
	l.holds(certificate(count / 2))
}

func BenchmarkGet(b *testing.B) {
	for _, count := range []int{1000, 100_000} {
		b.Run(strconv.Itoa(count), func(b *testing.B) {
			l := realLab(b)
			defer l.Close()
			l.load(count)
			next := 0
			b.ReportAllocs()
			for b.Loop() {
				next = (next + 7919) % count
				if _, found := l.Get(keyAt(next)); !found {
					b.Fatal("not there")
				}
			}
		})
	}
}

// keyAt is the key of a record.
func keyAt(number int) string { return fmt.Sprintf("name-%06d.example", number) }

// A put, in batches as they come, with one Sync at the end of 4,096.
func BenchmarkPut(b *testing.B) {
	orders := map[string]int{"ordered": 1, "scattered": 7919}
	for name, stride := range orders {
		b.Run(name, func(b *testing.B) {
			l := realLab(b)
			defer l.Close()
			records := make([]Record, 100_000)
			for i := range records {
				records[i] = certificate(i * stride % len(records))
			}
			next := 0
			for b.Loop() {
				l.Put(records[next%len(records)])
				if next++; next%4096 == 0 {
					l.sync()
				}
			}
			l.sync()
		})
	}
}

// Opening a file with 1,000,000 records, what that takes in memory, and a first and a later Get.
func BenchmarkOpenMillion(b *testing.B) {
	const count = 1_000_000
	l := realLab(b)
	b.Logf("written in %s, %d MB", l.load(count), l.Stats().FileBytes>>20)
	if err := l.Close(); err != nil {
		b.Fatal(err)
	}
	before := anonymous(b)
	next := 0
	for b.Loop() {
		l.open()
		b.StopTimer()
		for range 1000 {
			next = (next + 7919) % count
			if _, found := l.Get(keyAt(next)); !found {
				b.Fatal("not there")
			}
		}
		b.ReportMetric(float64(anonymous(b)-before), "KB-more")
		if err := l.Close(); err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
	}
}

// anonymous is the memory of the process that is no file's, in KB.
func anonymous(t testing.TB) int {
	t.Helper()
	debug.FreeOSMemory()
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		t.Skip(err)
	}
	for line := range strings.Lines(string(status)) {
		if value, found := strings.CutPrefix(line, "RssAnon:"); found {
			size, err := strconv.Atoi(strings.Fields(value)[0])
			if err != nil {
				t.Fatal(err)
			}
			return size
		}
	}
	t.Skip("no RssAnon")
	return 0
}
