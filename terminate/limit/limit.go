// Package limit bounds what one client address takes from the others: its open connections and how fast it opens them
// ([Clients]), and its share of what is scarce ([Gate]).
//
// It guards two rules: whatever clients do, what is kept of them is bounded, and no client waits behind another's crowd.
// A client is an IPv4 address or a /64 of IPv6, of which anybody has as many addresses as they like.
package limit

import (
	"encoding/binary"
	"math/rand/v2"
	"net/netip"
	"time"
)

// clientKey is what counts as one client. Those without an address, on Unix sockets, are local: they all have one key.
func clientKey(client netip.Addr) (key uint64, remote bool) {
	switch client = client.Unmap(); {
	case client.Is4():
		four := client.As4()
		return keysOf4 | uint64(binary.BigEndian.Uint32(four[:])), true
	case client.Is6():
		sixteen := client.As16()
		return binary.BigEndian.Uint64(sixteen[:8]), true
	}
	return keysOf4 | 0xffffffff, false
}

// keysOf4 begins the keys of IPv4. As IPv6 they would be multicast (RFC 4291, section 2.7), which nobody connects from,
// and the last of them is the broadcast address.
const keysOf4 = 0xffffffff << 32

// Lifetime is how long a connection may live that may live for d: less than that by a random share of at most jitter, 0
// to 1, so that clients that came together are not cut off together. Zero, for no limit, stays zero.
func Lifetime(d time.Duration, jitter float64) time.Duration {
	return d - time.Duration(rand.Float64()*min(max(jitter, 0), 1)*float64(d))
}
