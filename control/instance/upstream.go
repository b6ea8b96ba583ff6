package instance

import (
	"context"
	"crypto/tls"
	"fmt"
	"net/netip"
	"reflect"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"

	"hellogate/control/config"
	"hellogate/terminate/seen"
)

// noEnd is an address that is not known.
var noEnd netip.AddrPort

// upstreamTLS is how a backend's servers are spoken to over TLS, by files that are read again when they change.
type upstreamTLS struct {
	backend  string
	settings config.BackendTLS
	config   atomic.Pointer[tls.Config]
	seen     seen.Files
	failed   bool
}

func newUpstreamTLS(backend string, settings config.BackendTLS) (*upstreamTLS, error) {
	u := &upstreamTLS{backend: backend, settings: settings}
	return u, u.read()
}

// upstream is what there is, with the sessions that can be resumed and what was read of its files, or made anew.
func (p *plane) upstream(backend string, settings config.BackendTLS) (made *upstreamTLS, err error) {
	if p.before != nil {
		made = p.before.upstreams[backend]
	}
	if made == nil || !reflect.DeepEqual(made.settings, settings) {
		if made, err = newUpstreamTLS(backend, settings); err != nil {
			return nil, err
		}
	}
	p.upstreams[backend] = made
	return made, nil
}

// sessionsKept is how many servers' sessions are kept to be resumed.
const sessionsKept = 1024

// read reads the files.
func (u *upstreamTLS) read() error {
	u.seen, _ = u.look() // who reads them says what is wrong
	trusted, err := roots(u.settings.CAFile)
	if err != nil {
		return fmt.Errorf("tls.ca_file: %w", err)
	}
	read := &tls.Config{
		RootCAs: trusted, InsecureSkipVerify: u.settings.InsecureSkipVerify, NextProtos: u.settings.ALPN,
		MinVersion: uint16(u.settings.MinVersion), ClientSessionCache: tls.NewLRUClientSessionCache(sessionsKept),
	}
	if u.settings.ServerName != config.ClientName {
		read.ServerName = u.settings.ServerName
	}
	if u.settings.CertFile != "" {
		own, err := tls.LoadX509KeyPair(u.settings.CertFile, u.settings.KeyFile)
		if err != nil {
			return fmt.Errorf("tls: %s with %s: %w", u.settings.CertFile, u.settings.KeyFile, err)
		}
		read.Certificates = []tls.Certificate{own}
	}
	u.config.Store(read)
	return nil
}

func (u *upstreamTLS) look() (seen.Files, error) {
	return seen.Look(u.settings.CAFile, u.settings.CertFile, u.settings.KeyFile)
}

// forChecks is the configuration for health checks. There is no client, and so no name to ask for where that is the
// client's: then a check finds out whether the server speaks TLS, and not as whom.
func (u *upstreamTLS) forChecks() *tls.Config {
	config := u.config.Load().Clone()
	config.ClientSessionCache = nil
	if config.ServerName == "" {
		config.InsecureSkipVerify = true
	}
	return config
}

// watchUpstreams reads files again that have changed, at once and until ctx is done. What can't be read leaves what was read
// before. Only one may watch.
func watchUpstreams(ctx context.Context, upstreams map[string]*upstreamTLS, log zerolog.Logger) {
	ticks := time.NewTicker(lookAgain)
	defer ticks.Stop()
	for ctx.Err() == nil {
		for _, u := range upstreams {
			u.readAgain(log)
		}
		select {
		case <-ctx.Done():
		case <-ticks.C:
		}
	}
}

// readAgain reads the files if they have changed; those that could not be read, at every look, as they may be half-written.
func (u *upstreamTLS) readAgain(log zerolog.Logger) {
	if now, err := u.look(); err == nil && !u.failed && u.seen.Same(now) {
		return
	}
	err := u.read()
	switch {
	case err == nil:
		log.Info().Str("backend", u.backend).Msg("tls files read again")
	case !u.failed:
		log.Error().Str("backend", u.backend).Err(err).Msg("tls files: what was read before stays in use")
	}
	u.failed = err != nil
}
