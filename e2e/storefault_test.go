package e2e

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// refusedWithin is how long a refusal may take: the store's timeout is 2s.
const refusedWithin = 4 * time.Second

// A bad answer for one name: the client gets alert 80 within the store's timeout, the name is not taken for unknown, and a
// name that is cached notices nothing.
func TestBadAnswers(t *testing.T) {
	t.Parallel()
	good, other := ca().issue([]string{"bad.example"}), ca().issue([]string{"other.example"})
	for name, do := range map[string]answer{
		"hangs":           hang,
		"drips":           drip(good),
		"cut off":         cutOff(good),
		"reset":           abort,
		"garbage":         body("application/json", "<html>hello</html>"),
		"empty":           body("application/json", ""),
		"null":            body("application/json", "null"),
		"no key":          body("application/json", fmt.Sprintf(`{"cert": %q}`, good.certPEM())),
		"key twice":       body("application/json", strings.Replace(string(bundleJSON(good)), "{", `{"key":"x",`, 1)),
		"other's name":    bundle(other),
		"other's key":     bundle(pair{chain: good.chain, key: newKey()}),
		"expired":         bundle(ca().issue([]string{"bad.example"}, valid(-2*time.Hour, -time.Hour))),
		"not yet valid":   bundle(ca().issue([]string{"bad.example"}, valid(time.Hour, 2*time.Hour))),
		"201":             func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(201); w.Write(bundleJSON(good)) },
		"206":             func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(206); w.Write(bundleJSON(good)) },
		"304 unasked":     status(304),
		"400":             status(400),
		"500":             status(500),
		"502":             status(502),
		"429":             status(429),
		"503":             status(503, "Retry-After", "1"),
		"401":             status(401),
		"403":             status(403),
		"redirect":        status(302, "Location", "/certs/good.example"),
		"deep JSON":       body("application/json", strings.Repeat("[", 1<<20)),
		"encrypted key":   body("application/x-pem-file", good.certPEM()+strings.ReplaceAll(good.keyPEM(), "PRIVATE", "ENCRYPTED PRIVATE")),
		"certificate key": body("application/json", fmt.Sprintf(`{"cert": %q, "key": %q}`, good.certPEM(), good.certPEM())),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.visit("good.example")
			w.store.on("bad.example", do)
			if took := w.refused("bad.example", alertInternalError); took > refusedWithin {
				t.Errorf("refused after %v", took)
			}
			w.visit("good.example")
			w.store.wantRequests(t, "good.example", 1)
			if got := w.status().Cache.Negative; got != 0 {
				t.Errorf("%d names are remembered as unknown", got)
			}
			w.store.works("bad.example")
			w.flush("bad.example")
			w.visit("bad.example")
		})
	}
}

// 204, 404 and 410 are a no: remembered, and no failure of the store.
func TestNoAnswers(t *testing.T) {
	t.Parallel()
	for _, code := range []int{204, 404, 410} {
		t.Run(itoa(code), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.store.onAll(status(code))
			for i := range 10 {
				w.refused(fmt.Sprintf("gone%d.example", i%8), alertUnrecognizedName)
			}
			if got := len(w.store.allRequests()); got != 8 {
				t.Errorf("the store was asked %d times for 8 names", got)
			}
			if got := w.status(); got.Cache.Negative != 8 || got.Stores[0].Breaker != "closed" {
				t.Errorf("%d names are remembered as unknown, want 8; the breaker is %s", got.Cache.Negative, got.Stores[0].Breaker)
			}
		})
	}
}

// A bundle as PEM, and chains in the wrong order, are taken.
func TestGoodAnswers(t *testing.T) {
	t.Parallel()
	p := ca().issue([]string{"good.example"})
	reversed := pair{chain: append(p.chain[1:2:2], p.chain[0]), key: p.key}
	for name, do := range map[string]answer{
		"PEM":           body("application/x-pem-file", p.certPEM()+p.keyPEM()),
		"PEM key first": body("application/octet-stream", p.keyPEM()+p.certPEM()),
		"PEM unnamed":   body("text/plain", p.certPEM()+p.keyPEM()),
		"JSON unnamed":  body("text/plain", string(bundleJSON(p))),
		"wrong order":   bundle(reversed),
		"slow":          after(300*time.Millisecond, bundle(p)),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.store.on("good.example", do)
			w.visit("good.example")
			w.visit("good.example")
			w.store.wantRequests(t, "good.example", 1)
		})
	}
}

