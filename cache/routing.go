package cache

import (
	"slices"
	"strings"
	"unsafe"

	"hellogate/store"
)

// Routing is where a store wants connections for a name to go. It is of that name alone: no alias has it.
type Routing struct {
	store.Routing
	Store string // that said so
	until int64  // when it is to be asked for again, on the monotonic clock
}

// routed returns the routing in an answer, good from now on; before is what was known of it.
func (c *Cache) routed(got answer, before *Routing) *Routing {
	said := got.bundle.Routing
	if said == nil && got.bundle.NotModified && before != nil {
		said = &before.Routing
	}
	if said == nil {
		return nil
	}
	servers := slices.Clone(said.Servers)
	for i, server := range servers {
		servers[i] = strings.Clone(server)
	}
	return &Routing{
		Routing: store.Routing{Backend: strings.Clone(said.Backend), Servers: servers},
		Store:   got.bundle.Store,
		until:   got.now.after(c.options.RouteTTL),
	}
}

// askRouting has a name asked for again whose routing is past its time. Until the answer is there, the routing is used.
func (c *Cache) askRouting(routed *entry) {
	if routed.flags.Load()&flagRoutingAsked == 0 && routed.flags.Or(flagRoutingAsked)&flagRoutingAsked == 0 {
		c.askAgain(routed)
	}
}

func (r *Routing) cost() int64 {
	bytes := allocated(int(unsafe.Sizeof(*r))) + allocated(len(r.Backend)) + allocated(len(r.Servers)*int(unsafe.Sizeof("")))
	for _, server := range r.Servers {
		bytes += allocated(len(server))
	}
	return bytes
}
