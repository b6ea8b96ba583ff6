package control

import (
	"slices"

	"hellogate/terminate/pool"
)

// serverFigures are those of one configured server. The addresses that DNS has for a name come and go: as labels they would
// never end, and so they are added up.
type serverFigures struct {
	backend, server     string
	states              map[string]int // addresses in each
	weight, connections int
	counts
	checked, checkFailed bool
	checkSeconds         float64 // of the slowest address
}

// figures are those of all servers, in the order of the backends.
func figures(backends []Backend) (list []*serverFigures) {
	for _, backend := range backends {
		first := len(list)
		for _, server := range backend.Servers {
			at := slices.IndexFunc(list[first:], func(f *serverFigures) bool { return f.server == server.Address })
			if at < 0 {
				at = len(list) - first
				list = append(list, &serverFigures{backend: backend.Name, server: server.Address, states: map[string]int{}})
			}
			list[first+at].add(server)
		}
	}
	return list
}

func (f *serverFigures) add(server BackendServer) {
	f.states[server.State]++
	f.weight += server.Weight
	f.connections += server.Connections
	f.counts = f.counts.plus(counts{server.Total, server.Failures, server.EarlyResets})
	if server.CheckedAt != nil {
		f.checked = true
		f.checkFailed = f.checkFailed || server.CheckError != ""
		f.checkSeconds = max(f.checkSeconds, server.CheckMS/1000)
	}
}

// serverStates are those of a server.
var serverStates = []pool.State{pool.StateUp, pool.StateDown, pool.StateEjected, pool.StateDrain, pool.StateDisabled}

func (s *Server) backendMetrics(m metrics) {
	backends, list := s.totals.figures(s.backends)
	m.head("backend_queued", "gauge", "Connections that wait for a server with room.")
	for _, backend := range backends {
		m.line("backend_queued", backend.Queued, "backend", backend.Name)
	}
	m.head("backend_panic", "gauge", "Whether too few servers are well, and all are used.")
	for _, backend := range backends {
		m.line("backend_panic", one(backend.Panic), "backend", backend.Name)
	}
	m.head("server_state", "gauge", "Addresses of a server in a state.")
	for _, f := range list {
		for _, state := range serverStates {
			m.line("server_state", f.states[state.String()], "backend", f.backend, "server", f.server, "state", state.String())
		}
	}
	for _, metric := range serverMetrics {
		m.head(metric.name, metric.kind, metric.help)
		for _, f := range list {
			if value, known := metric.value(f); known {
				m.line(metric.name, value, "backend", f.backend, "server", f.server)
			}
		}
	}
}

// serverMetrics are those of every server; what is not known of one is left out.
var serverMetrics = []struct {
	name, kind, help string
	value            func(*serverFigures) (value any, known bool)
}{
	{
		"server_up", "gauge", "Whether a server, at one address at least, gets connections as it should.",
		func(f *serverFigures) (any, bool) { return one(f.states[pool.StateUp.String()] > 0), true },
	},
	{
		"server_weight", "gauge", "Weight of a server, that of its addresses together.",
		func(f *serverFigures) (any, bool) { return f.weight, true },
	},
	{
		"server_connections", "gauge", "Open connections to a server, and those being made.",
		func(f *serverFigures) (any, bool) { return f.connections, true },
	},
	{
		"server_connections_total", "counter", "Connections to a server, and attempts.",
		func(f *serverFigures) (any, bool) { return f.total, true },
	},
	{
		"server_failures_total", "counter", "Connections to a server that could not be made.",
		func(f *serverFigures) (any, bool) { return f.failures, true },
	},
	{
		"server_early_resets_total", "counter", "Connections that a server reset before it sent a byte.",
		func(f *serverFigures) (any, bool) { return f.resets, true },
	},
	{
		"server_check_seconds", "gauge", "How long the last health check of a server took.",
		func(f *serverFigures) (any, bool) { return f.checkSeconds, f.checked },
	},
	{
		"server_check_failed", "gauge", "Whether the last health check of a server failed.",
		func(f *serverFigures) (any, bool) { return one(f.checkFailed), f.checked },
	},
}
