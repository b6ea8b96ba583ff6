package control

import (
	"context"
	"errors"
	"fmt"
	"log"
	"net"
	"net/http"
	"path"
	"sync"
)

// Serve answers all requests on listener until ctx is done or listener is closed. It closes listener, gives requests under way two seconds,
// and returns when every one has ended.
func (s *Server) Serve(ctx context.Context, listener net.Listener) error {
	return s.serve(ctx, listener, s.everything())
}

// ServeReads does the same for a socket on which nothing can be changed, fetched or profiled.
func (s *Server) ServeReads(ctx context.Context, listener net.Listener) error {
	return s.serve(ctx, listener, s.reads())
}

// ServeAdmin does the same for a TCP address, with nothing but the status, the metrics and the health that machines ask for.
func (s *Server) ServeAdmin(ctx context.Context, listener net.Listener) error {
	return s.serve(ctx, listener, s.monitoring())
}

// serve answers the requests that routes has. What streams without an end ends with the first listener that does.
func (s *Server) serve(ctx context.Context, listener net.Listener, routes *http.ServeMux) error {
	base, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	var handlers sync.WaitGroup
	server := &http.Server{
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			handlers.Add(1)
			defer handlers.Done()
			dispatch(routes, w, r)
		}),
		MaxHeaderBytes:    headerBytes,
		ReadHeaderTimeout: headerTimeout,
		ReadTimeout:       readTimeout,
		WriteTimeout:      3 * writeTimeout,
		IdleTimeout:       idleTimeout,
		ErrorLog:          log.New(s.options.Log.With().Str("part", "control").Logger(), "", 0),
		BaseContext:       func(net.Listener) context.Context { return base },
		ConnContext:       withPeer,
	}
	served := make(chan error, 1)
	limited := limit(listener, ConnectionLimit)
	go func() { served <- server.Serve(limited) }()
	var err error
	select {
	case err = <-served:
	case <-ctx.Done():
		// Before the server begins to end: it forgets about one that it accepts in that moment.
		limited.Close()
		err = <-served
	}
	if errors.Is(err, net.ErrClosed) {
		s.end()
		err = shutdown(server)
	}
	cancel()
	server.Close()
	handlers.Wait()
	return err
}

func shutdown(server *http.Server) error {
	ctx, cancel := context.WithTimeout(context.Background(), closeTimeout)
	defer cancel()
	if err := server.Shutdown(ctx); err != nil && !errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	return nil
}

// dispatch answers one request.
func dispatch(routes *http.ServeMux, w http.ResponseWriter, r *http.Request) {
	// ServeMux would redirect, in HTML.
	if escaped := r.URL.EscapedPath(); path.Clean(escaped) != escaped && escaped != profilesPath {
		refuse(w, http.StatusNotFound, fmt.Errorf("no such path: %s", quote(r.URL.Path)))
		return
	}
	routes.ServeHTTP(w, r)
}