// Gigabytes of body, plain or out of a gzip bomb, are cut off; the memory that hellogate holds stays as it was.
func TestHugeBodies(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.visit("good.example")
	sent := make(chan int64, 1)
	w.store.on("endless.example", endless(sent))
	w.store.on("bomb.example", bomb())
	before := w.memory()
	w.refused("endless.example", alertInternalError)
	if got := <-sent; got > 64<<20 {
		t.Errorf("%d bytes of an endless body were taken", got)
	}
	w.refused("bomb.example", alertInternalError)
	if grown := w.peakMemory() - before; grown > 64<<20 && !withRace {
		t.Errorf("memory grew by %d bytes", grown)
	}
	w.visit("good.example")
}

// bomb answers 1 MB that becomes 1 GB: what a gzip member of 1 MB of zeros packs into, a thousand times.
func bomb() answer {
	var member bytes.Buffer
	zip := gzip.NewWriter(&member)
	blanks(zip, 1<<20)
	zip.Close()
	packed := bytes.Repeat(member.Bytes(), 1000)
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Encoding", "gzip")
		w.Header().Set("Content-Type", "application/json")
		w.Write(packed)
	}
}

// A redirect to another port is not followed, so that the token goes nowhere else.
func TestRedirectIsNotFollowed(t *testing.T) {
	t.Parallel()
	w, thief := newWorld(t), newStore(t)
	for _, code := range []int{301, 302, 303, 307, 308} {
		name := fmt.Sprintf("redirect%d.example", code)
		w.store.on(name, status(code, "Location", thief.url()+"/"+name))
		w.refused(name, alertInternalError)
	}
	if got := thief.allRequests(); len(got) != 0 {
		t.Errorf("followed: %v", got)
	}
}

// 401 and 403 mean that our token is wrong: an error in the log says so.
func TestWrongTokenIsLogged(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.store.onAll(status(401))
	w.refused("a.example", alertInternalError)
	w.await("error about the token", func(e entry) bool {
		return e.text("level") == "error" && strings.Contains(fmt.Sprint(e), "token")
	})
}

// A redirect, a bad status or a bad bundle is told with the store, the name and what was wrong.
func TestFailureIsLogged(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.store.on("a.example", bundle(ca().issue([]string{"other.example"})))
	w.refused("a.example", alertInternalError)
	w.await("line about the wrong certificate", func(e entry) bool {
		text := fmt.Sprint(e)
		return !e.isAccess() && strings.Contains(text, "a.example") && strings.Contains(text, "other.example")
	})
}

// With the store down, cached names are served and new ones refused at once; when it is back, new names are served again.
func TestStoreDown(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "breaker: {reset: 500ms}")
	w.visit("known.example")
	w.store.stop()
	for i := range 8 {
		if took := w.refused(fmt.Sprintf("new%d.example", i), alertInternalError); took > time.Second {
			t.Errorf("refused after %v", took)
		}
		w.visit("known.example")
	}
	if got := w.breaker(); got != "open" {
		t.Errorf("the breaker is %s", got)
	}
	w.access("reason", "breaker_open")
	w.store.start()
	w.eventually("a new name is served", func() bool { return w.serves("late.example") })
	if got := w.breaker(); got != "closed" {
		t.Errorf("the breaker is %s after the store is back", got)
	}
}

// hellogate starts with its store down, and recovers by itself.
func TestStoreDownAtStart(t *testing.T) {
	t.Parallel()
	store := newStore(t)
	store.stop()
	backend := newBackend(t, echo)
	g := start(t, usesStore(store), usesBackend(backend.address))
	g.refused("a.example", alertInternalError)
	store.start()
	g.eventually("the name is served", func() bool { return g.serves("a.example") })
}

