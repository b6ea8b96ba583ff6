package terminate

import (
	"net"
	"net/netip"

	"hellogate/terminate/limit"
)

// kept is what a connection counts in, until its end.
type kept struct {
	counts  [2]*limit.Count // of its listener and its route
	clients [2]*limit.Clients
	client  netip.Addr
}

// admit counts a connection that was just accepted, or says why there may be no more. Clients behind a proxy are counted
// when the proxy has told who they are.
func (s *Server) admit(plan *Plan, l *Listener, client netip.Addr) (k kept, why Reason) {
	switch {
	case s.count.Add(1) > int64(plan.Limits.Connections), !k.count(l.Connections):
		why = ReasonLimited
	case !l.trusts(client):
		why = k.countClient(s.clients, client)
	}
	if why != "" {
		k.release()
		s.count.Add(-1)
	}
	return k, why
}

// count counts a connection in a limit, if there is one, unless it is reached.
func (k *kept) count(in *limit.Count) bool {
	if in == nil {
		return true
	}
	if !in.Take() {
		return false
	}
	if k.counts[0] == nil {
		k.counts[0] = in
	} else {
		k.counts[1] = in
	}
	return true
}

// countClient counts a connection of a client, if that is limited; a reason says that it may have no more.
func (k *kept) countClient(in *limit.Clients, client netip.Addr) Reason {
	if in == nil {
		return ""
	}
	k.client = client
	switch in.Take(client) {
	case limit.TooMany:
		return ReasonClientConnections
	case limit.TooFast:
		return ReasonClientRate
	}
	if k.clients[0] == nil {
		k.clients[0] = in
	} else {
		k.clients[1] = in
	}
	return ""
}

// release gives back what was counted.
func (k *kept) release() {
	for _, in := range k.counts {
		if in != nil {
			in.Release()
		}
	}
	for _, in := range k.clients {
		if in != nil {
			in.Release(k.client)
		}
	}
	*k = kept{}
}

// addrPortOf is the address and port in a network address; the zero AddrPort where it has none.
func addrPortOf(address net.Addr) netip.AddrPort {
	tcp, ok := address.(*net.TCPAddr)
	if !ok {
		return netip.AddrPort{}
	}
	both := tcp.AddrPort()
	return netip.AddrPortFrom(both.Addr().Unmap(), both.Port())
}
