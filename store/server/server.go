// Package server is a certificate server: a certificate store over HTTP for a
// directory of PEM files.
//
// The rule it guards: a private key leaves the directory only for a caller with
// the token, and nothing outside the directory leaves it at all.
package server

import (
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/rs/zerolog"

	"hellogate/sni"
)

// Options say what a [Server] serves and to whom.
type Options struct {
	// Path is the directory. It may be replaced while the server runs.
	Path string
	// Token is what callers must send as "Authorization: Bearer TOKEN".
	// Empty: everybody is answered.
	Token string
	// AllowOpenKeys serves key files that others than their owner may open.
	AllowOpenKeys bool
	// MaxAge is the Cache-Control max-age of an answer, in whole seconds. 0: none is sent.
	MaxAge time.Duration
	// Log never sees a key or a token.
	Log zerolog.Logger
}

// Server answers
//
//	GET /NAME, GET /certs/NAME            {"cert": PEM chain, "key": PEM}, or 404
//	GET /?server_name=NAME, GET /certs?.. a PEM bundle, or 204 (Caddy's form)
//
// NAME is a host name as sni.Normalize takes it. It is answered with the pair
// NAME.crt and NAME.key; else with a certificate whose SANs hold it; else with
// a wildcard for it, which is the pair "*.PARENT" or "_.PARENT", or else a
// certificate with the SAN "*.PARENT". Of several certificates with a SAN the
// one that is valid longest is taken. The first form gives the PEM bundle too,
// when Accept asks for application/x-pem-file. Files are read again when they
// change. The zero Server is not usable; see [New].
type Server struct {
	options Options
	token   [sha256.Size]byte
	folder  *folder
}

var errToken = errors.New("token holds a character that a header cannot: only printable ASCII without spaces")

// New returns a server for the directory, having read its certificates once.
func New(options Options) (*Server, error) {
	if strings.ContainsFunc(options.Token, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return nil, errToken
	}
	folder, err := newFolder(options.Path, options.AllowOpenKeys, options.Log)
	if err != nil {
		return nil, fmt.Errorf("certificate directory: %w", err)
	}
	return &Server{options: options, token: sha256.Sum256([]byte(options.Token)), folder: folder}, nil
}

// ServeHTTP answers one request.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("X-Content-Type-Options", "nosniff")
	if !s.authorized(r) {
		s.options.Log.Warn().Str("client", r.RemoteAddr).Msg("token missing or wrong")
		w.Header().Set("WWW-Authenticate", "Bearer")
		refuse(w, http.StatusUnauthorized, "token missing or wrong")
		return
	}
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		refuse(w, http.StatusMethodNotAllowed, "only GET and HEAD are answered")
		return
	}
	asked, err := parseQuestion(r)
	if err != nil {
		refuse(w, http.StatusBadRequest, err.Error())
		return
	}
	s.serve(w, r, asked)
}

func (s *Server) serve(w http.ResponseWriter, r *http.Request, asked question) {
	if asked.name == "" {
		w.WriteHeader(http.StatusNoContent)
		return
	}
	found, err := s.folder.find(asked.name)
	switch {
	case err == nil:
		s.options.Log.Debug().Str("name", asked.name).Str("file", found.file).Msg("served")
		s.answer(w, r, found, asked)
	case !errors.Is(err, errUnknown):
		s.options.Log.Error().Err(err).Str("name", asked.name).Msg("certificate not served")
		refuse(w, http.StatusServiceUnavailable, "certificate not readable")
	case asked.caddy:
		w.WriteHeader(http.StatusNoContent)
	default:
		refuse(w, http.StatusNotFound, "unknown name")
	}
}

// authorized compares digests, so that neither the time it takes nor a shortcut
// on the length says how much of a token is right.
func (s *Server) authorized(r *http.Request) bool {
	if s.options.Token == "" {
		return true
	}
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	sent := sha256.Sum256([]byte(token))
	return subtle.ConstantTimeCompare(sent[:], s.token[:]) == 1 && strings.EqualFold(scheme, "Bearer")
}

// question is what a request asks for.
type question struct {
	name  string // "" in Caddy's form: the client sent no SNI
	caddy bool
}

var errNoName = errors.New("no name: ask for /certs/NAME or /certs?server_name=NAME")

func parseQuestion(r *http.Request) (question, error) {
	name, found := strings.CutPrefix(r.URL.Path, "/certs/")
	if !found {
		name = strings.TrimPrefix(r.URL.Path, "/")
	}
	if name != "" && r.URL.Path != "/certs" {
		name, err := sni.Normalize(name)
		return question{name: name}, err
	}
	names := r.URL.Query()["server_name"]
	if len(names) != 1 {
		return question{}, errNoName
	}
	if names[0] == "" {
		return question{caddy: true}, nil
	}
	name, err := sni.Normalize(names[0])
	return question{name: name, caddy: true}, err
}
