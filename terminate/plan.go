package terminate

import (
	"crypto/tls"
	"net/netip"
	"time"

	"hellogate/sni"
	"hellogate/terminate/clientauth"
	"hellogate/terminate/limit"
	"hellogate/terminate/tickets"
)

// Action says what is done with a connection that a route matches.
type Action uint8

// The actions.
const (
	Terminate   Action = iota // terminate TLS and hand the plaintext to the backend
	Passthrough               // hand what the client sends to the backend as it is, hello included
	Reject                    // refuse with access_denied
)

func (a Action) String() string { return [...]string{"terminate", "passthrough", "reject"}[a] }

// Plan is what a Server goes by. It is not changed once a Server has it.
type Plan struct {
	Listeners []Listener
	Routes    *sni.Table[*Route]
	// Backends are those that a store may name in its answer, and Allow says which addresses it may, by the store's name.
	Backends map[string]*Backend
	Allow    map[string][]netip.Prefix
	Fallback *Fallback // nil: clients are refused with an alert
	Limits   Limits

	configs configs
}

// Route is what happens to the connections that match it. It is not changed once a Server has it.
type Route struct {
	Action            Action
	Backend           *Backend           // nil only with Reject
	MinVersion        uint16             // oldest TLS version; 0: 1.2
	ALPN              []string           // protocols in order of preference; empty: none is negotiated
	ClientAuth        *clientauth.Policy // nil: no certificate is asked for
	Tickets           *tickets.Keys      // nil: there are none
	ResetOnTruncation bool               // a client's FIN without close_notify resets the backend, instead of ending its stream
	Timeouts          Timeouts
	Connections       *limit.Count   // how many may be open; nil: as many as the Plan allows
	Clients           *limit.Clients // how many one client may have open; nil: as many as the Plan allows
}

// Fallback is the certificate for names that have none.
type Fallback struct {
	Certificate *tls.Certificate
	OnUnknown   bool     // served for names that no store knows
	OnFailure   bool     // served when no store could be asked
	Backend     *Backend // nil: the route's
}

// Limits bounds what clients may cost. All but those of a client must be above zero.
type Limits struct {
	Connections int           // open ones; more are reset at once
	Client      limit.Rules   // of one client's address
	Handshakes  int           // of connections, those that have a certificate and are not through with their handshake
	Waiting     int           // how many wait for one of these
	HelloBytes  int           // at most sni.MaxHello
	Hello       time.Duration // for what comes before the hello, and the hello; as long again for PostgreSQL's first message
	Alert       time.Duration // how long a client that is refused may take to read why
	KeepAlive   time.Duration // after how long a silent peer is asked whether it is there; 0: it is not
	UserTimeout time.Duration // how long what was sent may go unacknowledged; 0: as the system has it
}

// Timeouts are those of a route's connections.
type Timeouts struct {
	Handshake  time.Duration // from the end of the hello to that of the handshake, the look-up included
	Idle       time.Duration // without a byte in either direction
	HalfClose  time.Duration // the same once one direction is over
	Life       time.Duration // of a connection, from its accept; 0: as long as it likes
	LifeJitter float64       // the part of Life by which a connection's is shorter at most
}
