package challenge

import (
	"context"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"time"

	"github.com/rs/zerolog"
	"golang.org/x/net/netutil"
)

const (
	headerTime  = 5 * time.Second
	readTime    = 5 * time.Second
	writeTime   = 10 * time.Second
	idleTime    = 10 * time.Second
	headerBytes = 8 << 10
	// maxConnections is how many are open at once; the next wait to be accepted.
	maxConnections = 1024
)

// Server serves a handler on a listener, with limits for a port that anybody can reach: headers of 8 KB within 5 s, 1024
// connections.
type Server struct{ http *http.Server }

// NewServer returns a server. Use it once: Serve, then Shutdown.
func NewServer(handler http.Handler, logger zerolog.Logger) *Server {
	return &Server{http: &http.Server{
		Handler:           handler,
		ReadHeaderTimeout: headerTime,
		ReadTimeout:       readTime,
		WriteTimeout:      writeTime,
		IdleTimeout:       idleTime,
		MaxHeaderBytes:    headerBytes,
		ErrorLog:          log.New(quiet{logger}, "", 0),
		// It would answer what the handler does not allow.
		DisableGeneralOptionsHandler: true,
	}}
}

// Serve serves until Shutdown is called, and then returns nil, or until the listener fails. It closes the listener.
func (s *Server) Serve(listener net.Listener) error {
	err := s.http.Serve(netutil.LimitListener(listener, maxConnections))
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return err
}

// Shutdown lets requests under way end, until ctx is done: then their connections are closed.
func (s *Server) Shutdown(ctx context.Context) error {
	err := s.http.Shutdown(ctx)
	if err != nil {
		return errors.Join(err, s.http.Close())
	}
	return nil
}

// quiet logs what clients do wrong, and what is no client's fault, for who looks for it.
type quiet struct{ log zerolog.Logger }

var _ io.Writer = quiet{}

func (q quiet) Write(line []byte) (int, error) {
	q.log.Debug().Str("reason", string(line)).Msg("http-01 listener")
	return len(line), nil
}
