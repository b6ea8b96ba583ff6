package terminate

import (
	"os"
	"path/filepath"
)

// namespace is the name of the network namespace that connections come in at, as ip-netns(8) knows it; empty: it has none.
var namespace = findNamespace("/run/netns")

func findNamespace(folder string) string {
	own, err := os.Stat("/proc/self/ns/net")
	if err != nil {
		return ""
	}
	names, _ := os.ReadDir(folder) // where nobody named one, there is no folder
	for _, name := range names {
		if other, err := os.Stat(filepath.Join(folder, name.Name())); err == nil && os.SameFile(own, other) {
			return name.Name()
		}
	}
	return ""
}
