// Package terminate is the data path: it accepts connections, reads their hello, finds route and certificate, terminates
// TLS, and splices the plaintext to a backend behind a PROXY protocol header.
//
// It guards the rules of a connection's life: every stage has a deadline and a name; the name that is routed, looked up,
// announced to the backend and negotiated is one; nothing read is lost; a half-close crosses as a half-close and an abort
// as an abort. CPU is bounded around signatures ([LimitSignatures]) and by no permit that is held while waiting for the
// network or a store.
package terminate

import (
	"context"
	"crypto/tls"
	"net"
	"net/netip"
	"time"

	"github.com/rs/zerolog"

	"hellogate/cache"
	"hellogate/sni"
)

// Certificates finds the certificate for a name. Its errors: one that wraps store.ErrUnknown for a name that has none,
// anything else for a failure to find out.
type Certificates interface {
	Get(ctx context.Context, query cache.Query) (cache.Answer, error)
}

// Action says what is done with a connection that a route matches.
type Action uint8

// The actions.
const (
	Terminate Action = iota // terminate TLS and hand the plaintext to the backend
	Reject                  // refuse with access_denied
)

func (a Action) String() string { return [...]string{"terminate", "reject"}[a] }

// Route is what happens to the connections that match it. It is not changed once a Server has it.
type Route struct {
	Action            Action
	Backend           *Backend // nil only with Reject
	MinVersion        uint16   // oldest TLS version; 0: 1.2
	ALPN              []string // protocols in order of preference; empty: none is negotiated
	ResetOnTruncation bool     // a client's FIN without close_notify resets the backend, instead of ending its stream
}

// Fallback is the certificate for names that have none.
type Fallback struct {
	Certificate *tls.Certificate
	OnUnknown   bool     // served for names that no store knows
	OnFailure   bool     // served when no store could be asked
	Backend     *Backend // nil: the route's
}

// Limits bounds what clients may cost. All must be above zero.
type Limits struct {
	Connections      int // open ones; more are reset at once
	Handshakes       int // of them, those that have a certificate and are not through with their handshake
	HelloBytes       int // at most sni.MaxHello
	HelloTimeout     time.Duration
	HandshakeTimeout time.Duration // from the end of the hello to that of the handshake, the look-up included
	IdleTimeout      time.Duration // without a byte in either direction
	HalfCloseTimeout time.Duration // the same once one direction is over
	DrainTimeout     time.Duration
}

// Listener is an open listener, which the Server closes.
type Listener struct {
	net.Listener
	Name        string // as the configuration has it, for the log
	DefaultName string // the name of a client that sends none; empty: such a client is refused
}

// Options is what a Server is made of.
type Options struct {
	Listeners    []Listener
	Routes       *sni.Table[*Route]
	Certificates Certificates
	// Backends are those that a store may name in its answer, and Allow says which addresses it may, by the store's name.
	Backends map[string]*Backend
	Allow    map[string][]netip.Prefix
	Fallback *Fallback // nil: clients are refused with an alert
	Limits   Limits
	Log      zerolog.Logger  // events
	Access   *zerolog.Logger // a line a connection; nil: none
}

// Stats counts connections.
type Stats struct {
	Active, Total, Limit, Handshaking int64
	BytesIn, BytesOut                 int64             // plaintext of connections that are over, from and to clients
	Refused                           map[string]uint64 // connections that did not end well, by reason
}
