package pool

import (
	"fmt"
	"testing"
)

// BenchmarkPick picks and releases.
func BenchmarkPick(b *testing.B) {
	for rule := range Balance(len(balances)) {
		for _, n := range []int{16, 100} {
			b.Run(fmt.Sprintf("%v/%d", rule, n), func(b *testing.B) {
				p := start(b, Options{Servers: servers(make([]int, n)...), Balance: rule})
				for i := range n {
					_ = p.SetWeight(address(i), 1+i%3)
				}
				key := client(7)
				b.ReportAllocs()
				for b.Loop() {
					s, err := p.Pick(key, nil)
					if err != nil {
						b.Fatal(err)
					}
					s.Release()
				}
			})
		}
	}
}
