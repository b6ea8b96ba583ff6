package cache

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"
)

// Step is one thing that was looked at, and what came of it.
type Step struct{ Step, Result string }

// Explain says what a client that asks for a name would get now, and why, in the order in which it is looked for. The
// last step is what decides. Nothing is fetched.
func (c *Cache) Explain(name string) []Step {
	if info, ok := c.Show(name); ok && info.Name == name {
		return c.explainCached(info)
	} else if ok {
		return append([]Step{{"cached", "no"}}, c.explainWildcard(info)...)
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
			steps = append(steps, Step{remembered.step, "yes: " + err.Error()})
			if denied, is := c.explainDenied(name); is && remembered.of == &c.unknown {
				steps = append(steps, denied)
			}
			return steps
		}
		steps = append(steps, Step{remembered.step, "no"})
	}
	if f := c.flights[name]; f != nil {
		return append(steps, Step{"fetch under way", f.explain(now)})
	}
	steps = append(steps, Step{"fetch under way", "no"})
	if err := c.budget.check(netip.Addr{}, now); err != nil {
		return append(steps, Step{"look-ups", "none just now: " + err.Error()})
	}
	if denied, is := c.explainDenied(name); is {
		return append(steps, denied)
	}
	return append(append(steps, c.explainPermission(name)...), Step{"store", "would be asked"})
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
	result := info.origin(now) + ", expires in " + roughly(info.NotAfter.Sub(now))
	switch {
	case info.Withdrawn:
		result += "; withdrawn, the store says: " + info.LastError
	case info.LastError != "":
		result += "; the last refresh did not go well: " + info.LastError
	}
	for _, remark := range info.Remarks {
		result += "; " + remark
	}
	if info.AliasOf == "" {
		return []Step{{"cached", result}}
	}
	return []Step{{"cached", "no"}, {"alias", "of " + info.AliasOf + ", whose certificate names it: " + result}}
}

// origin says where a certificate is from, and when its store is asked again.
func (i Info) origin(now time.Time) string {
	if i.RefetchAt.IsZero() {
		return fmt.Sprintf("yes: pinned by hand %s ago, %s certificate", roughly(now.Sub(i.FetchedAt)), i.KeyType)
	}
	return fmt.Sprintf("yes: fetched from %s %s ago%s, %s certificate, asked for again in %s", i.Store,
		roughly(now.Sub(i.FetchedAt)), tookText(i.Took), i.KeyType, roughly(i.RefetchAt.Sub(now)))
}

// explainNoAlias says why no certificate that is cached for another name answers for this one.
func (c *Cache) explainNoAlias(name string) string {
	_, parent, _ := strings.Cut(name, ".")
	wildcard := ""
	for found := range c.index.all(0) {
		for p := range found.held.Load().each() {
			names := strings.Fields(p.names())
			if slices.Contains(names, name) {
				return fmt.Sprintf("no: the certificate of %s names it, but %s", found.name(), c.whyNoAlias(p))
			}
			if wildcard == "" && slices.Contains(names, "*."+parent) {
				wildcard = found.name()
			}
		}
	}
	if wildcard != "" {
		return fmt.Sprintf("no: the certificate of %s covers it by *.%s, but %s", wildcard, parent, c.whyNoWildcard())
	}
	return "no: no cached certificate names it"
}

func (c *Cache) whyNoWildcard() string {
	if !c.options.Wildcards {
		return "a wildcard makes no alias without cache.wildcards"
	}
	return "it may not make aliases, or its wildcard was flushed or evicted since"
}

// showWildcard returns what is known of the wildcard that answers for a name.
func (c *Cache) showWildcard(name string) (Info, bool) {
	if !c.options.Wildcards {
		return Info{}, false
	}
	found, _ := c.index.find(wildcardOf(name))
	if found == nil {
		return Info{}, false
	}
	return c.info(found)
}

func (c *Cache) explainWildcard(info Info) []Step {
	wildcard := info.Name
	steps := c.explainCached(info)
	last := steps[len(steps)-1]
	return []Step{{"wildcard", "by " + wildcard + ", " + last.Result}}
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

// tookText says how long a store took, where one was asked for that very name.
func tookText(took time.Duration) string {
	if took <= 0 {
		return ""
	}
	return fmt.Sprintf(" in %.1f ms", float64(took.Microseconds())/1000)
}

// roughly writes a duration in its two largest units; what is over is none.
func roughly(d time.Duration) string {
	const day = 24 * time.Hour
	switch {
	case d <= 0:
		return "0s"
	case d >= day:
		return strings.TrimSuffix(fmt.Sprintf("%dd %dh", d/day, d%day/time.Hour), " 0h")
	case d >= time.Hour:
		return strings.TrimSuffix(fmt.Sprintf("%dh %dm", d/time.Hour, d%time.Hour/time.Minute), " 0m")
	case d >= time.Minute:
		return strings.TrimSuffix(fmt.Sprintf("%dm %ds", d/time.Minute, d%time.Minute/time.Second), " 0s")
	}
	return d.Round(time.Second).String()
}
