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
	stageProxy stage = iota // of those that begin with a PROXY header
	stagePreamble
	stageHello
	stageRoute
	stageCertificate
	stageHandshake
	stageStartup // of PostgreSQL's clients
	stageConnect
	stageSplice
	stageCount
)

func (s stage) String() string {
	return [...]string{"proxy", "preamble", "hello", "route", "cert", "handshake", "startup", "connect", "splice"}[s]
}

// stages says where a connection is and how long each stage took. It goes through them in turn, past those that it has no need
// of, until it ends.
type stages struct {
	at    stage
	began time.Time
	start [stageCount]time.Duration // since then, of the stages up to at
	over  time.Duration             // the same; 0: it goes on
}

func (s *stages) begin(next stage) {
	now := time.Since(s.began)
	for s.at < next {
		s.at++
		s.start[s.at] = now
	}
}

// end notes that the connection is over, but for its orderly close.
func (s *stages) end() { s.over = time.Since(s.began) }

// took is how long the stages from first up to, and without, end took; until the connection was over where they did not
// end. It is false of those that it did not go through.
func (s *stages) took(first, end stage) (time.Duration, bool) {
	switch {
	case first > s.at:
		return 0, false
	case end <= s.at:
		took := s.start[end] - s.start[first]
		return took, took > 0
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
	e := c.server.Access.Info().Hex("conn", c.id[:]).Stringer("client", c.source).Str("listener", c.listener.Name)
	if c.name != "" {
		e.Str("name", c.name)
	}
	c.logSession(e)
	c.logProtocol(e)
	if c.from != "" {
		e.Str("cert", c.from)
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

// logProtocol tells of what the client spoke before its TLS, and in it.
func (c *connection) logProtocol(e *zerolog.Event) {
	switch name := c.listener.StartTLS.name; {
	case c.postgres:
		e.Str("protocol", postgres)
	case name != "" && name != auto:
		e.Str("protocol", name)
	}
	if c.cancels() {
		e.Bool("cancel", true)
	}
}

func (c *connection) logBackend(e *zerolog.Event) {
	if c.to.backend != nil {
		e.Str("backend", c.to.backend.Name)
	}
	if c.to.connected() {
		e.Str("server", c.to.address)
	}
	if c.stages.at == stageSplice {
		e.Int64("bytes_in", c.bytes.up.moved.Load()).Int64("bytes_out", c.bytes.down.moved.Load())
	}
}

func (c *connection) logTimes(e *zerolog.Event) {
	for _, t := range []struct {
		name       string
		first, end stage
	}{
		{"proxy_ms", stageProxy, stagePreamble},
		{"preamble_ms", stagePreamble, stageHello},
		{"hello_ms", stageHello, stageRoute},
		{"cert_ms", stageCertificate, stageHandshake},
		{"handshake_ms", stageHandshake, stageStartup},
		{"startup_ms", stageStartup, stageConnect},
		{"connect_ms", stageConnect, stageSplice},
		{"total_ms", stageProxy, stageCount},
	} {
		if took, ok := c.stages.took(t.first, t.end); ok {
			e.Float64(t.name, float64(took.Microseconds())/1000)
		}
	}
}
