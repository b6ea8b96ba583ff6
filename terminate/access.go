package terminate

import (
	"crypto/tls"
	"slices"
	"time"

	"github.com/rs/zerolog"
)

// stage is a part of a connection's life.
type stage uint8

// The stages. The connection is over when it ends in the last one, or early in another.
const (
	stageHello stage = iota
	stageRoute
	stageCertificate
	stageHandshake
	stageConnect
	stageHeader
	stageSplice
	stageCount
)

func (s stage) String() string {
	return [...]string{"hello", "route", "cert", "handshake", "connect", "header", "splice"}[s]
}

// stages says where a connection is and how long each stage took. It goes through all of them in turn, until it ends.
type stages struct {
	at    stage
	began time.Time
	start [stageCount]time.Duration // since then, of the stages up to at
	over  time.Duration             // the same; 0: it goes on
}

func (s *stages) begin(next stage) { s.at, s.start[next] = next, time.Since(s.began) }

// end notes that the connection is over, but for its orderly close.
func (s *stages) end() { s.over = time.Since(s.began) }

// took is how long the stages from first up to, and without, end took; until the connection was over where they did not
// end.
func (s *stages) took(first, end stage) (time.Duration, bool) {
	switch {
	case first > s.at:
		return 0, false
	case end <= s.at:
		return s.start[end] - s.start[first], true
	case s.over > 0:
		return s.over - s.start[first], true
	default:
		return time.Since(s.began) - s.start[first], true
	}
}

// log writes the connection's line. Nothing in it is as a client sent it, but the names that are names and the
// protocols, which are those of the configuration.
func (c *connection) log(reason Reason, err error) {
	if c.server.Access == nil {
		return
	}
	e := c.server.Access.Info().Hex("conn", c.id[:]).Stringer("client", c.client.RemoteAddr()).Str("listener", c.listener.Name)
	if c.name != "" {
		e.Str("name", c.name)
	}
	c.logSession(e)
	if c.source != "" {
		e.Str("cert", c.source)
	}
	if c.route != nil {
		e.Str("route", c.pattern.String())
	}
	c.logBackend(e)
	c.logTimes(e)
	e.Stringer("stage", c.stages.at).Str("reason", string(reason))
	if err != nil {
		e.Str("error", quote(err.Error()))
	}
	e.Msg("connection")
}

func (c *connection) logSession(e *zerolog.Event) {
	if c.client.session == nil {
		return
	}
	state := c.client.session.ConnectionState()
	if !state.HandshakeComplete {
		return
	}
	e.Str("alpn", state.NegotiatedProtocol).Str("tls_version", tls.VersionName(state.Version)).
		Str("cipher", cipherNames[state.CipherSuite]).Stringer("group", state.CurveID).Bool("resumed", state.DidResume)
}

// cipherNames has what tls.CipherSuiteName says, which makes a table of all suites for every answer.
var cipherNames = nameCiphers()

func nameCiphers() map[uint16]string {
	names := map[uint16]string{}
	for _, suite := range slices.Concat(tls.CipherSuites(), tls.InsecureCipherSuites()) {
		names[suite.ID] = suite.Name
	}
	return names
}

func (c *connection) logBackend(e *zerolog.Event) {
	if c.backend != nil {
		e.Str("backend", c.backend.Name)
	}
	if c.target != nil {
		e.Str("server", c.target.address)
	}
	if c.stages.at == stageSplice {
		e.Int64("bytes_in", c.bytes.up.moved).Int64("bytes_out", c.bytes.down.moved)
	}
}

func (c *connection) logTimes(e *zerolog.Event) {
	for _, t := range []struct {
		name       string
		first, end stage
	}{
		{"hello_ms", stageHello, stageRoute},
		{"cert_ms", stageCertificate, stageHandshake},
		{"handshake_ms", stageHandshake, stageConnect},
		{"connect_ms", stageConnect, stageHeader},
		{"total_ms", stageHello, stageCount},
	} {
		if took, ok := c.stages.took(t.first, t.end); ok {
			e.Float64(t.name, float64(took.Microseconds())/1000)
		}
	}
}