// The breaker opens after 5 failures of different names, asks nothing while open, lets one probe through, and closes.
func TestBreaker(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "breaker: {failures: 5, reset: 1s}")
	w.store.onAll(status(500))
	for i := range 5 {
		w.refused(fmt.Sprintf("a%d.example", i), alertInternalError)
	}
	if got := w.status().Stores[0]; got.Breaker != "open" || got.RetryIn <= 0 || got.RetryIn > 1.2 {
		t.Errorf("the breaker is %s, to be tried in %v s", got.Breaker, got.RetryIn)
	}
	asked := len(w.store.allRequests())
	w.refused("b.example", alertInternalError)
	if got := len(w.store.allRequests()); got != asked {
		t.Errorf("the store was asked %d times behind an open breaker", got-asked)
	}
	w.store.onAll(after(800*time.Millisecond, w.store.serveIssued))
	time.Sleep(1200 * time.Millisecond) // reset is 1s
	var probe sync.WaitGroup
	probe.Go(func() {
		if !w.serves("c.example") {
			t.Error("the probe was not served")
		}
	})
	w.eventually("the store is asked", func() bool { return len(w.store.requests("c.example")) == 1 })
	if got := w.breaker(); got != "half_open" {
		t.Errorf("the breaker is %s during the probe", got)
	}
	w.refused("d.example", alertInternalError) // there is one probe
	probe.Wait()
	if got := w.breaker(); got != "closed" {
		t.Errorf("the breaker is %s after a good probe", got)
	}
}

// A name that keeps failing opens no breaker and is asked for ever less often.
func TestOneNameFailing(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.store.on("broken.example", status(500))
	for range 1000 {
		w.refused("broken.example", alertInternalError, classical)
	}
	if got := len(w.store.requests("broken.example")); got > 6 {
		t.Errorf("the store was asked %d times for the name that fails", got)
	}
	if got := w.breaker(); got != "closed" {
		t.Errorf("the breaker is %s", got)
	}
	w.visit("fine.example")
}

// A store that flaps is never stampeded, and known names notice nothing.
func TestFlappingStore(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "breaker: {reset: 300ms}")
	w.visit("known.example")
	stopped := make(chan struct{})
	var running sync.WaitGroup
	var served atomic.Int64
	for worker := range 4 {
		running.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-stopped:
					return
				default:
				}
				if w.serves(fmt.Sprintf("w%d-%d.example", worker, i/3), classical) {
					served.Add(1)
				}
				time.Sleep(10 * time.Millisecond)
			}
		})
	}
	for range 4 {
		w.store.stop()
		time.Sleep(300 * time.Millisecond)
		w.visit("known.example")
		w.store.start()
		time.Sleep(600 * time.Millisecond)
		w.visit("known.example")
	}
	close(stopped)
	running.Wait()
	if served.Load() == 0 {
		t.Error("no new name was served in between")
	}
	w.store.wantRequests(t, "known.example", 1)
	w.eventually("a new name is served", func() bool { return w.serves("after.example") })
}

// A store that suddenly knows nobody takes no name that is cached offline; the log says what is going on.
func TestStoreForgetsEverybody(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "cache: {ttl: 1s, min_ttl: 1s, withdraw_after: 1s}")
	names := make([]string, 20)
	for i := range names {
		names[i] = fmt.Sprintf("n%d.example", i)
		w.visit(names[i])
	}
	w.store.onAll(status(404))
	asked := len(w.store.allRequests())
	w.eventually("the names were asked for again, twice", func() bool { return len(w.store.allRequests()) >= asked+2*len(names) })
	served := 0
	for _, name := range names {
		if w.serves(name) {
			served++
		}
	}
	if served < len(names)-2 {
		t.Errorf("only %d of %d names are still served", served, len(names))
	}
	w.await("error that dropping stopped", func(e entry) bool { return e.text("level") == "error" })
}
