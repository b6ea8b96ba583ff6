package handover

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"

	"golang.org/x/sys/unix"
)

// Sockets are listening sockets that this process was given: by the one before it, or by the service manager. The zero value
// and nil have none. It is not safe for concurrent use.
type Sockets struct{ given []given }

// given is a socket that nobody asked for yet.
type given struct {
	name     string
	listener net.Listener // nil: it is none, as unusable says
	unusable error
}

// Add takes file over. A name that is an address is what [Sockets.Listener] looks for first; others are for messages. What is
// no listening stream socket is kept to be named as unused.
func (s *Sockets) Add(name string, file *os.File) {
	defer file.Close()
	listener, err := listenerOf(file)
	s.given = append(s.given, given{name: name, listener: listener, unusable: err})
}

func listenerOf(file *os.File) (net.Listener, error) {
	raw, err := file.SyscallConn()
	if err != nil {
		return nil, err
	}
	var listens, kind int
	var failed error
	if err := raw.Control(func(fd uintptr) {
		if kind, failed = unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_TYPE); failed == nil {
			listens, failed = unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_ACCEPTCONN)
		}
	}); err != nil {
		return nil, err
	}
	if failed != nil || kind != unix.SOCK_STREAM || listens == 0 {
		return nil, errors.New("not a listening stream socket")
	}
	return net.FileListener(file)
}

// Listener returns the socket that was given for address, if there is one, and none for that address again: the caller closes
// it, which does not remove a Unix socket's file. The socket is the one whose name is address, or else the one that is bound to
// it. The network is "tcp" or "unix".
//
// A TCP address is HOST:PORT as package net takes it. Without a host, it stands for every address: [::] or else 0.0.0.0. An
// address that is written out as one of these stands for that one alone. A socket of [::] has clients of IPv4, too, unless the
// system or a service manager's BindIPv6Only= says otherwise.
func (s *Sockets) Listener(network, address string) (net.Listener, bool) {
	if s == nil || len(s.given) == 0 {
		return nil, false
	}
	for i := range s.given {
		if s.given[i].name == address && s.given[i].is(network) {
			return s.take(i), true
		}
	}
	for _, wanted := range bound(network, address) {
		for i := range s.given {
			if s.given[i].is(network) && addressOf(s.given[i].listener) == wanted {
				return s.take(i), true
			}
		}
	}
	return nil, false
}

func (g *given) is(network string) bool {
	return g.listener != nil && g.listener.Addr().Network() == network
}

func (s *Sockets) take(i int) net.Listener {
	listener := s.given[i].listener
	s.given = append(s.given[:i:i], s.given[i+1:]...)
	return listener
}

// bound are the addresses that a socket for address may have, the best first.
func bound(network, address string) []string {
	if network != "tcp" {
		return []string{address}
	}
	resolved, err := net.ResolveTCPAddr(network, address)
	if err != nil || resolved.Port == 0 {
		return nil
	}
	if resolved.IP == nil {
		port := uint16(resolved.Port)
		return []string{
			netip.AddrPortFrom(netip.IPv6Unspecified(), port).String(),
			netip.AddrPortFrom(netip.IPv4Unspecified(), port).String(),
		}
	}
	return []string{plainAddress(resolved)}
}

func addressOf(listener net.Listener) string {
	if tcp, ok := listener.Addr().(*net.TCPAddr); ok {
		return plainAddress(tcp)
	}
	return listener.Addr().String()
}

func plainAddress(address *net.TCPAddr) string {
	plain := address.AddrPort()
	return netip.AddrPortFrom(plain.Addr().Unmap(), plain.Port()).String()
}

// CloseUnused closes what nobody asked for, and says what that was, for the log.
func (s *Sockets) CloseUnused() (unused []string) {
	if s == nil {
		return nil
	}
	for _, g := range s.given {
		if g.listener == nil {
			unused = append(unused, fmt.Sprintf("%s: %v", g.name, g.unusable))
			continue
		}
		text := g.listener.Addr().String()
		if g.name != text {
			text = g.name + ": " + text
		}
		unused = append(unused, text)
		g.listener.Close()
	}
	s.given = nil
	return unused
}
