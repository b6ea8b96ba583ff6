package control

import (
	"time"

	"hellogate/terminate/pool"
)

// Backend is a pool of servers.
type Backend struct {
	Name    string          `json:"name"`
	Balance string          `json:"balance"`
	Queued  int             `json:"queued"` // connections that wait for a server with room
	Panic   bool            `json:"panic"`  // too few servers are well, and all are used
	Servers []BackendServer `json:"servers"`
}

// BackendServer is one address of a Backend.
type BackendServer struct {
	Address        string     `json:"address"`  // as configured
	Endpoint       string     `json:"endpoint"` // what is connected to; empty: DNS has nothing
	State          string     `json:"state"`    // up, down, ejected, drain or disabled
	Reason         string     `json:"reason"`   // for the state
	Backup         bool       `json:"backup"`
	Weight         int        `json:"weight"`
	Connections    int        `json:"connections"`
	MaxConnections int        `json:"max_connections"` // 0: no limit
	Total          uint64     `json:"total"`           // connections since the start
	Failures       uint64     `json:"failures"`        // dials that failed
	EarlyResets    uint64     `json:"early_resets"`    // connections that the server reset before it sent a byte
	LastError      string     `json:"last_error"`
	LastErrorAt    *time.Time `json:"last_error_at,omitempty"`
	CheckedAt      *time.Time `json:"checked_at,omitempty"` // absent: it is not checked
	CheckMS        float64    `json:"check_ms"`
	CheckError     string     `json:"check_error"` // empty: the last check succeeded
	EjectedUntil   *time.Time `json:"ejected_until,omitempty"`
}

func backendOf(status pool.Status) Backend {
	backend := Backend{
		Name: status.Name, Balance: status.Balance.String(), Queued: status.Queued, Panic: status.Panic,
		Servers: make([]BackendServer, 0, len(status.Servers)),
	}
	for _, server := range status.Servers {
		backend.Servers = append(backend.Servers, BackendServer{
			Address: server.Address, Endpoint: server.Endpoint, State: server.State.String(), Reason: server.Reason,
			Backup: server.Backup, Weight: server.Weight, Connections: server.Connections, MaxConnections: server.MaxConnections,
			Total: server.Picked, Failures: server.Failures, EarlyResets: server.EarlyResets,
			LastError: server.LastError, LastErrorAt: timeOf(server.LastErrorAt),
			CheckedAt: timeOf(server.CheckedAt), CheckMS: float64(server.CheckLatency.Microseconds()) / 1000, CheckError: server.CheckError,
			EjectedUntil: timeOf(server.EjectedUntil),
		})
	}
	return backend
}

// timeOf is a time for JSON; nil for none.
func timeOf(at time.Time) *time.Time {
	if at.IsZero() {
		return nil
	}
	at = at.UTC()
	return &at
}
