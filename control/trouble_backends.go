package control

import (
	"fmt"

	"hellogate/terminate/pool"
)

// problems says in words what is wrong with a backend, the worst first. That the operator drains or disables a server is no
// problem until nobody is left.
func (b Backend) problems() (list []string) {
	say := func(format string, arguments ...any) {
		list = append(list, "backend "+b.Name+": "+fmt.Sprintf(format, arguments...))
	}
	all := Numbered(len(b.Servers), "server", "servers")
	down, ejected := b.in(pool.StateDown), b.in(pool.StateEjected)
	switch {
	case b.Panic:
		say("too few servers are well, and all are used")
	case len(b.Servers) > 0 && b.in(pool.StateUp) == 0:
		say("no server takes connections")
	}
	if down > 0 {
		say("%d of %s down", down, all)
	}
	if ejected > 0 {
		say("%d of %s ejected: connections to it failed", ejected, all)
	}
	if b.Queued > 0 {
		say("%s for a server with room", Numbered(b.Queued, "connection waits", "connections wait"))
	}
	return list
}

// in counts the servers in a state.
func (b Backend) in(state pool.State) int {
	servers := 0
	for _, server := range b.Servers {
		servers += count(server.State == state.String())
	}
	return servers
}
