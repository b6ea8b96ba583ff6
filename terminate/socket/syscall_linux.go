//go:build !noepoll

package socket

import (
	"encoding/binary"
	"net"
	"net/netip"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// None of the calls here and in move_linux.go ever waits, so they need not tell Go's scheduler that they might. That costs
// more than some of them take, and where one takes longer than 20 microseconds, as a connect over loopback does, the
// scheduler takes away its processor and gives it back for several times the price. A signal does not interrupt what does
// not wait.

// newSocket makes a TCP socket.
func newSocket(family int) (int, syscall.Errno) {
	fd, _, err := unix.RawSyscall(unix.SYS_SOCKET, uintptr(family), unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	return int(fd), err
}

func shutdownWrite(fd int) syscall.Errno {
	_, _, err := unix.RawSyscall(unix.SYS_SHUTDOWN, uintptr(fd), unix.SHUT_WR, 0)
	return err
}

// closeFD closes a socket, which does not wait unless SO_LINGER has it so.
func closeFD(fd int) syscall.Errno {
	_, _, err := unix.RawSyscall(unix.SYS_CLOSE, uintptr(fd), 0, 0)
	return err
}

func setOption(fd, level, name, value int) syscall.Errno {
	option := int32(value)
	_, _, err := unix.RawSyscall6(unix.SYS_SETSOCKOPT, uintptr(fd), uintptr(level), uintptr(name), uintptr(unsafe.Pointer(&option)), unsafe.Sizeof(option), 0)
	return err
}

// setNoLinger has the socket's close be a reset.
func setNoLinger(fd int) {
	option := unix.Linger{Onoff: 1}
	_, _, _ = unix.RawSyscall6(unix.SYS_SETSOCKOPT, uintptr(fd), unix.SOL_SOCKET, unix.SO_LINGER, uintptr(unsafe.Pointer(&option)), unsafe.Sizeof(option), 0)
}

func epollControl(poller, operation, fd int, event *unix.EpollEvent) syscall.Errno {
	_, _, err := unix.RawSyscall6(unix.SYS_EPOLL_CTL, uintptr(poller), uintptr(operation), uintptr(fd), uintptr(unsafe.Pointer(event)), 0, 0)
	return err
}

// epollNow takes the events that there are.
func epollNow(poller int, events []unix.EpollEvent) (int, syscall.Errno) {
	n, _, err := unix.RawSyscall6(unix.SYS_EPOLL_PWAIT, uintptr(poller), uintptr(unsafe.Pointer(&events[0])), uintptr(len(events)), 0, 0, 0)
	return int(n), err
}

// acceptNow takes a connection off a listener.
func acceptNow(listener int) (fd int, from netip.AddrPort, err syscall.Errno) {
	var name unix.RawSockaddrAny
	size := uint32(unix.SizeofSockaddrAny)
	n, _, err := unix.RawSyscall6(unix.SYS_ACCEPT4, uintptr(listener), uintptr(unsafe.Pointer(&name)), uintptr(unsafe.Pointer(&size)),
		unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0, 0)
	if err != 0 {
		return -1, from, err
	}
	return int(n), addrPort(&name), 0
}

// connectNow begins to connect.
func connectNow(fd int, to netip.AddrPort) syscall.Errno {
	name, size := sockaddr(to)
	_, _, err := unix.RawSyscall(unix.SYS_CONNECT, uintptr(fd), uintptr(unsafe.Pointer(&name)), size)
	return err
}

// localName is the address of a socket's own end; the zero value where it has none.
func localName(fd int) netip.AddrPort { return nameOf(unix.SYS_GETSOCKNAME, fd) }

// peerName is that of the other end.
func peerName(fd int) netip.AddrPort { return nameOf(unix.SYS_GETPEERNAME, fd) }

func nameOf(call uintptr, fd int) netip.AddrPort {
	var name unix.RawSockaddrAny
	size := uint32(unix.SizeofSockaddrAny)
	if _, _, err := unix.RawSyscall(call, uintptr(fd), uintptr(unsafe.Pointer(&name)), uintptr(unsafe.Pointer(&size))); err != 0 {
		return netip.AddrPort{}
	}
	return addrPort(&name)
}

func family(a netip.AddrPort) int {
	if a.Addr().Unmap().Is4() {
		return unix.AF_INET
	}
	return unix.AF_INET6
}

func sockaddr(a netip.AddrPort) (name unix.RawSockaddrAny, size uintptr) {
	port := binary.NativeEndian.Uint16(binary.BigEndian.AppendUint16(nil, a.Port()))
	ip := a.Addr().Unmap()
	if ip.Is4() {
		*(*unix.RawSockaddrInet4)(unsafe.Pointer(&name)) = unix.RawSockaddrInet4{Family: unix.AF_INET, Port: port, Addr: ip.As4()}
		return name, unix.SizeofSockaddrInet4
	}
	*(*unix.RawSockaddrInet6)(unsafe.Pointer(&name)) = unix.RawSockaddrInet6{
		Family: unix.AF_INET6, Port: port, Addr: ip.As16(), Scope_id: zoneID(ip.Zone()),
	}
	return name, unix.SizeofSockaddrInet6
}

func addrPort(name *unix.RawSockaddrAny) netip.AddrPort {
	switch name.Addr.Family {
	case unix.AF_INET:
		v4 := (*unix.RawSockaddrInet4)(unsafe.Pointer(name))
		return netip.AddrPortFrom(netip.AddrFrom4(v4.Addr), hostPort(v4.Port))
	case unix.AF_INET6:
		v6 := (*unix.RawSockaddrInet6)(unsafe.Pointer(name))
		return netip.AddrPortFrom(netip.AddrFrom16(v6.Addr).Unmap().WithZone(zoneName(v6.Scope_id)), hostPort(v6.Port))
	default:
		return netip.AddrPort{}
	}
}

// hostPort is a port as the kernel has it, in network byte order.
func hostPort(port uint16) uint16 {
	return binary.BigEndian.Uint16(binary.NativeEndian.AppendUint16(nil, port))
}

// A link-local address of IPv6 is one of a link.

func zoneID(name string) uint32 {
	if name == "" {
		return 0
	}
	if link, err := net.InterfaceByName(name); err == nil {
		return uint32(link.Index)
	}
	return 0
}

func zoneName(id uint32) string {
	if id == 0 {
		return ""
	}
	if link, err := net.InterfaceByIndex(int(id)); err == nil {
		return link.Name
	}
	return ""
}
