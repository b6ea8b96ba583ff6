package control

import (
	"context"
	"net"
	"net/http"

	"github.com/rs/zerolog"
)

// peer is the process at the other end of a control connection, as the kernel knows it.
type peer struct{ uid, pid int }

type peerKey struct{}

// withPeer notes who is at the other end, for the log of what changed state.
func withPeer(ctx context.Context, conn net.Conn) context.Context {
	if accepted, ok := conn.(*acceptedConn); ok && accepted.known {
		return context.WithValue(ctx, peerKey{}, accepted.peer)
	}
	return ctx
}

// by adds who asked to a log event.
func by(request *http.Request, event *zerolog.Event) *zerolog.Event {
	if peer, ok := request.Context().Value(peerKey{}).(peer); ok {
		event = event.Int("uid", peer.uid).Int("pid", peer.pid)
	}
	return event
}
