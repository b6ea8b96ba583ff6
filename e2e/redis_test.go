package e2e

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// soon is how long it may take until a change is served of which the store tells: a second is promised, and the rest is what
// a machine with other tests on it takes. Nothing else would have it served within minutes.
const soon = 4 * time.Second

// A name is served from Redis as each layout has it: until it is replaced, and then with the new certificate; until it is
// removed, and then not; and again once it is back. None of it waits for the end of a lifetime.
func TestRedisLayouts(t *testing.T) {
	t.Parallel()
	for _, layout := range []string{"prime1", "prime2", "json"} {
		t.Run(layout, func(t *testing.T) {
			t.Parallel()
			redis, backend := newRedis(t), newBackend(t, echo)
			first, second, third := ca().issue([]string{"a.example"}), ca().issue([]string{"a.example"}), ca().issue([]string{"a.example"})
			redis.put(layout, "a.example", first)
			g := start(t, usesRedis(redis, layout), usesBackend(backend.address))
			g.watches()
			g.visit("a.example")
			g.refused("unknown.example", alertUnrecognizedName)
			redis.put(layout, "a.example", second)
			g.getsSoon("a.example", second)
			redis.remove(layout, "a.example")
			g.within(soon, "the removed name is refused", func() bool { return !g.serves("a.example") })
			g.refused("a.example", alertUnrecognizedName)
			redis.put(layout, "a.example", third)
			g.getsSoon("a.example", third)
			redis.put(layout, "unknown.example", ca().issue([]string{"unknown.example"}))
			g.within(soon, "a name that was refused is served", func() bool { return g.serves("unknown.example") })
		})
	}
}

// watches waits until hellogate sees what changes in Redis. What is fetched just before is not cached: it may have changed.
func (g *gate) watches() {
	g.t.Helper()
	g.await("word that changes are seen", func(e entry) bool { return e.text("message") == "changes in the store are seen" })
}

// gets tells whether a client that asks for name gets the certificate of want.
func (g *gate) gets(name string, want pair, options ...option) bool {
	c, err := handshake(g.address, name, options...)
	if c != nil {
		defer c.wire.TCPConn.Close()
	}
	return err == nil && c.fingerprint() == want.fingerprint()
}

// getsSoon waits for it.
func (g *gate) getsSoon(name string, want pair) {
	g.t.Helper()
	g.within(soon, name+" is served with the new certificate", func() bool { return g.gets(name, want) })
}

// In prime1 what an id stands for may be written anew in place, with the names that point to it left alone.
func TestRedisPartsReplaced(t *testing.T) {
	t.Parallel()
	redis := newRedis(t)
	redis.putParts("7", ca().issue([]string{"a.example", "b.example"}))
	for _, name := range []string{"a.example", "b.example"} {
		redis.do("HSET", "d1:"+name, "c", "7", "p", "7", "i", "7")
	}
	g := start(t, usesRedis(redis, "prime1"), usesBackend(newBackend(t, echo).address))
	g.watches()
	g.visit("a.example")
	g.visit("b.example")
	renewed := ca().issue([]string{"a.example", "b.example"})
	redis.putParts("7", renewed)
	g.getsSoon("a.example", renewed)
	g.getsSoon("b.example", renewed)
}

// A process that has names from its disk tier alone, and never read them from Redis, serves what was changed there before it
// began and what is changed after.
func TestRedisChangeOfNamesFromDisk(t *testing.T) {
	t.Parallel()
	redis := newRedis(t)
	names := []string{"before.example", "after.example", "removed.example"}
	for _, name := range names {
		redis.put("prime2", name, ca().issue([]string{name}))
	}
	g := start(t, usesRedis(redis, "prime2"), usesBackend(newBackend(t, echo).address), keepsOnDisk(t))
	g.watches()
	for _, name := range names {
		g.visit(name)
	}
	g.stop()
	before, after := ca().issue(names[:1]), ca().issue(names[1:2])
	redis.put("prime2", "before.example", before)
	next := g.again()
	next.watches()
	if got := next.status().Cache.Entries; got != len(names) {
		t.Errorf("%d names came from the disk, want %d", got, len(names))
	}
	redis.put("prime2", "after.example", after)
	redis.remove("prime2", "removed.example")
	next.getsSoon("before.example", before)
	next.getsSoon("after.example", after)
	next.within(soon, "the removed name is refused", func() bool { return !next.serves("removed.example") })
	last := next.again()
	last.refused("removed.example", alertUnrecognizedName)
	last.visit("after.example")
}

