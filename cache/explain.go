package cache

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// Step is one thing that was looked at, and what came of it.
type Step struct{ Step, Result string }

// Explain says what a client that asks for a name would get now, and why, in the order in which it is looked for. The
// last step is what decides. Nothing is fetched.
func (c *Cache) Explain(name string) []Step {
	if info, ok := c.Show(name); ok {
		return c.explainCached(info)
	}
	steps := []Step{{"cached", "no"}, {"alias", c.explainNoAlias(name)}}
	c.mu.Lock()
	defer c.unlock()
	now := c.clock.now()
	for _, remembered := range []struct {
		step string
		of   *denials
	}{{"remembered no", &c.unknown}, {"remembered failure", &c.failed}} {
		if err := remembered.of.recall(name, now); err != nil {
			return append(steps, Step{remembered.step, "yes: " + err.Error()})
		}
		steps = append(steps, Step{remembered.step, "no"})
	}
	if f := c.flights[name]; f != nil {
		return append(steps, Step{"fetch under way", f.explain(now)})
	}
	return append(steps, Step{"fetch under way", "no"}, Step{"store", "would be asked"})
}

func (f *flight) explain(now moment) string {
	since := round(now.mono - f.began)
	if f.line != nil {
		return fmt.Sprintf("yes: waiting for its turn for %s", since)
	}
	return fmt.Sprintf("yes: the store was asked %s ago", since)
}

func (c *Cache) explainCached(info Info) []Step {
	now := time.Now()
	result := fmt.Sprintf("yes: fetched from %s %s ago, %s certificate, asked for again in %s, expires in %s", info.Store,
		roughly(now.Sub(info.FetchedAt)), info.KeyType, roughly(info.RefetchAt.Sub(now)), roughly(info.NotAfter.Sub(now)))
	switch {
	case info.Withdrawn:
		result += "; withdrawn, the store says: " + info.LastError
	case info.LastError != "":
		result += "; the last refresh did not go well: " + info.LastError
	}
	if info.AliasOf == "" {
		return []Step{{"cached", result}}
	}
	return []Step{{"cached", "no"}, {"alias", "of " + info.AliasOf + ", whose certificate names it: " + result}}
}

// explainNoAlias says why no certificate that is cached for another name answers for this one.
func (c *Cache) explainNoAlias(name string) string {
	_, parent, _ := strings.Cut(name, ".")
	wildcard := ""
	for found := range c.index.all(0) {
		for p := range found.held.Load().each() {
			names := strings.Fields(p.names)
			if slices.Contains(names, name) {
				return fmt.Sprintf("no: the certificate of %s names it, but %s", found.name, c.whyNoAlias(p))
			}
			if wildcard == "" && slices.Contains(names, "*."+parent) {
				wildcard = found.name
			}
		}
	}
	if wildcard != "" {
		return fmt.Sprintf("no: the certificate of %s covers it by *.%s, but a wildcard makes no alias", wildcard, parent)
	}
	return "no: no cached certificate names it"
}

func (c *Cache) whyNoAlias(p *pair) string {
	chain := [][]byte{p.bytes[:p.leaf]}
	if p.chain != nil {
		chain = append(chain, p.chain.der...)
	}
	if err := c.mayAlias(chain); err != nil {
		return err.Error()
	}
	return "its alias was flushed, evicted or denied since that was fetched"
}

func roughly(d time.Duration) time.Duration {
	if d.Abs() >= time.Minute {
		return d.Round(time.Minute)
	}
	return d.Round(time.Second)
}
