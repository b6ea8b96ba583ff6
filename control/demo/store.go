package demo

import (
	"context"
	"crypto/subtle"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/rs/zerolog"

	"hellogate/sni"
	"hellogate/store/server"
)

// unknownSuffix is below what the demo's store says that it knows nothing of, to show what becomes of such names.
const unknownSuffix = ".invalid"

// store is the certificate server, in front of which a certificate is made for whatever name is asked for: the
// server then finds it in its directory.
type store struct {
	listener  net.Listener
	authority *authority
	token     string
	next      http.Handler
	log       zerolog.Logger
}

func (d *demo) openStore(token string) error {
	directory := filepath.Join(d.place.Directory, "certs")
	if err := os.Mkdir(directory, 0o700); err != nil {
		return err
	}
	authority, err := newAuthority(directory)
	if err != nil {
		return err
	}
	if err := os.WriteFile(d.place.CAFile, authority.rootPEM(), 0o644); err != nil {
		return err
	}
	quiet := d.Log.Level(zerolog.WarnLevel)
	next, err := server.New(server.Options{Path: directory, Token: token, MaxAge: time.Hour, Log: quiet})
	if err != nil {
		return err
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	d.store = &store{listener: listener, authority: authority, token: token, next: next, log: quiet}
	d.place.Store = "http://" + listener.Addr().String() + "/certs"
	return nil
}

// serve answers until ctx is done.
func (s *store) serve(ctx context.Context) {
	const timeout = 10 * time.Second
	server := http.Server{Handler: s, ReadTimeout: timeout, WriteTimeout: timeout, IdleTimeout: timeout}
	stopped := context.AfterFunc(ctx, func() { server.Close() })
	defer stopped()
	if err := server.Serve(s.listener); ctx.Err() == nil {
		s.log.Error().Err(err).Msg("certificate server ended")
	}
}

func (s *store) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	name, found := strings.CutPrefix(r.URL.Path, "/certs/")
	if found && s.authorized(r) {
		s.issue(name)
	}
	s.next.ServeHTTP(w, r)
}

func (s *store) authorized(r *http.Request) bool {
	return subtle.ConstantTimeCompare([]byte(r.Header.Get("Authorization")), []byte("Bearer "+s.token)) == 1
}

func (s *store) issue(text string) {
	name, err := sni.Normalize(text)
	if err != nil || strings.HasSuffix(name, unknownSuffix) {
		return
	}
	if err := s.authority.issue(name); err != nil {
		s.log.Error().Err(err).Str("name", name).Msg("certificate not made")
	}
}
