package instance

import (
	"context"
	"fmt"
	"net"
	"syscall"

	"hellogate/control"
	"hellogate/terminate"
	"hellogate/terminate/socket"
)

// A connection takes two descriptors, the client's and the server's. Kept for all else are those of the log, the
// listeners and files being read, those of the control socket's clients, and those that a store's fetches have open.
const (
	descriptorsEach = 2
	descriptorsKept = 64 + control.ConnectionLimit
)

func (i *Instance) openListeners() error {
	// A multipath socket is of no use here, and costs more.
	open := net.ListenConfig{Control: socket.Control}
	open.SetMultipathTCP(false)
	for index, settings := range i.config.Listeners {
		listener, err := open.Listen(context.Background(), "tcp", settings.Address)
		if err != nil {
			return i.describe(fmt.Sprintf("listeners[%d].address", index), err)
		}
		i.closeLater(func() { listener.Close() })
		i.listeners = append(i.listeners, terminate.Listener{
			Listener:    listener,
			Name:        settings.Address,
			DefaultName: settings.DefaultName,
		})
	}
	return nil
}

func (i *Instance) limits() terminate.Limits {
	settings := i.config.Limits
	limits := terminate.Limits{
		Connections:      settings.Connections,
		Handshakes:       settings.Handshakes,
		HelloBytes:       int(settings.HelloBytes),
		HelloTimeout:     settings.HelloTimeout,
		HandshakeTimeout: settings.HandshakeTimeout,
		IdleTimeout:      settings.IdleTimeout,
		HalfCloseTimeout: settings.HalfCloseTimeout,
		DrainTimeout:     settings.DrainTimeout,
	}
	possible, files := i.possibleConnections()
	if possible < limits.Connections {
		i.options.Log.Warn().Int("configured", limits.Connections).Int("connections", possible).Uint64("open_files", files).
			Msg("limits.connections lowered to what the limit on open files allows")
		limits.Connections = possible
	}
	return limits
}

// possibleConnections is how many fit into RLIMIT_NOFILE, which Go has raised to its hard limit at start.
func (i *Instance) possibleConnections() (connections int, files uint64) {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return i.config.Limits.Connections, 0
	}
	kept := uint64(descriptorsKept)
	for _, opened := range i.stores {
		kept += uint64(opened.fetches) * uint64(opened.files)
	}
	if limit.Cur <= kept {
		return 1, limit.Cur
	}
	const most = 1 << 30 // RLIM_INFINITY would not fit an int
	return int(min((limit.Cur-kept)/descriptorsEach, most)), limit.Cur
}
