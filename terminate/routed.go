package terminate

import (
	"fmt"
	"net/netip"
	"slices"

	"hellogate/cache"
)

// routed is where a store's answer has a connection go: to a configured backend, or to servers of its own, which are
// dialled as the route's backend says and only at addresses that the store may name.
func (p *Plan) routed(by *cache.Routing, route *Backend) (destination, error) {
	if by.Backend == "" {
		allowed := p.Allow[by.Store]
		return destination{backend: route, addresses: by.Servers, permit: func(address netip.Addr) bool {
			return slices.ContainsFunc(allowed, func(prefix netip.Prefix) bool { return prefix.Contains(address) })
		}}, nil
	}
	named := p.Backends[by.Backend]
	if named == nil {
		return destination{}, fmt.Errorf("store %s: backend %q is not configured", by.Store, by.Backend)
	}
	return destination{backend: named}, nil
}
