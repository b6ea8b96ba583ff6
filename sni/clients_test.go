package sni

import (
	"net/netip"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestClientsAreMerged(t *testing.T) {
	tests := []struct{ name, ranges, want string }{
		{"none", "", ""},
		{"as they are", "10.0.0.0/8 192.0.2.1/32", "10.0.0.0-10.255.255.255 192.0.2.1-192.0.2.1"},
		{"in order", "192.0.2.1/32 fd00::/8 10.0.0.0/8", "10.0.0.0-10.255.255.255 192.0.2.1-192.0.2.1 fd00::-fdff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"},
		{"one in another", "10.0.0.0/8 10.1.0.0/16 10.0.0.0/8", "10.0.0.0-10.255.255.255"},
		{"neighbours", "10.128.0.0/9 11.0.0.0/9", "10.128.0.0-11.127.255.255"},
		{"neighbours across 64 bits", "fd00:0:0:1::/64 fd00::ffff:ffff:ffff:ffff/128", "fd00::ffff:ffff:ffff:ffff-fd00::1:ffff:ffff:ffff:ffff"},
		{"everything", "0.0.0.0/1 128.0.0.0/1 ::/0", "0.0.0.0-255.255.255.255 ::-ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"},
		{"everything and its end", "::/0 ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff/128 ::/128", "::-ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"},
		{"host bits", "10.1.2.3/8", "10.0.0.0-10.255.255.255"},
		{"mapped", "::ffff:10.0.0.0/104", "10.0.0.0-10.255.255.255"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			set := newClients(parseRanges(test.ranges))
			var want clients
			for _, text := range strings.Fields(test.want) {
				first, last, _ := strings.Cut(text, "-")
				of := span{numberOf(netip.MustParseAddr(first)), numberOf(netip.MustParseAddr(last))}
				if strings.Contains(text, ":") {
					want.v6 = append(want.v6, of)
				} else {
					want.v4 = append(want.v4, of)
				}
			}
			if !slices.Equal(set.v4, want.v4) || !slices.Equal(set.v6, want.v6) {
				t.Errorf("got %x, want %x", set, want)
			}
		})
	}
}

func parseRanges(text string) []netip.Prefix {
	var ranges []netip.Prefix
	for _, text := range strings.Fields(text) {
		ranges = append(ranges, netip.MustParsePrefix(text))
	}
	return ranges
}

func TestClientsContain(t *testing.T) {
	tests := []struct {
		ranges, address string
		want            bool
	}{
		{"10.0.0.0/8", "10.255.255.255", true},
		{"10.0.0.0/8", "11.0.0.0", false},
		{"10.0.0.0/8", "9.255.255.255", false},
		{"10.0.0.0/8", "::ffff:10.1.1.1", true},
		{"10.0.0.0/8", "::a01:101", false},
		{"0.0.0.0/0", "::1", false},
		{"::/0", "10.0.0.1", false},
		{"::/0", "::ffff:10.0.0.1", false},
		{"fe80::/10", "fe80::1%eth0", true},
		{"fd00::/64", "fd00::1:0:0:0:0", false},
		{"fd00::/64", "fd00::ffff:ffff:ffff:ffff", true},
		{"fd00::/63", "fd00::1:0:0:0:0", true},
		{"2001:db8::/32", "2001:db9::", false},
		{"", "10.0.0.1", false},
	}
	for _, test := range tests {
		if got := newClients(parseRanges(test.ranges)).contains(netip.MustParseAddr(test.address)); got != test.want {
			t.Errorf("%s in %s: got %v", test.address, test.ranges, got)
		}
	}
	if newClients(parseRanges("0.0.0.0/0 ::/0")).contains(netip.Addr{}) {
		t.Error("an address that is none is one of all")
	}
}

func TestClientsAgreeWithTheirRanges(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		ranges := rapid.SliceOfN(aRange, 0, 12).Draw(t, "ranges")
		set := newClients(ranges)
		contained := func(address netip.Addr) bool {
			return slices.ContainsFunc(ranges, func(r netip.Prefix) bool { return r.Contains(address) })
		}
		for last := range byte(40) {
			address := netip.AddrFrom4([4]byte{10, 0, 0, last})
			if got := set.contains(address); got != contained(address) {
				t.Fatalf("%v in %v: %v", address, ranges, got)
			}
		}
		other := aRange.Draw(t, "other")
		whole := true
		for address := other.Addr(); other.Contains(address); address = address.Next() {
			whole = whole && contained(address)
		}
		if got := set.coversAll(newClients([]netip.Prefix{other})); got != whole {
			t.Fatalf("%v in %v: %v", other, ranges, got)
		}
	})
}
