package folder

import (
	"os"
	"strings"
	"sync"
)

// boot names the running system, each start of it anew. Containers on it have the same.
var boot = sync.OnceValue(func() string {
	text, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(text))
})
