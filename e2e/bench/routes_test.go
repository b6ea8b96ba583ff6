package main

import (
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"hellogate/sni"
)

const matchedRoutes = 100_000

// BenchmarkRoutes is the match of a name among as many exact routes: of a thousand that are in use, and of any, in which
// case most of what is read is in no processor cache. The name itself is: it has just been read.
func BenchmarkRoutes(b *testing.B) {
	names := routes(matchedRoutes, 0)
	table := tableOf(b, names)
	for _, of := range []struct {
		name  string
		count int
	}{{"in-use", 1000}, {"any", matchedRoutes}} {
		b.Run(of.name, func(b *testing.B) {
			order := rand.New(rand.NewPCG(1, 2)).Perm(matchedRoutes)[:of.count]
			took, found := time.Duration(0), 0
			for at := 0; b.Loop(); at = (at + batch) % (of.count - batch) {
				took += match(b, table, names, order[at:at+batch])
				found += batch
			}
			b.ReportMetric(float64(took.Nanoseconds())/float64(found), "ns/match")
			b.ReportMetric(0, "ns/op") // with the making of names
		})
	}
}

// batch is how many names are matched between two looks at the clock.
const batch = 64

// match matches the names with these numbers, and tells how long that took.
func match(b *testing.B, table *sni.Table[int], names []string, numbers []int) time.Duration {
	var asked [batch]string
	for i, number := range numbers {
		asked[i] = strings.Clone(names[number])
	}
	began := time.Now()
	for i, name := range asked {
		if got, _, _ := table.Find(sni.Query{Name: name}); got != numbers[i] {
			b.Fatalf("%s takes route %d, not %d", name, got, numbers[i])
		}
	}
	return time.Since(began)
}

func tableOf(b *testing.B, names []string) *sni.Table[int] {
	rules := make([]sni.Rule[int], len(names))
	for i, name := range names {
		pattern, err := sni.ParsePattern(name)
		if err != nil {
			b.Fatal(err)
		}
		rules[i] = sni.Rule[int]{Names: []sni.Pattern{pattern}, Value: i}
	}
	table, err := sni.NewTable(rules)
	if err != nil {
		b.Fatal(err)
	}
	return table
}
