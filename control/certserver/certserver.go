// Package certserver runs a certificate server on a directory of PEM files.
//
// The rule it guards: private keys cross no network in the clear, and go to nobody who has no token, unless
// whoever runs it says in so many words that they may.
package certserver

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"time"

	"github.com/rs/zerolog"

	"hellogate/store/server"
)

// Options say what is served and to whom.
type Options struct {
	Directory     string        // NAME.crt and NAME.key
	Listen        string        // host:port
	CertFile      string        // of the server itself; empty: plain HTTP
	KeyFile       string        // its key
	Token         string        // bearer token; it beats TokenFile. Neither: everybody on loopback is answered
	TokenFile     string        // file that holds it
	Plaintext     bool          // allows plain HTTP on more than loopback
	AllowOpenKeys bool          // serves key files that others than their owner may read
	MaxAge        time.Duration // how long answers may be used; 0: not said
	Log           zerolog.Logger
	Ready         func(net.Addr) // called once it listens; nil: not
}

// Run serves until ctx is done.
func Run(ctx context.Context, options Options) error {
	token, err := options.token()
	if err != nil {
		return err
	}
	if err := options.check(token); err != nil {
		return err
	}
	config, err := options.tls()
	if err != nil {
		return err
	}
	served, err := server.New(server.Options{
		Path:          options.Directory,
		Token:         token,
		AllowOpenKeys: options.AllowOpenKeys,
		MaxAge:        options.MaxAge,
		Log:           options.Log,
	})
	if err != nil {
		return err
	}
	listener, err := net.Listen("tcp", options.Listen)
	if err != nil {
		return err
	}
	options.started(listener.Addr(), token, config)
	return served.Serve(ctx, listener, config)
}

func (o Options) token() (string, error) {
	if o.Token != "" || o.TokenFile == "" {
		return o.Token, nil
	}
	text, err := os.ReadFile(o.TokenFile)
	if err != nil {
		return "", fmt.Errorf("token file: %w", err)
	}
	token := strings.TrimSpace(string(text))
	if token == "" {
		return "", fmt.Errorf("token file %s is empty", o.TokenFile)
	}
	return token, nil
}

// check refuses what would give keys away.
func (o Options) check(token string) error {
	host, _, err := net.SplitHostPort(o.Listen)
	if err != nil {
		return fmt.Errorf("listen address %+q: not host:port", o.Listen)
	}
	if local(host) {
		return nil
	}
	if o.CertFile == "" && !o.Plaintext {
		return fmt.Errorf("%s is not loopback: private keys would cross the network in the clear; give a TLS certificate, or allow plaintext", o.Listen)
	}
	if token == "" {
		return fmt.Errorf("%s is not loopback: without a token anybody would get the private keys", o.Listen)
	}
	return nil
}

func local(host string) bool {
	address := net.ParseIP(host)
	return host == "localhost" || address != nil && address.IsLoopback()
}

func (o Options) tls() (*tls.Config, error) {
	if (o.CertFile == "") != (o.KeyFile == "") {
		return nil, errors.New("a TLS certificate and its key go together")
	}
	if o.CertFile == "" {
		return nil, nil
	}
	pair, err := tls.LoadX509KeyPair(o.CertFile, o.KeyFile)
	if err != nil {
		return nil, fmt.Errorf("TLS certificate %s: %w", o.CertFile, err)
	}
	return &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12}, nil
}

func (o Options) started(address net.Addr, token string, config *tls.Config) {
	if token == "" {
		o.Log.Warn().Msg("no token: everybody on this machine gets the private keys")
	}
	o.Log.Info().Stringer("address", address).Str("directory", o.Directory).Bool("tls", config != nil).Msg("certificate server started")
	if o.Ready != nil {
		o.Ready(address)
	}
}