// keepsOnDisk gives hellogate a disk tier.
func keepsOnDisk(t testing.TB) string {
	t.Helper()
	return fmt.Sprintf("cache: {dir: %q}", filepath.Join(t.TempDir(), "tier"))
}

// again ends hellogate and runs it once more, with the same configuration.
func (g *gate) again() *gate {
	g.t.Helper()
	g.stop()
	next := &gate{t: g.t, address: g.address, control: g.control, config: g.config, log: newLogBook(), ended: make(chan struct{})}
	next.run("run", "--config", next.config)
	return next
}

// A Redis that lost everything takes nobody offline: what is in the cache is served on, and comes anew with what is written.
func TestRedisFlushAll(t *testing.T) {
	t.Parallel()
	redis := newRedis(t)
	var names []string
	for i := range 30 {
		names = append(names, fmt.Sprintf("n%d.example", i))
		redis.put("json", names[i], ca().issue(names[i:i+1]))
	}
	g := start(t, usesRedis(redis, "json"), usesBackend(newBackend(t, echo).address), "cache: {withdraw_after: 1s, min_ttl: 1s}")
	g.watches()
	for _, name := range names {
		g.visit(name)
	}
	redis.do("FLUSHALL")
	g.eventually("names are asked for again when they are used, and are withdrawn", func() bool {
		return g.servesAll(names) && len(g.withdrawn()) > len(names)/2
	})
	for range 5 { // in which each would be dropped, a second after it was first missed
		time.Sleep(500 * time.Millisecond)
		if !g.servesAll(names) {
			t.Fatal("a name was dropped")
		}
	}
	renewed := ca().issue([]string{names[7]})
	redis.put("json", names[7], renewed)
	g.getsSoon(names[7], renewed)
}

// withdrawn are the names that the store said no to since.
func (g *gate) withdrawn() (names []string) {
	g.t.Helper()
	var list struct {
		Certs []struct {
			Name      string `json:"name"`
			Withdrawn bool   `json:"withdrawn"`
		} `json:"certs"`
	}
	g.get("/certs", &list)
	for _, cert := range list.Certs {
		if cert.Withdrawn {
			names = append(names, cert.Name)
		}
	}
	return names
}

func (g *gate) servesAll(names []string) bool {
	for _, name := range names {
		if !g.serves(name) {
			g.t.Logf("%s is refused", name)
			return false
		}
	}
	return true
}

// While Redis is gone, names in the cache are served and count as stale: nobody can tell what is changed meanwhile. What was
// changed is served once it is back.
func TestRedisKilledAndChanged(t *testing.T) {
	t.Parallel()
	redis := newRedis(t)
	redis.put("prime2", "a.example", ca().issue([]string{"a.example"}))
	g := start(t, usesRedis(redis, "prime2"), usesBackend(newBackend(t, echo).address))
	g.watches()
	g.visit("a.example")
	redis.kill()
	g.eventually("it is served as stale", func() bool {
		c := g.dial("a.example")
		defer c.wire.TCPConn.Close()
		c.Close()
		return g.accessOf(c).text("cert") == "stale"
	})
	g.refused("b.example", alertInternalError)
	renewed := ca().issue([]string{"a.example"})
	redis.start()
	redis.put("prime2", "a.example", renewed)
	g.within(2*soon, "the new certificate is served", func() bool { return g.gets("a.example", renewed) })
	again := ca().issue([]string{"a.example"})
	g.within(2*soon, "its changes are seen again", func() bool { return strings.Count(g.log.String(), "changes in the store are seen") >= 2 })
	redis.put("prime2", "a.example", again)
	g.getsSoon("a.example", again)
}

const redisPassword = "e2e-redis-password-that-no-log-may-hold"

