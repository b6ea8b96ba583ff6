package control

import (
	"net"

	"golang.org/x/sys/unix"
)

func credentials(conn net.Conn) (peer, bool) {
	unixConn, ok := conn.(*net.UnixConn)
	if !ok {
		return peer{}, false
	}
	raw, err := unixConn.SyscallConn()
	if err != nil {
		return peer{}, false
	}
	var found *unix.Ucred
	var failed error
	err = raw.Control(func(fd uintptr) {
		found, failed = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
	})
	if err != nil || failed != nil {
		return peer{}, false
	}
	return peer{uid: int(found.Uid), pid: int(found.Pid)}, true
}
