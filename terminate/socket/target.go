package socket

import (
	"fmt"
	"net/netip"
	"time"
)

// Target is what is dialled.
type Target struct {
	Network string        // tcp, the zero value, or unix
	Address string        // host:port; of a Unix socket its path
	Within  time.Duration // all of it: looking the host up, and each of its addresses
	// Permit, when set, says which addresses may be connected to. It is asked about each one that the host's name turned out
	// to have, not about the name: whoever chose that may change what it stands for.
	Permit func(netip.Addr) bool
}

// unmapped is the address in the form that the kernel's are taken in.
func unmapped(a netip.AddrPort) netip.AddrPort { return netip.AddrPortFrom(a.Addr().Unmap(), a.Port()) }

func (t Target) forbids(address netip.AddrPort) bool {
	return t.Permit != nil && !t.Permit(address.Addr().Unmap())
}

func (t Target) forbidden() error {
	return fmt.Errorf("dial %s: none of its addresses is allowed", t.Address)
}
