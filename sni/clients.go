package sni

import (
	"cmp"
	"encoding/binary"
	"net/netip"
	"slices"
)

// clients is a set of addresses: spans in ascending order that neither overlap
// nor touch, so that whatever is in the set, one address or a range of them, is
// in one span. IPv4 addresses are no IPv6 addresses, however they came in.
type clients struct{ v4, v6 []span }

// A span is all addresses from the first to the last.
type span struct{ first, last number }

// A number is what an address is counted as.
type number struct{ high, low uint64 }

func numberOf(address netip.Addr) number {
	if address.Is4() {
		octets := address.As4()
		return number{0, uint64(binary.BigEndian.Uint32(octets[:]))}
	}
	octets := address.As16()
	return number{binary.BigEndian.Uint64(octets[:8]), binary.BigEndian.Uint64(octets[8:])}
}

func (n number) less(other number) bool {
	return n.high < other.high || n.high == other.high && n.low < other.low
}

// next returns the number behind n. The last one has none: it gets the first,
// which is behind no other.
func (n number) next() number {
	n.low++
	if n.low == 0 {
		n.high++
	}
	return n
}

func newClients(ranges []netip.Prefix) clients {
	var set clients
	for _, r := range ranges {
		r = unmapRange(r)
		if of := spanOf(r); r.Addr().Is4() {
			set.v4 = append(set.v4, of)
		} else {
			set.v6 = append(set.v6, of)
		}
	}
	return clients{merge(set.v4), merge(set.v6)}
}

// unmapRange returns a range of IPv4 addresses that was written in IPv6 as IPv4,
// which is how clients' are compared.
func unmapRange(r netip.Prefix) netip.Prefix {
	const mapped = 96 // bits before the IPv4 address in an IPv6 one
	if r.Addr().Is4In6() && r.Bits() >= mapped {
		r = netip.PrefixFrom(r.Addr().Unmap(), r.Bits()-mapped)
	}
	return r.Masked()
}

func spanOf(r netip.Prefix) span {
	first := numberOf(r.Addr())
	last, open := first, r.Addr().BitLen()-r.Bits()
	last.high |= lowBits(open - 64)
	last.low |= lowBits(open)
	return span{first, last}
}

// lowBits returns a number of bits set, 0 to 64.
func lowBits(count int) uint64 { return 1<<uint(min(max(count, 0), 64)) - 1 }

// merge returns spans in order, those that overlap or touch as one.
func merge(spans []span) []span {
	slices.SortFunc(spans, func(a, b span) int {
		return cmp.Or(cmp.Compare(a.first.high, b.first.high), cmp.Compare(a.first.low, b.first.low))
	})
	merged := spans[:0]
	for _, next := range spans {
		if n := len(merged); n > 0 && (!merged[n-1].last.less(next.first) || merged[n-1].last.next() == next.first) {
			if merged[n-1].last.less(next.last) {
				merged[n-1].last = next.last
			}
			continue
		}
		merged = append(merged, next)
	}
	return merged
}

func (c clients) empty() bool { return len(c.v4)+len(c.v6) == 0 }

// contains reports whether address is in the set. The zero Addr never is.
func (c clients) contains(address netip.Addr) bool {
	address = address.Unmap()
	spans := c.v6
	switch {
	case !address.IsValid():
		return false
	case address.Is4():
		spans = c.v4
	}
	number := numberOf(address)
	return covered(spans, span{number, number})
}

// coversAll reports whether all of others are in the set.
func (c clients) coversAll(others clients) bool {
	return allCovered(c.v4, others.v4) && allCovered(c.v6, others.v6)
}

func allCovered(wide, narrow []span) bool {
	for _, s := range narrow {
		if !covered(wide, s) {
			return false
		}
	}
	return true
}

// covered reports whether all of s is in one of spans, which are in order.
func covered(spans []span, s span) bool {
	from, to := 0, len(spans) // the first span that ends behind the beginning of s is in between
	for from < to {
		middle := int(uint(from+to) / 2)
		if spans[middle].last.less(s.first) {
			from = middle + 1
		} else {
			to = middle
		}
	}
	return from < len(spans) && !s.first.less(spans[from].first) && !spans[from].last.less(s.last)
}
