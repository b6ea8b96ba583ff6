package control

import (
	"cmp"
	"errors"
	"net/http"
	"strconv"
	"strings"

	"hellogate/sni"
)

// Explanation says what a client that asks for a name would get now, and why.
type Explanation struct {
	Name        string `json:"name"`
	Route       string `json:"route"`       // the pattern that matched; empty: none
	Action      string `json:"action"`      // terminate, passthrough or reject; empty: no route
	Backend     string `json:"backend"`     // the fallback's own where that is served; empty: refused
	Certificate string `json:"certificate"` // SHA-256 fingerprint of the one in the cache; empty: none
	Cached      *Cert  `json:"cached"`      // that certificate
	Outcome     string `json:"outcome"`     // in words
	Steps       []Step `json:"steps"`
}

// Step is one thing that was looked at and what came of it.
type Step struct {
	Step   string `json:"step"`
	Result string `json:"result"`
}

// getExplain explains a name. ?alpn= (repeated) are the protocols that the client offers, ?client= is its address and
// ?listener= where it comes in; with ?fetch=true the name is really looked up first, as prefetch does, where that may be.
func (s *Server) getExplain(fetches bool) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		name, ok := pathName(w, r)
		if !ok {
			return
		}
		query, err := s.clientQuery(r, name)
		fetch, invalid := boolean(r, "fetch")
		if err = cmp.Or(err, invalid); err != nil {
			refuse(w, http.StatusBadRequest, err)
			return
		}
		if fetch && !fetches {
			refuse(w, http.StatusForbidden, errors.New("read-only: what has a store asked goes to the control socket"))
			return
		}
		s.explain(w, r, query, fetch)
	}
}

// clientQuery is what a request says of a client.
func (s *Server) clientQuery(r *http.Request, name string) (query sni.Query, err error) {
	values := r.URL.Query()
	query, err = ClientQuery(name, values["alpn"], values.Get("client"), values.Get("listener"))
	if err == nil {
		err = parameters(r, "fetch", "alpn", "client", "listener")
	}
	if err == nil {
		err = knownListener(s.options.Traffic.Plan().Listeners, query.Listener)
	}
	return query, err
}

func (s *Server) explain(w http.ResponseWriter, r *http.Request, query sni.Query, fetch bool) {
	plan := s.options.Traffic.Plan()
	explanation := explainRoute(plan.Routes, query)
	explanation.addListener(plan.Listeners, query.Listener)
	w.Header().Set("Content-Type", "application/json")
	controller := patient(w)
	if explanation.Outcome == "" { // not settled by its route, before a certificate is looked for
		if fetch {
			controller.Flush() // the client knows that it is being answered, however long the fetch takes
			s.fetch(r, &explanation)
		}
		s.certificate(r.Context(), &explanation)
	}
	deadline(controller)
	encode(w, explanation)
}

func (s *Server) fetch(r *http.Request, explanation *Explanation) {
	by(r, s.options.Log.Info()).Str("name", explanation.Name).Msg("control: explain with a fetch")
	result, reason := s.options.Certificates.Prefetch(r.Context(), explanation.Name)
	explanation.add("fetch", strings.TrimSuffix(result+": "+reason, ": "))
}

func boolean(r *http.Request, key string) (bool, error) {
	text := r.URL.Query().Get(key)
	if text == "" {
		return false, nil
	}
	value, err := strconv.ParseBool(text)
	if err != nil {
		return false, errors.New(key + " is true or false")
	}
	return value, nil
}

func (e *Explanation) add(step, result string) {
	e.Steps = append(e.Steps, Step{Step: step, Result: result})
}
