package challenge

import (
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"

	"github.com/mholt/acmez/v3/acme"

	"hellogate/sni"
)

// wellKnown is the path of HTTP-01 (RFC 8555 section 8.3).
const wellKnown = "/.well-known/acme-challenge/"

// Handler answers HTTP-01 challenges, and redirects all other GET and HEAD to https. It does nothing else: a request
// without a name for its host is bad, another method isn't allowed, since what it would send again was in the clear
// already.
func (p *Pending) Handler() http.Handler { return http.HandlerFunc(p.serve) }

func (p *Pending) serve(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		http.Error(w, "method not allowed", http.StatusMethodNotAllowed)
		return
	}
	host, err := hostOf(r.Host)
	if err != nil || r.URL.Opaque != "" {
		http.Error(w, "the request is for no host name", http.StatusBadRequest)
		return
	}
	if token, found := strings.CutPrefix(r.URL.Path, wellKnown); found && isToken(token) && p.answer(w, r, host, token) {
		return
	}
	w.Header().Set("Location", "https://"+host+target(r.URL))
	w.WriteHeader(http.StatusMovedPermanently)
}

// target is the path and query of a URL. It begins with a slash: behind a host, anything else could become part of it.
func target(asked *url.URL) string {
	path := "/" + strings.TrimPrefix(asked.EscapedPath(), "/")
	if asked.RawQuery != "" {
		path += "?" + asked.RawQuery
	}
	return path
}

// answer reports whether there was something to say about a token. A token of another name is none.
func (p *Pending) answer(w http.ResponseWriter, r *http.Request, host, token string) bool {
	found, err := p.find(r.Context(), acme.ChallengeTypeHTTP01, token)
	switch {
	case errors.Is(err, ErrNone) || err == nil && found.Name != host:
		return false
	case err != nil:
		p.options.Log.Warn().Err(err).Str("name", host).Msg("http-01 challenge: no answer")
		http.Error(w, "the answer can't be read", http.StatusServiceUnavailable)
		return true
	}
	w.Header().Set("Content-Type", "text/plain")
	w.Header().Set("Cache-Control", "no-store")
	_, _ = io.WriteString(w, found.KeyAuthorization)
	p.options.Log.Info().Str("name", host).Str("client", r.RemoteAddr).Msg("http-01 challenge: answered")
	return true
}

// hostOf returns the name of a Host header.
func hostOf(header string) (string, error) {
	host := header
	if strings.Contains(header, ":") {
		var err error
		if host, _, err = net.SplitHostPort(header); err != nil {
			return "", err
		}
	}
	return sni.Normalize(host)
}
