package cache

import (
	"context"
	"testing"

	"github.com/rs/zerolog"

	"hellogate/store"
	"hellogate/store/certtest"
)

// A miss without its store's round trip: the store answers from memory, each name with a certificate under an intermediate.
func BenchmarkMiss(b *testing.B) {
	ca := certtest.NewCA(b)
	for _, kind := range []struct {
		name   string
		issued certtest.Issued
	}{
		{"P-256", ca.Issue(b, "*.example")},
		{"RSA-2048", ca.IssueWith(b, certtest.Options{Names: []string{"*.example"}, RSA: 2048})},
	} {
		b.Run(kind.name, func(b *testing.B) {
			bundle := &store.Bundle{Store: "test", Pairs: []store.Pair{kind.issued.Pair}}
			c := New(Options{Aliases: AliasesOff, Log: zerolog.Nop(), Store: answering(func(store.Request) (*store.Bundle, error) { return bundle, nil })})
			defer c.Close()
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				if got, err := c.Get(context.Background(), Query{Name: nameOf(i)}); err != nil || got.Source != Miss {
					b.Fatalf("%s, %v", got.Source, err)
				}
			}
		})
	}
}
