package cache

import (
	"strings"
	"unsafe"
)

// A wildcard is an alias that answers for names that nobody has asked the store for: its key is the SAN, *.example.com.

// findWildcard returns what is held for the wildcard that covers a name.
func (c *Cache) findWildcard(name string, now moment) (*ready, uint64) {
	dot := strings.IndexByte(name, '.')
	if dot < 0 {
		return nil, 0
	}
	// A hit allocates nothing, so the key is made on the stack. No name is longer than 253 bytes.
	var buffer [256]byte
	key := append(append(buffer[:0], '*'), name[dot:]...)
	return c.find(unsafe.String(&key[0], len(key)), now)
}

// wildcardOf is the wildcard that covers a name, or "" when none can.
func wildcardOf(name string) string {
	_, parent, below := strings.Cut(name, ".")
	if !below {
		return ""
	}
	return "*." + parent
}

func isWildcard(key string) bool { return strings.HasPrefix(key, "*") }
