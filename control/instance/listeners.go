package instance

import (
	"context"
	"fmt"
	"net"
	"slices"
	"syscall"

	"hellogate/control"
	"hellogate/control/config"
	"hellogate/terminate"
	"hellogate/terminate/limit"
	"hellogate/terminate/socket"
)

// A connection takes two descriptors, the client's and the server's. Kept for all else are those of the log, the
// listeners and files being read, those of the clients of control socket, read socket and admin address, and those that a store's fetches have open.
const (
	descriptorsEach = 2
	descriptorsKept = 64 + 3*control.ConnectionLimit
)

// makeListeners opens the listeners that are not open yet.
func (i *Instance) makeListeners(p *plane) error {
	for index, settings := range p.config.Listeners {
		opened, err := i.openListener(p, settings.Address)
		if err != nil {
			return describe(p.config, fmt.Sprintf("listeners[%d].address", index), err)
		}
		p.sockets[settings.Address] = opened
		speaks, err := terminate.ParseStartTLS(string(settings.StartTLS))
		if err != nil {
			return describe(p.config, fmt.Sprintf("listeners[%d].starttls", index), err)
		}
		listener := terminate.Listener{
			Socket: opened, Name: settings.Name, DefaultName: settings.DefaultName,
			StartTLS: speaks, Connections: p.count("listener "+settings.Name, settings.Limits.Connections),
		}
		if accept := settings.AcceptProxy; accept != nil {
			listener.Proxy = &terminate.Proxy{From: accept.From, Required: accept.Required, Timeout: accept.Timeout}
		}
		p.plan.Listeners = append(p.plan.Listeners, listener)
	}
	return nil
}

func (i *Instance) openListener(p *plane, address string) (net.Listener, error) {
	if p.before != nil && p.before.sockets[address] != nil {
		return p.before.sockets[address], nil
	}
	if p.before == nil {
		if handed, ok := i.inherited("tcp", address); ok {
			return handed, nil
		}
	}
	// A multipath socket is of no use here, and costs more.
	open := net.ListenConfig{Control: socket.Control}
	open.SetMultipathTCP(false)
	return open.Listen(context.Background(), "tcp", address)
}

// inherited is a listener that the process before handed over, or that a service manager opened.
func (i *Instance) inherited(network, address string) (net.Listener, bool) {
	if handed, ok := i.options.Inherited.Listener(network, address); ok {
		return handed, true
	}
	return i.options.Sockets.Listener(network, address)
}

func (i *Instance) limits(p *plane) terminate.Limits {
	settings := p.config.Limits
	limits := terminate.Limits{
		Connections: settings.Connections,
		Client:      limit.Rules{Connections: settings.ConnectionsPerIP, Rate: float64(settings.RatePerIP), Burst: settings.BurstPerIP},
		Handshakes:  settings.Handshakes,
		Waiting:     settings.Handshakes,
		HelloBytes:  int(settings.HelloBytes),
		Hello:       settings.HelloTimeout,
		Alert:       settings.AlertTimeout,
		KeepAlive:   settings.TCPKeepalive,
		UserTimeout: settings.TCPUserTimeout,
	}
	possible, files := possibleConnections(p)
	if possible < limits.Connections {
		i.options.Log.Warn().Int("configured", limits.Connections).Int("connections", possible).Uint64("open_files", files).
			Msg("limits.connections lowered to what the limit on open files allows")
		limits.Connections = possible
	}
	return limits
}

// possibleConnections is how many fit into RLIMIT_NOFILE, which Go has raised to its hard limit at start.
func possibleConnections(p *plane) (connections int, files uint64) {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return p.config.Limits.Connections, 0
	}
	kept := uint64(descriptorsKept)
	for _, each := range p.stores.list {
		kept += uint64(each.opened.fetches) * uint64(each.opened.files)
	}
	kept += uint64(len(p.proofs)) * proofsFiles
	if passes(p.config) {
		kept += min(2*socket.MostPipes, limit.Cur/8)
	}
	if limit.Cur <= kept {
		return 1, limit.Cur
	}
	const most = 1 << 30 // RLIM_INFINITY would not fit an int
	return int(min((limit.Cur-kept)/descriptorsEach, most)), limit.Cur
}

// passes reports whether a route passes connections through, which the kernel does with pipes.
func passes(settings *config.Config) bool {
	return slices.ContainsFunc(settings.Routes, func(route config.Route) bool { return route.Action == config.Passthrough })
}
