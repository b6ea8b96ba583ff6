package config

// laterKeys are settings of hellogate that this version does not have yet, by
// their path with [] for every index and * for every backend. They get a
// message of their own: whoever wrote one made no typing mistake.
var laterKeys = keySet(
	"listeners[].starttls",
	"stores[].acme",
)

const notInThisVersion = "is not supported by this version"

func keySet(keys ...string) map[string]bool {
	set := make(map[string]bool, len(keys))
	for _, key := range keys {
		set[key] = true
	}
	return set
}
