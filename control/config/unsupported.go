package config

import "slices"

// laterKeys are settings of hellogate that this version does not have yet, by
// their path with [] for every index and * for every backend. They get a
// message of their own: whoever wrote one made no typing mistake.
var laterKeys = keySet(
	"listeners[].accept_proxy", "listeners[].starttls",
	"limits.connections_per_ip",
	"tls.client_auth", "routes[].tls.client_auth",
	"stores[].acme",
	"backends.*.servers[].weight", "backends.*.servers[].backup", "backends.*.servers[].max_connections",
	"backends.*.health", "backends.*.tls",
	"routes[].match.client_ips", "routes[].match.listeners", "routes[].match.names_regex",
	"routes[].limits", "routes[].session_tickets",
	"admin",
)

// laterValues are the same for values, by the path of their setting.
var laterValues = map[string][]string{
	"backends.*.balance": {"least_connections", "random_two", "source_hash", "name_hash"},
	"routes[].action":    {"passthrough"},
}

const notInThisVersion = "is not supported by this version"

func isLaterValue(schema, text string) bool {
	return slices.Contains(laterValues[schema], text)
}

func keySet(keys ...string) map[string]bool {
	set := make(map[string]bool, len(keys))
	for _, key := range keys {
		set[key] = true
	}
	return set
}
