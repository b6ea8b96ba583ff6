package control

import (
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"hellogate/cache"
	"hellogate/terminate"
)

// Explanation says what a client that asks for a name would get now, and why.
type Explanation struct {
	Name        string `json:"name"`
	Route       string `json:"route"`       // the pattern that matched; empty: none
	Action      string `json:"action"`      // terminate or reject; empty: no route
	Backend     string `json:"backend"`     // empty: none
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
	controller := patient(w)
	explanation := s.route(name, r.URL.Query()["alpn"])
	if explanation.Outcome == "" { // not refused for its route, before a certificate is looked for
		if fetch {
			s.fetch(r, &explanation)
		}
		s.certificate(&explanation)
	}
	deadline(controller)
	answer(w, http.StatusOK, explanation)
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
		explanation.Outcome = "refused: no route takes this name"
		return explanation
	}
	explanation.Route = pattern.String()
	explanation.Action = route.Action.String()
	explanation.add("route", "matches "+pattern.String())
	if route.Backend != nil {
		explanation.Backend = route.Backend.Name
	}
	if route.Action == terminate.Reject {
		explanation.Outcome = "refused: the route rejects it"
	}
	explanation.add("action", strings.TrimSpace(explanation.Action+" "+explanation.Backend))
	return explanation
}

func (e *Explanation) add(step, result string) {
	e.Steps = append(e.Steps, Step{Step: step, Result: result})
}

// certificate explains what the cache has for the name.
func (s *Server) certificate(explanation *Explanation) {
	for _, step := range s.options.Certificates.Explain(explanation.Name) {
		explanation.add(step.Step, step.Result)
	}
	info, held := s.options.Certificates.Show(explanation.Name)
	if held {
		cert := certOf(info, time.Now())
		explanation.Cached, explanation.Certificate = &cert, cert.Fingerprint
	}
	decisive := explanation.Steps[len(explanation.Steps)-1].Step
	s.fallback(explanation)
	explanation.Outcome = s.outcome(info, held, decisive)
}

func (s *Server) fallback(explanation *Explanation) {
	fallback := s.options.Fallback
	switch {
	case fallback.OnUnknown && fallback.OnFailure:
		explanation.add("fallback", "served to unknown names and on failures")
	case fallback.OnUnknown:
		explanation.add("fallback", "served to unknown names; a failure is refused with alert 80")
	case fallback.OnFailure:
		explanation.add("fallback", "served on failures; an unknown name is refused with alert 112")
	default:
		explanation.add("fallback", "none: an unknown name is refused with alert 112, a failure with 80")
	}
}

// outcome says in words what the cache's last step, which decides, comes to.
func (s *Server) outcome(info cache.Info, held bool, decisive string) string {
	fallback := s.options.Fallback
	switch {
	case held && info.AliasOf != "":
		return fmt.Sprintf("served the certificate of %s, and fetched for itself in the background", info.AliasOf)
	case held:
		return "served from the cache"
	case decisive == "remembered no" && fallback.OnUnknown, decisive == "remembered failure" && fallback.OnFailure:
		return "served the fallback certificate"
	case decisive == "remembered no":
		return "refused with alert 112 (unrecognized_name): the store does not know it"
	case decisive == "remembered failure":
		return "refused with alert 80 (internal_error): it could not be fetched"
	}
	return "a client would wait for the store"
}
