package cache

import (
	"context"
	"crypto/tls"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rs/zerolog"
	"golang.org/x/sys/unix"

	"hellogate/cache/disk"
	"hellogate/store"
	"hellogate/store/certtest"
)

// What is measured with a million names. Each has a certificate and a key of its own in memory, as bytes.
const million = 1_000_000

// scaleOptions are those of a cache that has room for a million names.
func scaleOptions(from store.Store) Options {
	return Options{Size: 4 << 30, Store: from, Aliases: AliasesOff, Log: zerolog.Nop()}
}

// once keeps a benchmark that measures by itself from being repeated, and its own time out of the results.
func once(b *testing.B, measure func()) {
	b.Helper()
	if b.N > 1 {
		b.Skip("it is measured once, with -benchtime 1x")
	}
	measure()
	b.ReportMetric(0, "ns/op")
}

// A look-up among a million names on one processor: of 1,000 that are hot, in turn; and of any, at random, whose keys are
// not parsed: finding the entry is measured, parsing it is BenchmarkWarm.
func BenchmarkScaleLookup(b *testing.B) {
	c := New(scaleOptions(&shelf{}))
	defer c.Close()
	fill(b, c, certtest.NewCA(b), million)
	queries := hotNames(b, c, 1000, million)
	names := shuffledNames()
	debug.FreeOSMemory()
	b.Run("hot", func(b *testing.B) {
		lookUp(b, func(i int) bool {
			got, err := c.Get(context.Background(), queries[i%len(queries)])
			return err == nil && got.Source == Hit
		})
	})
	b.Run("uniform", func(b *testing.B) {
		lookUp(b, func(i int) bool { return c.finds(names[i%len(names)]) })
	})
}

// shuffledNames are a million names in no order. They lie in memory in the order in which they are asked for: a client's
// name has just been read from its hello.
func shuffledNames() []string {
	var text strings.Builder
	order := rand.Perm(million)
	for _, i := range order {
		text.WriteString(nameOf(i) + "\n")
	}
	return strings.Split(text.String(), "\n")[:million]
}

// lookUp reports the processor time of a look-up, too, which the rest of the machine has no part in.
func lookUp(b *testing.B, find func(i int) bool) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	began := threadTime(b)
	done := 0
	for b.Loop() {
		if !find(done) {
			b.Fatal("not found")
		}
		done++
	}
	b.ReportMetric(float64(threadTime(b)-began)/float64(done), "cpu-ns/op")
}

// finds does what a Get does before a key is parsed.
func (c *Cache) finds(name string) bool {
	if hot, _ := c.hot.index.find(name); hot != nil {
		return !c.clock.now().reached(hot.notAfter)
	}
	found, _ := c.index.find(name)
	return found != nil
}

// A million names that no store knows, asked for by as many clients: what they add to what is resident, and what they do
// to hits meanwhile. With the bound on look-ups that is the default, and with none.
func BenchmarkScaleFlood(b *testing.B) {
	for name, lookups := range map[string]Lookups{
		"bounded": {Rate: 500, Burst: 5000, PerClient: 20, ClientBurst: 200}, "unbounded": {},
	} {
		b.Run(name, func(b *testing.B) { once(b, func() { floodUnknown(b, lookups) }) })
	}
}

func floodUnknown(b *testing.B, lookups Lookups) {
	options := scaleOptions(answering(unknown))
	options.Size, options.Lookups = 512<<20, lookups
	c := New(options)
	defer c.Close()
	fill(b, c, certtest.NewCA(b), 10_000)
	queries := hotNames(b, c, 1000, 10_000)
	before := anonymousBytes(b)
	quiet := median(b, c, queries, func(done int) bool { return done == 10 })
	var flood sync.WaitGroup
	var ended atomic.Bool
	flood.Go(func() {
		defer ended.Store(true)
		for i := range million {
			client := netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)})
			_, _ = c.Get(context.Background(), Query{Name: fmt.Sprintf("n%d.flood.example", i), Client: client})
		}
	})
	flooded := median(b, c, queries, func(int) bool { return ended.Load() })
	flood.Wait()
	b.ReportMetric(quiet, "ns/hit-before")
	b.ReportMetric(flooded, "ns/hit-during")
	b.ReportMetric(float64(anonymousBytes(b)-before)/(1<<20), "MB-gained")
}

