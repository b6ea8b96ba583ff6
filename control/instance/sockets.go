package instance

import (
	"context"
	"net"

	"hellogate/control"
)

// openSocket opens a control socket, or takes over that of the process before, with the file that is locked.
func (i *Instance) openSocket(options control.SocketOptions, lock string) (*control.Socket, error) {
	socket, err := i.takeSocket(options, lock)
	if err == nil {
		i.closeLater(func() { _ = socket.Close() })
	}
	return socket, err
}

func (i *Instance) takeSocket(options control.SocketOptions, lock string) (*control.Socket, error) {
	handed, there := i.options.Inherited.Listener("unix", options.Path)
	listener, ok := handed.(*net.UnixListener)
	if !there || !ok {
		return control.Listen(options)
	}
	locked, there := i.options.Inherited.File(lock)
	if !there {
		_ = listener.Close()
		return control.Listen(options)
	}
	return control.Adopt(options, listener, locked)
}

// openReads opens the control socket that is for reading alone, if there is one.
func (i *Instance) openReads() (err error) {
	settings := i.config.Control.ReadSocket
	if settings.Path == "" {
		return nil
	}
	i.reads, err = i.openSocket(control.SocketOptions{Path: settings.Path, Mode: settings.Mode, Group: settings.Group}, readsLock)
	return err
}

// openAdmin opens the listener for monitoring, if there is one.
func (i *Instance) openAdmin() (err error) {
	address := i.config.Admin.Address
	if address == "" {
		return nil
	}
	var there bool
	if i.admin, there = i.inherited("tcp", address); !there {
		if i.admin, err = new(net.ListenConfig).Listen(context.Background(), "tcp", address); err != nil {
			return i.describe("admin.address", err)
		}
	}
	i.closeLater(func() { _ = i.admin.Close() })
	return nil
}
