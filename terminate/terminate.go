// Package terminate is the data path: it accepts connections, reads their hello, finds route and certificate, terminates
// TLS, and splices the plaintext to a backend behind a PROXY protocol header.
//
// It guards the rules of a connection's life: every stage has a deadline and a name; the name that is routed, looked up,
// announced to the backend and negotiated is one; nothing read is lost; a half-close crosses as a half-close and an abort
// as an abort. CPU is bounded around signatures ([LimitSignatures]) and by no permit that is held while waiting for the
// network or a store. What is configured is a [Plan]: a connection keeps the one it began with.
package terminate

import (
	"context"
	"net"
	"net/netip"

	"github.com/rs/zerolog"

	"hellogate/cache"
	"hellogate/terminate/limit"
)

// Certificates finds the certificate for a name. Its errors: one that wraps store.ErrUnknown for a name that has none,
// anything else for a failure to find out.
type Certificates interface {
	Get(ctx context.Context, query cache.Query) (cache.Answer, error)
}

// Options is what a Server is made of.
type Options struct {
	Certificates Certificates
	Challenges   Challenges      // nil: no certificate authority is answered
	Log          zerolog.Logger  // events
	Access       *zerolog.Logger // a line a connection; nil: none
}

// Listener is a socket that is listened on, with what holds for those who come in there.
type Listener struct {
	// Socket is open. A Server that goes by a Plan closes those that the next one does not have.
	Socket      net.Listener
	Name        string       // as routes and the log call it
	DefaultName string       // the name of a client that sends none; empty: such a client is refused
	StartTLS    StartTLS     // what clients say before TLS; the zero value: nothing
	Proxy       *Proxy       // whose PROXY header is read; nil: nobody's
	Connections *limit.Count // how many may be open that came in here; nil: as many as the Plan allows
}

// firstStage is the stage in which a client of the listener begins that comes through no proxy.
func (l *Listener) firstStage() stage {
	if l.StartTLS.on() {
		return stagePreamble
	}
	return stageHello
}

// trusts reports whether the PROXY header of a peer is read.
func (l *Listener) trusts(peer netip.Addr) bool { return l.Proxy != nil && l.Proxy.trusts(peer) }