// median measures hits until enough says so.
func median(b *testing.B, c *Cache, queries []Query, enough func(done int) bool) float64 {
	var measured []float64
	for len(measured) == 0 || !enough(len(measured)) {
		measured = append(measured, hitLatency(b, c, queries, 100_000))
	}
	slices.Sort(measured)
	return measured[len(measured)/2]
}

// hitLatency is the processor time of a hit, in nanoseconds: what others do meanwhile is not in it.
func hitLatency(b *testing.B, c *Cache, queries []Query, hits int) float64 {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	began := threadTime(b)
	for i := range hits {
		if _, err := c.Get(context.Background(), queries[i%len(queries)]); err != nil {
			b.Error(err)
		}
	}
	return float64(threadTime(b)-began) / float64(hits)
}

func threadTime(b *testing.B) int64 {
	var used unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &used); err != nil {
		b.Fatal(err)
	}
	return used.Nano()
}

// A start with a million names on disk: the time to a first handshake, and what a handshake of a name takes that is on
// disk alone. HELLOGATE_SCALE_DIR keeps the file for the next time.
func BenchmarkScaleStart(b *testing.B) {
	once(b, func() {
		folder := os.Getenv("HELLOGATE_SCALE_DIR")
		if folder == "" {
			folder = b.TempDir()
		}
		folder = filepath.Join(folder, "tier")
		fillDisk(b, folder)
		began := time.Now()
		tier, err := disk.Open(disk.Options{Dir: folder, Log: zerolog.Nop()})
		if err != nil {
			b.Fatal(err)
		}
		defer tier.Close()
		options := scaleOptions(answering(failing(errDown)))
		options.Disk = tier
		c := New(options)
		defer c.Close()
		shake(b, c, nameOf(million/2))
		b.ReportMetric(float64(time.Since(began).Microseconds())/1000, "ms-to-first-handshake")
		var took []time.Duration
		for range 500 {
			name := nameOf(rand.N(million))
			for c.inMemory(name) {
				name = nameOf(rand.N(million))
			}
			took = append(took, shake(b, c, name))
		}
		slices.Sort(took)
		b.ReportMetric(float64(took[len(took)/2].Microseconds())/1000, "ms-handshake-median")
		b.ReportMetric(float64(took[len(took)*99/100].Microseconds())/1000, "ms-handshake-p99")
		b.ReportMetric(float64(tier.Stats().FileBytes>>20), "MB-file")
	})
}

func (c *Cache) inMemory(name string) bool {
	found, _ := c.index.find(name)
	return found != nil
}

// fillDisk has a tier hold a million names, unless it does.
func fillDisk(b *testing.B, folder string) {
	b.Helper()
	tier, err := disk.Open(disk.Options{Dir: folder, Log: zerolog.Nop()})
	if err != nil {
		b.Fatal(err)
	}
	defer tier.Close()
	if _, there, _ := tier.Get(b.Context(), nameOf(million-1)); there {
		return
	}
	ca := certtest.NewCA(b)
	const batch = 4000
	for from := 0; from < million; from += batch {
		options := scaleOptions(&shelf{})
		c := New(options)
		fillFrom(b, c, ca, from, batch)
		for found := range c.index.all(0) {
			tier.Put(c.record(found))
		}
		c.Close()
		if err := tier.Sync(context.Background()); err != nil {
			b.Fatal(err)
		}
	}
}

// shake does a handshake for a name with what the cache has, over loopback, and returns how long it took.
func shake(b *testing.B, c *Cache, name string) time.Duration {
	b.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	defer listener.Close()
	var serving sync.WaitGroup
	serving.Go(func() {
		accepted, err := listener.Accept()
		if err != nil {
			return
		}
		defer accepted.Close()
		server := tls.Server(accepted, &tls.Config{GetCertificate: func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
			got, err := c.Get(context.Background(), Query{Name: hello.ServerName, Hello: hello})
			return got.Certificate, err
		}})
		_ = server.Handshake() // the client sees whether it went well
	})
	defer serving.Wait()
	began := time.Now()
	client, err := tls.Dial("tcp", listener.Addr().String(), &tls.Config{ServerName: name, InsecureSkipVerify: true})
	if err != nil {
		b.Fatal(err)
	}
	took := time.Since(began)
	client.Close()
	return took
}

// anonymousBytes is what the process has in memory that is no file's, after a collection.
func anonymousBytes(b *testing.B) int64 {
	b.Helper()
	debug.FreeOSMemory()
	kilobytes, err := strconv.ParseInt(statusField(b, "RssAnon:"), 10, 64)
	if err != nil {
		b.Fatal(err)
	}
	return kilobytes << 10
}
