package control

import (
	"errors"
	"net/http"
	"strconv"
	"strings"

	"hellogate/terminate"
)

// Explanation says what a client that asks for a name would get now, and why.
type Explanation struct {
	Name        string `json:"name"`
	Route       string `json:"route"`       // the pattern that matched; empty: none
	Action      string `json:"action"`      // terminate or reject; empty: no route
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

// Fallback is what is served when a certificate can't be had.
type Fallback struct {
	OnUnknown, OnFailure bool
	Backend              string // empty: the route's
}

// getExplain explains a name. ?alpn= (repeated) are the protocols that the client offers; with ?fetch=true the
// name is really looked up first, as prefetch does.
func (s *Server) getExplain(w http.ResponseWriter, r *http.Request) {
	name, ok := pathName(w, r)
	if !ok {
		return
	}
	fetch, err := boolean(r, "fetch")
	if err == nil {
		err = parameters(r, "fetch", "alpn")
	}
	if err != nil {
		refuse(w, http.StatusBadRequest, err)
		return
	}
	explanation := s.route(name, r.URL.Query()["alpn"])
	w.Header().Set("Content-Type", "application/json")
	controller := patient(w)
	if explanation.Outcome == "" { // not refused for its route, before a certificate is looked for
		if fetch {
			controller.Flush() // the client knows that it is being answered, however long the fetch takes
			s.fetch(r, &explanation)
		}
		s.certificate(&explanation)
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

// route explains what the name and protocols match.
func (s *Server) route(name string, protocols []string) Explanation {
	explanation := Explanation{Name: name, Steps: []Step{}}
	route, pattern, ok := s.options.Traffic.Route(name, protocols)
	if !ok {
		explanation.add("route", "none matches")
		explanation.refuse(terminate.AlertUnrecognizedName, "no route takes this name")
		return explanation
	}
	explanation.Route = pattern.String()
	explanation.Action = route.Action.String()
	explanation.add("route", "matches "+pattern.String())
	if route.Backend != nil {
		explanation.Backend = route.Backend.Name
	}
	explanation.add("action", strings.TrimSpace(explanation.Action+" "+explanation.Backend))
	if reason, alert, refused := route.Refuses(protocols); refused {
		explanation.refuse(alert, refusal(reason, route, protocols))
	}
	return explanation
}

func (e *Explanation) add(step, result string) {
	e.Steps = append(e.Steps, Step{Step: step, Result: result})
}
