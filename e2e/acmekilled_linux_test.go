package e2e

import (
	"crypto/tls"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// When the process that makes an order is killed, the one that waits for it takes over.
func TestACMESharedTakeOver(t *testing.T) {
	t.Parallel()
	p := newPebble(t)
	open := p.gated(stepFinalize)
	one, two := p.gateAt(freeAddress(t), "on_demand: [.example]"), p.gate("on_demand: [.example]")
	var clients sync.WaitGroup
	clients.Go(func() { one.serves("a.example", p.trusted) })
	one.eventually("the order is under way", func() bool { return p.asked(stepFinalize) == 1 })
	clients.Go(func() { two.serves("a.example", p.trusted) })
	time.Sleep(200 * time.Millisecond)
	p.wantOrders(t, "a.example", 1)
	one.kill()
	open()
	two.within(40*time.Second, "the other one serves it", func() bool { return two.serves("a.example", p.trusted) })
	clients.Wait()
	p.stored("a.example")
	p.wantOrders(t, "a.example", 2)
}

// Killed at any moment of its orders, hellogate is as it was: what is in storage is whole, and the next start goes on.
func TestACMEKilled(t *testing.T) {
	t.Parallel()
	p := newPebble(t)
	g := p.configured(p.listener, "names: [a.example, b.example], key_types: [p256, p384]")
	g.run("run", "--config", g.config)
	halves := p.watchedForHalves()
	for range 12 {
		time.Sleep(time.Duration(rand.IntN(900)) * time.Millisecond)
		g.kill()
		for _, name := range []string{"a.example", "b.example"} {
			p.stored(name)
		}
		g = p.again(g)
		if len(p.stored("a.example"))+len(p.stored("b.example")) == 4 {
			g.ctl("acme", "renew", "a.example", "--force")
		}
	}
	for _, name := range []string{"a.example", "b.example"} {
		g.within(40*time.Second, name+" is served", func() bool { return g.serves(name, p.trusted) })
		g.within(40*time.Second, "it has both pairs", func() bool { return len(p.stored(name)) == 2 })
	}
	for _, err := range halves() {
		t.Error(err)
	}
	g.eventually("no lock is left", func() bool { return len(filesBelow(filepath.Join(p.storage, "locks"))) == 0 })
}

// watchedForHalves looks at the pairs in storage all the time, and gives what ends that and tells of each that was not whole.
func (p *pebble) watchedForHalves() (end func() []error) {
	var ended atomic.Bool
	var watch sync.WaitGroup
	var found []error
	watch.Go(func() {
		for ; !ended.Load() && len(found) == 0; time.Sleep(time.Millisecond) {
			files, _ := filepath.Glob(filepath.Join(p.storage, "certificates", "*", "*.pem"))
			for _, file := range files {
				text, err := os.ReadFile(file)
				if err == nil {
					_, err = tls.X509KeyPair(text, text)
				}
				if err != nil {
					found = append(found, fmt.Errorf("%s: %w", file, err))
				}
			}
		}
	})
	end = func() []error { ended.Store(true); watch.Wait(); return found }
	p.t.Cleanup(func() { end() })
	return end
}

// filesBelow are the files in a folder and those in it.
func filesBelow(folder string) (files []string) {
	filepath.WalkDir(folder, func(path string, entry fs.DirEntry, err error) error {
		if err == nil && !entry.IsDir() {
			files = append(files, path)
		}
		return nil
	})
	return files
}
