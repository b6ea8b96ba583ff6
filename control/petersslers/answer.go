package petersslers

import (
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/rs/zerolog"

	"hellogate/control/handover"
	"hellogate/sni"
)

// Where a peter_sslers server asks, unless it was configured to ask elsewhere.
const (
	statusPath       = "/.peter_sslers/nginx/shared_cache/status"
	expireAllPath    = "/.peter_sslers/nginx/shared_cache/expire/all"
	expireDomainPath = "/.peter_sslers/nginx/shared_cache/expire/domain/" // and the name
)

// maxNames is how many names a status lists.
const maxNames = 1024

// serverName tells the protocol and who speaks it.
const serverName = "peter_sslers:hellogate"

// expired is the answer to what expired something, and to what was refused, whatever it was.
type expired struct {
	Result  string `json:"result"`  // "success" or "error"
	Expired string `json:"expired"` // "all", "domain" or "None"
	Domain  string `json:"domain,omitempty"`
	Reason  string `json:"reason,omitempty"`
	sender
}

type sender struct {
	Server  string `json:"server"`
	Version string `json:"server_version"`
}

type status struct {
	Result string       `json:"result"` // "success"
	Note   string       `json:"note"`
	Keys   statusKeys   `json:"keys"`
	Config statusConfig `json:"config"`
	sender
}

type statusKeys struct {
	Valid    []string `json:"valid"`
	Invalid  []string `json:"invalid"`
	Autocert []string `json:"autocert"` // none: names that wait for a store are not told from others
}

// statusConfig has fields for caches that are not ours. Their lifetimes and sizes are 0: we have none that hold for all
// certificates.
type statusConfig struct {
	Expiries struct {
		CertCache int `json:"ngx.shared.cert_cache"` // seconds
		LRUCache  int `json:"resty.lrucache"`        // seconds
	} `json:"expiries"`
	MaxItems struct {
		LRUCache int `json:"resty.lrucache"`
	} `json:"maxitems"`
}

const note = "up to 1024 names that have a certificate (valid) or that a store does not know (invalid); " +
	"how long each is cached is up to its certificate and its store"

// ServeHTTP answers one request.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.handlers.Add(1)
	defer s.handlers.Done()
	if !s.login.admits(r) {
		s.unauthorized(w, r)
		return
	}
	if r.Method != http.MethodGet {
		w.Header().Set("Allow", http.MethodGet)
		s.refuse(w, http.StatusMethodNotAllowed, "only GET is answered")
		return
	}
	switch path := r.URL.EscapedPath(); path {
	case statusPath:
		s.answer(w, http.StatusOK, s.status())
	case expireAllPath:
		s.expireAll(w, r)
	default:
		s.expireDomain(w, r, path)
	}
}

func (s *Server) unauthorized(w http.ResponseWriter, r *http.Request) {
	if count, worth := s.refusals.add(); worth {
		s.options.Log.Warn().Str("peer", r.RemoteAddr).Uint64("refused", count).Msg("peter_sslers: wrong user name or password")
	}
	w.Header().Set("WWW-Authenticate", `Basic realm="hellogate", charset="UTF-8"`)
	s.refuse(w, http.StatusUnauthorized, "Unauthorized")
}

func (s *Server) expireAll(w http.ResponseWriter, r *http.Request) {
	flushed, pinned, err := s.options.Certificates.FlushAll()
	s.line(err).Str("peer", r.RemoteAddr).Bool("all", true).Int("flushed", len(flushed)).Int("pinned", len(pinned)).
		Msg("peter_sslers: expire")
	if err != nil {
		s.refuse(w, failure(err), err.Error())
		return
	}
	s.answer(w, http.StatusOK, expired{Result: "success", Expired: "all", sender: s.sender()})
}

// expireDomain flushes the name at the end of path. One that is not cached is a success, as it is with theirs.
func (s *Server) expireDomain(w http.ResponseWriter, r *http.Request, path string) {
	text, found := strings.CutPrefix(path, expireDomainPath)
	if !found || text == "" || strings.ContainsFunc(text, isNotOfName) {
		s.refuse(w, http.StatusNotFound, "Unknown URI")
		return
	}
	name, err := sni.Parse(text)
	if err != nil {
		s.refuse(w, http.StatusBadRequest, err.Error())
		return
	}
	flushed, pinned, err := s.options.Certificates.Flush(name)
	s.line(err).Str("peer", r.RemoteAddr).Str("name", name).Int("flushed", len(flushed)).Int("pinned", len(pinned)).
		Msg("peter_sslers: expire")
	if err != nil {
		s.refuse(w, failure(err), err.Error())
		return
	}
	s.answer(w, http.StatusOK, expired{Result: "success", Expired: "domain", Domain: name, sender: s.sender()})
}

// failure is the status of a flush that failed. Later it may not.
func failure(err error) int {
	if errors.Is(err, handover.ErrBusy) {
		return http.StatusServiceUnavailable
	}
	return http.StatusInternalServerError
}

// line begins the line of the log on a flush.
func (s *Server) line(err error) *zerolog.Event {
	if err != nil {
		return s.options.Log.Error().AnErr("reason", err)
	}
	return s.options.Log.Info()
}

// isNotOfName tells a URI with something else at its end from one with a name that is none.
func isNotOfName(c rune) bool {
	return (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '-' && c != '.' && c != '_'
}

func (s *Server) status() status {
	valid := []string{}
	for _, info := range s.options.Certificates.Sample(maxNames) {
		valid = append(valid, info.Name)
	}
	valid = slices.Compact(valid)
	invalid := append([]string{}, s.options.Certificates.Unknown(maxNames-len(valid))...)
	return status{
		Result: "success",
		Note:   note,
		Keys:   statusKeys{Valid: valid, Invalid: invalid, Autocert: []string{}},
		sender: s.sender(),
	}
}

func (s *Server) sender() sender { return sender{Server: serverName, Version: s.options.Version} }

func (s *Server) refuse(w http.ResponseWriter, code int, reason string) {
	s.answer(w, code, expired{Result: "error", Expired: "None", Reason: reason, sender: s.sender()})
}

// answer can't fail but for the connection, and then there is nobody left to tell.
func (s *Server) answer(w http.ResponseWriter, code int, value any) {
	body, err := json.Marshal(value)
	if err != nil {
		w.WriteHeader(http.StatusInternalServerError)
		return
	}
	header := w.Header()
	header.Set("Content-Type", "application/json")
	header.Set("Content-Length", strconv.Itoa(len(body)+1))
	header.Set("Cache-Control", "no-store")
	header.Set("x-peter-sslers", s.options.Version)
	w.WriteHeader(code)
	_, _ = w.Write(append(body, '\n'))
}
