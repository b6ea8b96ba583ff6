// Package petersslers answers on TCP what a peter_sslers server asks of an nginx that runs lua-resty-peter_sslers: to
// expire what is cached, all of it or one name, and what is cached.
//
// The rule it guards: whoever is not on this machine shows a user name and a password before anything is done or told. It
// never gives a certificate or a key.
package petersslers

import (
	"context"
	"errors"
	"fmt"
	"log"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/rs/zerolog"
	"golang.org/x/net/netutil"

	"hellogate/cache"
)

// Bounds on what peers can make us hold or wait for.
const (
	connectionLimit = 32 // connections at once; more wait to be accepted
	headerBytes     = 16 << 10
	headerTimeout   = 2 * time.Second
	readTimeout     = 5 * time.Second
	writeTimeout    = 30 * time.Second // from when the request was read: a flush of everything is in it
	idleTimeout     = 15 * time.Second
	closeTimeout    = 2 * time.Second
)

// Certificates is what is asked of the cache.
type Certificates interface {
	// FlushAll and Flush remove what is known of all names, or of some. They return those that something was removed of,
	// and those that stay because they were pinned. The error says what may be on disk still.
	FlushAll() (flushed, pinned []string, err error)
	Flush(names ...string) (flushed, pinned []string, err error)
	// Sample returns up to count of the names that have a certificate, sorted. One may be there twice.
	Sample(count int) []cache.Info
	// Unknown returns up to count of the names that a store's no is remembered of, sorted.
	Unknown(count int) []string
}

// Options say where to listen, who may ask and what is asked. Address, Certificates and Version are needed.
type Options struct {
	// Address is host:port; no host is every address of the machine, port 0 takes a free one. Anything but loopback needs
	// Username and Password.
	Address string
	// Listener is what is listened on, when it is open already, in place of Address. Listen closes it where it fails.
	Listener *net.TCPListener
	// Username is what a request must show with basic authentication, and what Password gives, which is called for each
	// request, from several goroutines at once. While it fails, what it gave last counts. Both or none.
	Username string
	Password func() (string, error)
	// Certificates is asked from several goroutines at once.
	Certificates Certificates
	// Version is told with every answer.
	Version string
	// Log takes a line for each change of state, for a password that can't be read any more and, at most one a second, for
	// requests that were refused.
	Log zerolog.Logger
}

// Server is an open listener. Serve it, or Close it.
type Server struct {
	options  Options
	listener *net.TCPListener
	login    *login // nil: everybody may ask
	refusals refusals
	handlers sync.WaitGroup
}

// Listen opens the listener. Nothing is answered until Serve is called.
func Listen(options Options) (*Server, error) {
	server, err := listen(options)
	if err != nil {
		if options.Listener != nil {
			_ = options.Listener.Close()
		}
		return nil, fmt.Errorf("peter_sslers listener %s: %w", options.Address, err)
	}
	return server, nil
}

func listen(options Options) (*Server, error) {
	login, err := newLogin(options.Username, options.Password, options.Log)
	if err != nil {
		return nil, err
	}
	if options.Address == "" {
		return nil, errors.New("no address")
	}
	address, err := net.ResolveTCPAddr("tcp", options.Address)
	if err != nil {
		return nil, err
	}
	if login == nil && !address.IP.IsLoopback() {
		return nil, errors.New("whoever reaches it could empty the cache: anything but loopback needs a user name and a password")
	}
	listener := options.Listener
	if listener == nil {
		if listener, err = net.ListenTCP("tcp", address); err != nil {
			return nil, err
		}
	}
	if !address.IP.IsLoopback() {
		options.Log.Warn().Stringer("address", listener.Addr()).Msg("peter_sslers: passwords cross the network unencrypted")
	}
	return &Server{options: options, listener: listener, login: login, refusals: refusals{started: time.Now()}}, nil
}

// Addr is where it listens.
func (s *Server) Addr() net.Addr { return s.listener.Addr() }

// Listener is what it listens on.
func (s *Server) Listener() *net.TCPListener { return s.listener }

// Close stops listening. Serve does that itself.
func (s *Server) Close() error {
	if err := s.listener.Close(); !errors.Is(err, net.ErrClosed) {
		return err
	}
	return nil
}

// Serve answers until ctx is done or Close is called. It closes the listener, gives requests under way two seconds, and
// returns when every one has ended.
func (s *Server) Serve(ctx context.Context) error {
	server := &http.Server{
		Handler:           s,
		MaxHeaderBytes:    headerBytes,
		ReadHeaderTimeout: headerTimeout,
		ReadTimeout:       readTimeout,
		WriteTimeout:      writeTimeout,
		IdleTimeout:       idleTimeout,
		ErrorLog:          log.New(logWriter{s.options.Log}, "", 0),
	}
	served := make(chan error, 1)
	go func() { served <- server.Serve(netutil.LimitListener(s.listener, connectionLimit)) }()
	var err error
	select {
	case err = <-served:
	case <-ctx.Done():
		err = shutdown(server)
		<-served
	}
	server.Close()
	s.handlers.Wait()
	if errors.Is(err, net.ErrClosed) || errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return err
}

func shutdown(server *http.Server) error {
	ctx, cancel := context.WithTimeout(context.Background(), closeTimeout)
	defer cancel()
	if err := server.Shutdown(ctx); !errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	return nil
}

// logWriter takes the lines that net/http logs.
type logWriter struct{ log zerolog.Logger }

func (w logWriter) Write(line []byte) (int, error) {
	w.log.Warn().Str("error", strings.TrimSpace(string(line))).Msg("peter_sslers")
	return len(line), nil
}
