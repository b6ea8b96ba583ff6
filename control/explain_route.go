package control

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"hellogate/control/config"
	"hellogate/sni"
	"hellogate/terminate"
)

// ClientQuery is what routes are asked for a client: a name that [sni.Parse] accepted, the protocols that it offers, and, where
// they are not empty, its address and the listener that it comes in at.
func ClientQuery(name string, protocols []string, client, listener string) (sni.Query, error) {
	query := sni.Query{Name: name, Protocols: protocols, Listener: listener}
	if client == "" {
		return query, nil
	}
	address, err := netip.ParseAddr(client)
	if err != nil {
		return query, fmt.Errorf("client %s: an IP address expected", quote(client))
	}
	query.Client = address.Unmap().WithZone("")
	return query, nil
}

// knownListener refuses a name that no listener has; empty is no name.
func knownListener(listeners []terminate.Listener, name string) error {
	names := make([]string, len(listeners))
	for i, listener := range listeners {
		names[i] = listener.Name
	}
	if name == "" || slices.Contains(names, name) {
		return nil
	}
	return fmt.Errorf("listener %s: there is none of that name, but %s", quote(name), strings.Join(names, ", "))
}

// ExplainConfig says which route of a configuration a client takes, and why, without anything that runs. Its error says that
// the client can't be one of the configuration's.
func ExplainConfig(loaded *config.Config, query sni.Query) (Explanation, error) {
	listeners := make([]terminate.Listener, len(loaded.Listeners))
	for i, listener := range loaded.Listeners {
		listeners[i].Name = listener.Name
		listeners[i].StartTLS, _ = terminate.ParseStartTLS(string(listener.StartTLS)) // which was read as one
	}
	if err := knownListener(listeners, query.Listener); err != nil {
		return Explanation{}, err
	}
	rules := make([]sni.Rule[*terminate.Route], len(loaded.Routes))
	for i, route := range loaded.Routes {
		rules[i] = config.RuleFor(route.Match, outline(route))
	}
	table, err := sni.NewTable(rules)
	if err != nil {
		return Explanation{}, err
	}
	explanation := explainRoute(table, query)
	explanation.addListener(listeners, query.Listener)
	switch {
	case explanation.Outcome != "":
	case explanation.Action == terminate.Terminate.String():
		explanation.Outcome = fmt.Sprintf("TLS is terminated, and backend %s gets the plaintext", explanation.Backend)
	}
	return explanation, nil
}

// outline is of a route what says whom it refuses.
func outline(route config.Route) *terminate.Route {
	made := &terminate.Route{ALPN: route.TLS.ALPN, MinVersion: uint16(route.TLS.MinVersion)}
	for _, action := range []terminate.Action{terminate.Terminate, terminate.Passthrough, terminate.Reject} {
		if action.String() == string(route.Action) {
			made.Action = action
		}
	}
	if route.Backend != "" {
		made.Backend = &terminate.Backend{Name: route.Backend}
	}
	return made
}

// missedShown is how many routes are said not to match before they are only counted.
const missedShown = 20

// explainRoute explains what a client matches. Its Outcome is empty where it takes a certificate to know it.
func explainRoute(routes *sni.Table[*terminate.Route], query sni.Query) Explanation {
	explanation := Explanation{Name: query.Name, Steps: []Step{}}
	trace := routes.Trace(query)
	explanation.addMissed(trace, query)
	route, pattern, ok := routes.Find(query)
	if !ok {
		explanation.add("route", "none matches")
		explanation.refuse(terminate.AlertUnrecognizedName, "no route takes this name")
		return explanation
	}
	explanation.Route, explanation.Action = pattern.String(), route.Action.String()
	explanation.add("route", fmt.Sprintf("matches %s, of routes[%d]", pattern, trace[len(trace)-1].Rule))
	if route.Backend != nil {
		explanation.Backend = route.Backend.Name
	}
	explanation.add("action", strings.TrimSpace(explanation.Action+" "+explanation.Backend))
	if reason, alert, refused := route.Refuses(query.Protocols); refused {
		explanation.refuse(alert, refusal(reason, route, query.Protocols))
	} else if route.Action == terminate.Passthrough {
		explanation.Outcome = fmt.Sprintf("passed through as it is: backend %s answers the hello with a certificate of its own", explanation.Backend)
	}
	return explanation
}

// addListener says first what clients of a listener speak before their TLS, if anything. No name is that of none.
func (e *Explanation) addListener(listeners []terminate.Listener, name string) {
	for _, listener := range listeners {
		if speaks := listener.StartTLS.String(); speaks != "" && listener.Name == name {
			step := Step{"listener", fmt.Sprintf("%s, where clients ask for TLS first (starttls: %s)", name, speaks)}
			e.Steps = slices.Insert(e.Steps, 0, step)
		}
	}
}

// addMissed adds the routes that have the name, or might, and do not match.
func (e *Explanation) addMissed(trace []sni.Step, query sni.Query) {
	count := 0
	for _, step := range trace {
		if len(step.Missed) == 0 {
			continue
		}
		if count++; count <= missedShown {
			e.add("route", fmt.Sprintf("%s, of routes[%d], does not match: %s", step.Pattern, step.Rule, missed(step.Missed, query)))
		}
	}
	if count > missedShown {
		e.add("route", fmt.Sprintf("and %d more do not match", count-missedShown))
	}
}

// missed says which conditions of a route a client does not meet.
func missed(conditions []sni.Condition, query sni.Query) string {
	words := make([]string, len(conditions))
	for i, condition := range conditions {
		words[i] = unmet(condition, query)
	}
	return strings.Join(words, "; ")
}

func unmet(condition sni.Condition, query sni.Query) string {
	switch {
	case condition == sni.ConditionName:
		return "the expression does not match the name"
	case condition == sni.ConditionALPN && len(query.Protocols) == 0:
		return "the client offers no protocol, and it asks for some (alpn)"
	case condition == sni.ConditionALPN:
		return "the client offers none of its protocols (alpn)"
	case condition == sni.ConditionClient && !query.Client.IsValid():
		return "it asks for client addresses (client_ips), and none was given"
	case condition == sni.ConditionClient:
		return fmt.Sprintf("%s is not among its client addresses (client_ips)", query.Client)
	case condition == sni.ConditionListener && query.Listener == "":
		return "it asks for listeners, and none was given"
	case condition == sni.ConditionListener:
		return query.Listener + " is not among its listeners"
	}
	return string(condition)
}
