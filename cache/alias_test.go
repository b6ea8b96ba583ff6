package cache

import (
	"crypto/sha256"
	"fmt"
	"strings"
	"testing"
	"time"

	"hellogate/store"
	"hellogate/store/certtest"
)

func TestAliasServesUntilItIsFetchedForItself(t *testing.T) {
	run(t, nil, func(t *testing.T, l *lab) {
		shared := l.stock("a.example", "b.example", "*.c.example")
		l.serves("a.example", shared, Miss)
		own := l.stock("b.example")
		l.serves("b.example", shared, Hit)
		if info, _ := l.Show("b.example"); info.AliasOf != "a.example" && info.AliasOf != "" {
			t.Fatalf("%+v", info)
		}
		l.sleep(time.Second)
		l.asked("b.example", 1)
		l.serves("b.example", own, Hit)
		l.refuses("x.c.example", store.ErrUnknown) // a wildcard makes no alias
		l.refuses("*.c.example", store.ErrUnknown)
	})
}

func TestAliasIsRemovedByNoAndKeptOnFailure(t *testing.T) {
	run(t, nil, func(t *testing.T, l *lab) {
		shared := l.stock("a.example", "b.example", "c.example")
		l.serves("a.example", shared, Miss)
		l.shelf.set("c.example", failing(errDown))
		l.serves("b.example", shared, Hit)
		l.serves("c.example", shared, Hit)
		l.sleep(time.Second)
		l.refuses("b.example", store.ErrUnknown)
		l.serves("c.example", shared, Hit)
		own := l.stock("c.example")
		l.sleep(time.Minute)
		l.serves("c.example", own, Hit)
	})
}

func TestSelfMadeCertificateTakesNobodysName(t *testing.T) {
	run(t, nil, func(t *testing.T, l *lab) {
		evil := l.ca.IssueWith(t, certtest.Options{Names: []string{"evil.example", "victim.example"}, SelfSigned: true})
		l.shelf.set("evil.example", gives(evil))
		l.serves("evil.example", evil, Miss)
		steps := l.Explain("victim.example")
		l.refuses("victim.example", store.ErrUnknown)
		if text := steps[1].Result; steps[1].Step != "alias" || !strings.Contains(text, "evil.example") || !strings.Contains(text, "x509") {
			t.Fatalf("steps %v", steps)
		}
	})
}

func TestAliasPolicies(t *testing.T) {
	for policy, want := range map[AliasPolicy]int{AliasesAll: 2, AliasesOff: 1} {
		run(t, func(o *Options) { o.Aliases = policy }, func(t *testing.T, l *lab) {
			issued := l.ca.IssueWith(t, certtest.Options{Names: []string{"a.example", "b.example"}, SelfSigned: true})
			l.shelf.set("a.example", gives(issued))
			l.serves("a.example", issued, Miss)
			if entries := l.Stats().Entries; entries != want {
				t.Errorf("policy %d: %d entries, want %d", policy, entries, want)
			}
		})
	}
}

func TestAliasNeverReplacesWhatWasFetched(t *testing.T) {
	run(t, nil, func(t *testing.T, l *lab) {
		own := l.stock("b.example")
		l.serves("b.example", own, Miss)
		shared := l.stock("a.example", "b.example")
		l.serves("a.example", shared, Miss)
		l.serves("b.example", own, Hit)
		l.sleep(time.Second)
		l.asked("b.example", 1)
	})
}

func TestAliasesFollowTheirOwner(t *testing.T) {
	run(t, nil, func(t *testing.T, l *lab) {
		first := l.stock("a.example", "b.example", "c.example")
		l.serves("a.example", first, Miss)
		second := l.stock("a.example", "b.example", "d.example")
		l.sleep(84 * day)
		var names []string
		for _, info := range l.Sample(10) {
			names = append(names, info.Name)
		}
		if got := strings.Join(names, " "); got != "a.example b.example d.example" {
			t.Fatalf("names %s", got)
		}
		if info, _ := l.Show("b.example"); info.Fingerprint != fmt.Sprintf("%x", sha256.Sum256(second.Leaf.Raw)) {
			t.Fatalf("b.example has the old certificate: %+v", info)
		}
		flushed, _ := l.Flush("a.example")
		if got := strings.Join(flushed, " "); got != "a.example b.example d.example" {
			t.Fatalf("flushed %s", got)
		}
		if stats := l.Stats(); stats.Entries != 0 || stats.Aliases != 0 || stats.Bytes != 0 {
			t.Fatalf("stats %+v", stats)
		}
	})
}

func TestOnlyVerifiedPairOfTwoMakesAliases(t *testing.T) {
	run(t, nil, func(t *testing.T, l *lab) {
		good := l.ca.IssueWith(t, certtest.Options{Names: []string{"a.example", "b.example"}, RSA: 2048})
		evil := l.ca.IssueWith(t, certtest.Options{Names: []string{"a.example", "b.example", "v.example"}, SelfSigned: true})
		l.shelf.set("a.example", gives(good, evil))
		l.serves("a.example", evil, Miss)
		l.serves("b.example", good, Hit)
		l.refuses("v.example", store.ErrUnknown)
	})
}

// An alias that was flushed by name does not come back with the next refresh of its owner's unchanged certificate.
func TestFlushedAliasStaysAway(t *testing.T) {
	run(t, func(o *Options) { o.TTL = time.Hour }, func(t *testing.T, l *lab) {
		shared := l.stock("a.example", "b.example")
		l.serves("a.example", shared, Miss)
		if got, _ := l.Flush("b.example"); len(got) != 1 || got[0] != "b.example" {
			t.Fatalf("flushed %v", got)
		}
		l.sleep(3 * time.Hour)
		if l.shelf.count("a.example") < 3 {
			t.Fatal("the owner was not asked for again")
		}
		l.refuses("b.example", store.ErrUnknown)
	})
}

func TestExplain(t *testing.T) {
	run(t, nil, func(t *testing.T, l *lab) {
		l.stock("a.example", "b.example", "*.w.example")
		l.get("a.example")
		l.get("no.example")
		l.shelf.set("bad.example", failing(errDown))
		l.get("bad.example")
		for name, want := range map[string][2]string{
			"a.example":    {"cached", "yes: fetched from shelf"},
			"b.example":    {"alias", "of a.example"},
			"x.w.example":  {"store", "would be asked"},
			"no.example":   {"remembered no", "unknown name"},
			"bad.example":  {"remembered failure", "store is down"},
			"else.example": {"store", "would be asked"},
		} {
			steps := l.Explain(name)
			last := steps[len(steps)-1]
			if last.Step != want[0] || !strings.Contains(last.Result, want[1]) {
				t.Errorf("%s: %v, want %v", name, steps, want)
			}
		}
		if step := l.Explain("x.w.example")[1]; !strings.Contains(step.Result, "wildcard") {
			t.Errorf("x.w.example: %v", step)
		}
		l.asked("else.example", 0)
	})
}
