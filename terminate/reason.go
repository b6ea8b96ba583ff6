package terminate

import (
	"fmt"
	"sync/atomic"

	"hellogate/sni"
)

// Reason says in one word how a connection ended: the reason of the access log and of the counters.
type Reason string

// The reasons. Those of the hello are the faults of package sni.
const (
	ReasonOK          Reason = "ok"
	ReasonNoSNI       Reason = "no_sni"
	ReasonNoRoute     Reason = "no_route"
	ReasonRejected    Reason = "rejected"
	ReasonNoALPN      Reason = "no_alpn"
	ReasonNoCert      Reason = "no_cert"
	ReasonStoreDown   Reason = "store_down"
	ReasonBreakerOpen Reason = "breaker_open"
	ReasonCertTimeout Reason = "cert_timeout"
	ReasonLimited     Reason = "limited"
	// ReasonClientConnections and ReasonClientRate: the client has too many connections, or opens them too fast.
	ReasonClientConnections Reason = "client_connections"
	ReasonClientRate        Reason = "client_rate"
	ReasonProxyHeader       Reason = "proxy_header" // read from a trusted proxy, or too large to be sent
	ReasonClientCertificate Reason = "client_cert"
	ReasonQueue             Reason = "queue"       // every server was full for too long
	ReasonLifetime          Reason = "lifetime"    // it lived for as long as it may
	ReasonKilled            Reason = "killed"      // by hand
	ReasonServerDown        Reason = "server_down" // it went down, and its connections with it
	// ReasonPlaintext, ReasonInjection and ReasonPreamble are the faults of package preamble: the client will not speak TLS,
	// sent something right before TLS where nothing may be, or sent what the protocol does not know.
	ReasonPlaintext     Reason = "plaintext"
	ReasonInjection     Reason = "injection"
	ReasonPreamble      Reason = "preamble"
	ReasonCancelUnknown Reason = "cancel_unknown" // no connection is known whose query it would cancel
	ReasonServerRefused Reason = "server_refused" // the server sent its client away, or begins no TLS
	ReasonHandshake     Reason = "handshake"
	ReasonClientAlert   Reason = "client_alert"
	ReasonNoBackend     Reason = "no_backend"
	ReasonTimeout       Reason = "timeout"
	ReasonTruncated     Reason = "truncated"
	ReasonClientReset   Reason = "client_reset"
	ReasonServerReset   Reason = "server_reset"
	ReasonIdle          Reason = "idle"
	ReasonDrained       Reason = "drained"
	ReasonInternal      Reason = "internal"
)

// refusal is an error that ends a connection before its bytes flow.
type refusal struct {
	reason Reason
	alert  uint8 // sent when the handshake has not got that far; 0: none
	err    error // nil: the reason says it all
}

func (r *refusal) Error() string {
	if r.err == nil {
		return string(r.reason)
	}
	return fmt.Sprintf("%s: %v", r.reason, r.err)
}

func (r *refusal) Unwrap() error { return r.err }

// tally counts connections by reason.
type tally struct{ counts map[Reason]*atomic.Uint64 }

func newTally() tally {
	t := tally{counts: map[Reason]*atomic.Uint64{}}
	for _, r := range []Reason{
		ReasonNoSNI, ReasonNoRoute, ReasonRejected, ReasonNoALPN, ReasonNoCert, ReasonStoreDown, ReasonBreakerOpen,
		ReasonCertTimeout, ReasonLimited, ReasonHandshake, ReasonClientAlert, ReasonNoBackend,
		ReasonClientConnections, ReasonClientRate, ReasonProxyHeader, ReasonClientCertificate, ReasonQueue, ReasonLifetime, ReasonKilled, ReasonServerDown,
		ReasonTimeout, ReasonTruncated, ReasonClientReset, ReasonServerReset, ReasonIdle, ReasonDrained, ReasonInternal,
		ReasonPlaintext, ReasonInjection, ReasonPreamble, ReasonCancelUnknown, ReasonServerRefused,
		Reason(sni.TooBig), Reason(sni.NotTLS), Reason(sni.Malformed), Reason(sni.BadName), Reason(sni.ClosedEarly),
	} {
		t.counts[r] = new(atomic.Uint64)
	}
	return t
}

// add counts a connection that ended for a reason other than ok.
func (t tally) add(r Reason) {
	if n, ok := t.counts[r]; ok {
		n.Add(1)
	}
}

// snapshot is the counts that are not zero.
func (t tally) snapshot() map[string]uint64 {
	out := map[string]uint64{}
	for r, n := range t.counts {
		if v := n.Load(); v > 0 {
			out[string(r)] = v
		}
	}
	return out
}
