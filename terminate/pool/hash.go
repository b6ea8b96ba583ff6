package pool

import "net/netip"

// hash is FNV-1a. It need not withstand an attacker: whoever sends a key gets a server for it in any case.
func hash[T string | []byte](text T) uint64 {
	h := uint64(14695981039346656037)
	for i := range len(text) {
		h = (h ^ uint64(text[i])) * 1099511628211
	}
	return h
}

// hashAddr takes an IPv4 address and its form in IPv6 for one. It takes all of an IPv6 address: where the clients are
// machines next door, they share a /64.
func hashAddr(address netip.Addr) uint64 {
	bytes := address.As16()
	return hash(bytes[:])
}

// mix spreads what differs in a few bits over all of them, as the last step of splitmix64 does.
func mix(x uint64) uint64 {
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

// fraction maps x to a number above 0 and below 1.
func fraction(x uint64) float64 { return (float64(x>>11) + 0.5) / (1 << 53) }
