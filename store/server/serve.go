package server

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/rs/zerolog"
)

const (
	headerTimeout   = 5 * time.Second
	readTimeout     = 10 * time.Second
	writeTimeout    = 30 * time.Second
	idleTimeout     = 2 * time.Minute
	shutdownTimeout = 5 * time.Second
	maxHeader       = 16 << 10
)

// Serve answers on listener until ctx is done, then lets the requests under way
// end for up to 5 s. It speaks TLS when config is not nil. It closes listener,
// and returns nil after a shutdown that was asked for.
func (s *Server) Serve(ctx context.Context, listener net.Listener, config *tls.Config) error {
	server := &http.Server{
		Handler:           s,
		TLSConfig:         config.Clone(),
		ReadHeaderTimeout: headerTimeout,
		ReadTimeout:       readTimeout,
		WriteTimeout:      writeTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeader,
		ErrorLog:          log.New(logWriter{s.options.Log}, "", 0),
	}
	ended := make(chan error, 1)
	go func() {
		if config == nil {
			ended <- server.Serve(listener)
			return
		}
		ended <- server.ServeTLS(listener, "", "")
	}()
	select {
	case err := <-ended:
		server.Close()
		return fmt.Errorf("certificate server on %s: %w", listener.Addr(), err)
	case <-ctx.Done():
	}
	err := shutdown(server)
	<-ended
	return err
}

func shutdown(server *http.Server) error {
	ctx, cancel := context.WithTimeout(context.Background(), shutdownTimeout)
	defer cancel()
	if err := server.Shutdown(ctx); !errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	return server.Close()
}

// logWriter takes the lines that net/http logs.
type logWriter struct{ log zerolog.Logger }

func (w logWriter) Write(line []byte) (int, error) {
	w.log.Warn().Str("error", strings.TrimSpace(string(line))).Msg("certificate server")
	return len(line), nil
}
