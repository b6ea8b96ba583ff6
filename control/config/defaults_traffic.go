package config

import (
	"crypto/tls"
	"time"
)

const defaultRotate = 12 * time.Hour

func (a *AcceptProxy) setDefaults() {
	*a = AcceptProxy{Required: true, Timeout: 3 * time.Second}
}

var defaultQueue = Queue{Length: 1000, Timeout: 5 * time.Second}

func (b *Backend) setDefaults() {
	*b = Backend{
		Balance:        RoundRobin,
		Queue:          defaultQueue,
		Ejection:       Ejection{Failures: 5, Time: 10 * time.Second, MaxTime: 5 * time.Minute, MaxPercent: 50},
		OnDown:         DownKeep,
		SendProxy:      SendProxyV2,
		ProxyTLVs:      []ProxyTLV{TLVAuthority, TLVALPN, TLVSSL, TLVUniqueID, TLVCRC32C},
		ConnectTimeout: 3 * time.Second,
		DialTimeout:    10 * time.Second,
		Retries:        2,
	}
}

func (s *Server) setDefaults() { *s = Server{Weight: 1} }

func (h *Health) setDefaults() {
	*h = Health{Interval: 2 * time.Second, Timeout: time.Second, Rise: 2, Fall: 3}
}

func (t *BackendTLS) setDefaults() {
	*t = BackendTLS{ServerName: ClientName, PassALPN: true, MinVersion: tls.VersionTLS12}
}

func (r *Route) setDefaults() {
	*r = Route{
		Action:         Terminate,
		SessionTickets: SessionTickets{Rotate: unset},
		Limits:         RouteLimits{HandshakeTimeout: unset, IdleTimeout: unset, HalfCloseTimeout: unset, LifeTimeout: unset},
		Truncation:     TruncationFIN,
	}
}

// inherit takes from the top level what r does not say.
func (r *Route) inherit(top *Config) {
	r.TLS.inherit(top.TLS)
	r.SessionTickets.inherit(top.SessionTickets)
	r.Limits.inherit(top.Limits)
}

// inherit takes from parent what t does not say. An empty list of protocols
// says something, a nil one does not.
func (t *TLS) inherit(parent TLS) {
	if t.MinVersion == 0 {
		t.MinVersion = parent.MinVersion
	}
	if t.ALPN == nil {
		t.ALPN = parent.ALPN
	}
	t.ClientAuth.inherit(parent.ClientAuth)
}

func (a *ClientAuth) inherit(parent ClientAuth) {
	if a.Mode == "" {
		a.Mode = parent.Mode
	}
	if a.CAFile != "" {
		return
	}
	a.CAFile = parent.CAFile
	if a.CRLFile == "" {
		a.CRLFile = parent.CRLFile
	}
	if !a.Allow.written() {
		a.Allow = parent.Allow
	}
}

// written reports whether any of the lists was, if only to say that it is empty.
func (a ClientAllow) written() bool {
	return a.CN != nil || a.DNS != nil || a.URI != nil || a.SPKISHA256 != nil
}

// Everyone reports whether a allows every client whose certificate verifies.
func (a ClientAllow) Everyone() bool {
	return len(a.CN)+len(a.DNS)+len(a.URI)+len(a.SPKISHA256) == 0
}

func (s *SessionTickets) inherit(parent SessionTickets) {
	if s.Enabled == SwitchUnset {
		s.Enabled = parent.Enabled
	}
	if s.KeyFile == "" {
		s.KeyFile = parent.KeyFile
	}
	if s.Rotate == unset {
		s.Rotate = parent.Rotate
	}
}

func (l *RouteLimits) inherit(parent Limits) {
	take := func(own *time.Duration, inherited time.Duration) {
		if *own == unset {
			*own = inherited
		}
	}
	take(&l.HandshakeTimeout, parent.HandshakeTimeout)
	take(&l.IdleTimeout, parent.IdleTimeout)
	take(&l.HalfCloseTimeout, parent.HalfCloseTimeout)
	take(&l.LifeTimeout, parent.LifeTimeout)
}
