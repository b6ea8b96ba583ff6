package socket

import (
	"fmt"
	"net/netip"
	"time"
)

// Target is what is dialled.
type Target struct {
	Address string        // host:port
	Within  time.Duration // all of it: looking the host up, and each of its addresses
	// Permit, when set, says which addresses may be connected to. It is asked about each one that the host's name turned out
	// to have, not about the name: whoever chose that may change what it stands for.
	Permit func(netip.Addr) bool
}

func (t Target) forbids(address netip.AddrPort) bool {
	return t.Permit != nil && !t.Permit(address.Addr().Unmap())
}

func (t Target) forbidden() error {
	return fmt.Errorf("dial %s: none of its addresses is allowed", t.Address)
}
