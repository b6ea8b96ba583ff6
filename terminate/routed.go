package terminate

import (
	"fmt"
	"net/netip"
	"slices"

	"hellogate/cache"
)

// routed returns the backend that a store's answer names: a configured one, or servers of its own, which are dialled as
// the route's backend says and only at addresses that the store may name.
func (s *Server) routed(by *cache.Routing, route *Backend) (*Backend, error) {
	if by.Backend == "" {
		return route.to(by.Servers, s.Allow[by.Store]), nil
	}
	named := s.Backends[by.Backend]
	if named == nil {
		return nil, fmt.Errorf("store %s: backend %q is not configured", by.Store, by.Backend)
	}
	return named, nil
}

// to returns a backend that is b with other servers, at addresses within allowed.
func (b *Backend) to(addresses []string, allowed []netip.Prefix) *Backend {
	other := &Backend{BackendOptions: b.BackendOptions, turn: b.turn}
	other.permit = func(address netip.Addr) bool {
		return slices.ContainsFunc(allowed, func(prefix netip.Prefix) bool { return prefix.Contains(address) })
	}
	for _, address := range addresses {
		other.servers = append(other.servers, &server{address: address})
	}
	return other
}