// The password comes from the environment or from a file, is read again when the file changes, and is written nowhere.
func TestRedisPassword(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "password")
	for name, test := range map[string]struct {
		environment, file string
		served            bool
	}{
		"from the environment":   {environment: redisPassword, served: true},
		"from a file":            {file: redisPassword + "\n", served: true},
		"wrong":                  {environment: redisPassword + "-no"},
		"missing":                {},
		"wrong, and then mended": {file: redisPassword + "-no\n"},
	} {
		t.Run(name, func(t *testing.T) {
			redis := newRedis(t, locked(redisPassword))
			redis.put("prime2", "a.example", ca().issue([]string{"a.example"}))
			more := ""
			if test.file != "" {
				writeFile(t, file, test.file)
				more = fmt.Sprintf(", password_file: %q", file)
			}
			g := configured(t, "stores: ["+redis.entry("prime2", more)+"]", usesBackend(newBackend(t, echo).address))
			g.runBinary(hellogate, "HELLOGATE_REDIS_PASSWORD="+test.environment)
			if test.served {
				g.visit("a.example")
				g.watches()
			} else {
				g.refused("a.example", alertInternalError)
				g.await("error that tells why", func(e entry) bool {
					return e.text("level") == "error" && strings.Contains(fmt.Sprint(e), "the store refused our token or password")
				})
			}
			if name == "wrong, and then mended" {
				writeFile(t, file, redisPassword+"\n")
				g.eventually("it is served", func() bool { return g.serves("a.example") })
			}
			for what, text := range map[string]string{"the log": g.log.String(), "status": g.ctl("status", "--json").stdout} {
				if strings.Contains(text, redisPassword) {
					t.Errorf("%s holds the password:\n%s", what, text)
				}
			}
		})
	}
}

// Over TLS the server has to prove who it is; changes are told over TLS too.
func TestRedisOverTLS(t *testing.T) {
	t.Parallel()
	redis, backend := newRedis(t, overTLS, locked(redisPassword)), newBackend(t, echo)
	redis.put("prime2", "a.example", ca().issue([]string{"a.example"}))
	trusting := configured(t, "stores: ["+redis.entry("prime2", fmt.Sprintf(", ca_file: %q", ca().rootFile(t)))+"]", usesBackend(backend.address))
	trusting.runBinary(hellogate, "HELLOGATE_REDIS_PASSWORD="+redisPassword)
	trusting.watches()
	trusting.visit("a.example")
	renewed := ca().issue([]string{"a.example"})
	redis.put("prime2", "a.example", renewed)
	trusting.getsSoon("a.example", renewed)

	doubting := configured(t, usesRedis(redis, "prime2"), usesBackend(backend.address))
	doubting.runBinary(hellogate, "HELLOGATE_REDIS_PASSWORD="+redisPassword)
	doubting.refused("a.example", alertInternalError)
	doubting.await("line that tells why", func(e entry) bool { return strings.Contains(fmt.Sprint(e), "certificate signed by unknown authority") })
}

// run takes the URL of a Redis as its store, with what peter_sslers wrote into it.
func TestRunWithRedis(t *testing.T) {
	t.Parallel()
	redis, backend := newRedis(t), newBackend(t, echo)
	redis.put("prime2", "a.example", ca().issue([]string{"a.example"}))
	g := configured(t)
	g.run("run", "--listen", g.address, "--store", "redis://"+redis.address+"/0", "--backend", backend.address, "--control", g.control, "--log-format", "json")
	// What is fetched before changes can be seen is not cached.
	g.eventually("the name is cached", func() bool {
		g.visit("a.example")
		return g.ctl("cert", "show", "a.example").code == 0
	})
	g.refused("b.example", alertUnrecognizedName)
	wantExit(t, "cert show", g.ctl("cert", "show", "a.example"), 0, "redis://"+redis.address+"/0")
}

// What another store answered is put into a Redis with write_back, from which another hellogate serves it.
func TestWriteBackToRedis(t *testing.T) {
	t.Parallel()
	for _, layout := range []string{"prime1", "prime2", "json"} {
		t.Run(layout, func(t *testing.T) {
			t.Parallel()
			redis, store, backend := newRedis(t), newStore(t), newBackend(t, echo)
			store.on("unknown.example", status(404))
			writes := strings.TrimSuffix(redis.entry(layout, ""), "}") + ", write_back: true}"
			g := start(t, fmt.Sprintf("stores: [%s, {http: {url: %q}}]", writes, store.url()), usesBackend(backend.address))
			g.visit("a.example")
			g.refused("unknown.example", alertUnrecognizedName)
			g.await("line that says so", func(e entry) bool { return e.text("message") == "chain: written back" && e.text("name") == "a.example" })
			other := start(t, usesRedis(redis, layout), usesBackend(backend.address))
			if !other.gets("a.example", store.pairFor("a.example")) {
				t.Error("another hellogate does not serve it from Redis")
			}
			other.refused("unknown.example", alertUnrecognizedName)
			store.wantRequests(t, "a.example", 1)
		})
	}
}
