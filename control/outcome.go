package control

import (
	"context"
	"crypto/tls"
	"fmt"
	"slices"
	"strings"
	"time"

	"hellogate/cache"
	"hellogate/terminate"
)

// refusal says in words why a route refuses a client that offers protocols.
func refusal(reason terminate.Reason, route *terminate.Route, protocols []string) string {
	switch {
	case reason == terminate.ReasonRejected:
		return "the route rejects it"
	case slices.Equal(protocols, []string{terminate.ACMEProtocol}):
		return terminate.ACMEProtocol + " alone is a certificate authority's validation, which goes to no backend"
	case reason == terminate.ReasonNoALPN:
		return "the route takes no protocol but " + strings.Join(route.ALPN, ", ")
	}
	return string(reason)
}

// refuse settles that the client gets an alert, and no backend gets the client.
func (e *Explanation) refuse(alert uint8, why string) {
	name := strings.ReplaceAll(strings.TrimPrefix(tls.AlertError(alert).Error(), "tls: "), " ", "_")
	e.Backend, e.Outcome = "", fmt.Sprintf("refused with alert %d (%s): %s", alert, name, why)
}

// certificate explains what the cache has for the name.
func (s *Server) certificate(ctx context.Context, explanation *Explanation) {
	for _, step := range s.options.Certificates.Explain(explanation.Name) {
		explanation.add(step.Step, step.Result)
	}
	info, held := s.options.Certificates.Show(explanation.Name)
	if held {
		cert := certOf(info, time.Now())
		explanation.Cached, explanation.Certificate = &cert, cert.Fingerprint
	}
	last := s.reach(explanation)
	s.ordered(ctx, explanation)
	s.fallback(explanation)
	switch {
	case held:
		explanation.Outcome = served(info)
		s.routed(explanation, info.Routing)
	case last == "look-ups":
		s.without(explanation, s.fallbackPlan().OnFailure, terminate.AlertInternalError, "too many unknown names are asked for")
	case last == "permission":
		s.without(explanation, s.fallbackPlan().OnUnknown, terminate.AlertUnrecognizedName, "permission for it is denied")
	case last == "remembered no":
		s.without(explanation, s.fallbackPlan().OnUnknown, terminate.AlertUnrecognizedName, "no store knows it")
	case last == "remembered failure":
		s.without(explanation, s.fallbackPlan().OnFailure, terminate.AlertInternalError, "it could not be fetched")
	case last == noPermission:
		s.without(explanation, s.fallbackPlan().OnFailure, terminate.AlertInternalError, "permission kept failing and is not asked for")
	case last == noStore:
		s.without(explanation, s.fallbackPlan().OnUnknown, terminate.AlertUnrecognizedName, "no store is asked for this name")
	case last == storesOff:
		s.without(explanation, s.fallbackPlan().OnFailure, terminate.AlertInternalError, storesOff)
	default:
		explanation.Outcome = "a client would wait for the store"
	}
}

// routed explains where the store wants connections to go; nil: it does not say.
func (s *Server) routed(explanation *Explanation, by *cache.Routing) {
	switch {
	case by == nil:
	case by.Backend == "":
		explanation.add("servers", fmt.Sprintf("%s, which the answer of %s names: dialled as %s where that store's allow has their addresses",
			strings.Join(by.Servers, " "), by.Store, explanation.Backend))
	case !s.hasBackend(by.Backend):
		explanation.refuse(terminate.AlertInternalError, fmt.Sprintf("the answer of %s names backend %s, which is not configured", by.Store, by.Backend))
	default:
		explanation.Backend = by.Backend
		explanation.add("backend", fmt.Sprintf("%s, which the answer of %s names", by.Backend, by.Store))
	}
}

func (s *Server) hasBackend(name string) bool {
	return s.options.Traffic.Plan().Backends[name] != nil
}

func served(info cache.Info) string {
	if strings.HasPrefix(info.Name, "*") {
		return fmt.Sprintf("served the certificate of %s, for its wildcard %s", info.AliasOf, info.Name)
	}
	if info.AliasOf != "" {
		return fmt.Sprintf("served the certificate of %s, and fetched for itself in the background", info.AliasOf)
	}
	return "served from the cache"
}

func (s *Server) fallback(explanation *Explanation) {
	fallback := s.fallbackPlan()
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

// without settles what a client gets for whose name there is no certificate: the fallback, if it is served on such an
// occasion, else an alert.
func (s *Server) without(explanation *Explanation, fallback bool, alert uint8, why string) {
	if !fallback {
		explanation.refuse(alert, why)
		return
	}
	explanation.Outcome = "served the fallback certificate: " + why
	if backend := s.fallbackPlan().Backend; backend != nil {
		own := backend.Name
		explanation.Backend = own
		explanation.add("backend", own+", which the fallback names")
	}
}

// fallbackPlan is what the fallback is served for; nothing, where there is none.
func (s *Server) fallbackPlan() terminate.Fallback {
	if fallback := s.options.Traffic.Plan().Fallback; fallback != nil {
		return *fallback
	}
	return terminate.Fallback{}
}
