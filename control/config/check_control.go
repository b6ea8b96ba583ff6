package config

import (
	"fmt"
	"path/filepath"
	"slices"
)

func (c *checker) checkControl() {
	if err := CheckSocket(c.Control.Socket); err != nil {
		c.problem("control.socket", "%v", err)
	}
	if c.Control.Group != "" && c.Control.Mode&0o060 != 0o060 {
		c.warn("control.mode", "%04o keeps the members of control.group out", c.Control.Mode)
	}
	if c.Control.Mode&0o006 != 0 {
		c.warn("control.mode", "%04o lets everybody on this machine flush and shut down", c.Control.Mode)
	}
	c.checkReadSocket("control.read_socket", c.Control.ReadSocket)
	c.checkPeterSSLers("control.peter_sslers", c.Control.PeterSSLers)
}

func (c *checker) checkReadSocket(path string, socket ReadSocket) {
	if socket.Path == "" {
		if socket.Group != "" || socket.Mode != socketMode(0, "") {
			c.warn(path, "nothing is listened on without a path")
		}
		return
	}
	if err := CheckSocket(socket.Path); err != nil {
		c.problem(path+".path", "%v", err)
	}
	if socket.Path == c.Control.Socket {
		c.problem(path+".path", "%s is also control.socket", quote(socket.Path))
	}
	if socket.Group != "" && socket.Mode&0o060 != 0o060 {
		c.warn(path+".mode", "%04o keeps the members of control.read_socket.group out", socket.Mode)
	}
	if socket.Mode&0o006 != 0 {
		c.warn(path+".mode", "%04o lets everybody on this machine see the names that are served", socket.Mode)
	}
}

func (c *checker) checkAdmin() {
	address := c.Admin.Address
	if address == "" {
		return
	}
	if err := checkListenAddress(address); err != nil {
		c.problem("admin.address", "%v", err)
		return
	}
	if host, _, _ := splitAddress(address); !isLoopback(host) {
		c.warn("admin.address", "whoever reaches it sees the names that are served")
	}
	c.checkFree("admin.address", address)
	if address == c.Control.PeterSSLers.Address && !takesFreePort(address) {
		c.problem("admin.address", "%s is also control.peter_sslers.address", quote(address))
	}
}

// checkFree reports an address that clients are listened for at.
func (c *checker) checkFree(path, address string) {
	for i, listener := range c.Listeners {
		if listener.Address == address && !takesFreePort(address) {
			c.problem(path, "%s is also listeners[%d].address", quote(address), i)
		}
	}
}

// CheckSocket says what is wrong with the path of a control socket.
func CheckSocket(path string) error {
	// A Unix socket's address has room for 108 bytes on Linux and 104 on macOS,
	// the zero at its end included.
	const most = 103
	if len(path) > most {
		return fmt.Errorf("%d bytes long: a socket's path has at most %d", len(path), most)
	}
	return nil
}

func (c *checker) checkPeterSSLers(path string, settings PeterSSLers) {
	c.checkLogin(path, settings.Username, settings.PasswordFile)
	open := settings.Username == "" && settings.PasswordFile == ""
	if settings.Address == "" {
		if !open {
			c.warn(path, "nothing is listened on without an address")
		}
		return
	}
	if err := checkListenAddress(settings.Address); err != nil {
		c.problem(path+".address", "%v", err)
		return
	}
	if host, _, _ := splitAddress(settings.Address); open && !isLoopback(host) {
		c.problem(path+".address", "whoever reaches it can flush: anything but loopback needs username and password_file")
	}
	c.checkFree(path+".address", settings.Address)
}

func (c *checker) checkHooks() {
	c.notShorter("hooks.timeout", c.Hooks.Timeout, leastTimeout)
	for i, event := range c.Hooks.Events {
		if slices.Index(c.Hooks.Events, event) < i {
			c.problem(fmt.Sprintf("hooks.events[%d]", i), "%s is in the list twice", quote(string(event)))
		}
	}
	switch {
	case len(c.Hooks.Command) == 0 && len(c.Hooks.Events) > 0:
		c.warn("hooks.events", "nothing is called without hooks.command")
	case len(c.Hooks.Command) > 0 && !filepath.IsAbs(c.Hooks.Command[0]):
		c.problem("hooks.command[0]", "%s is not the whole path of a program, as in /usr/local/bin/notify", quote(c.Hooks.Command[0]))
	}
}
