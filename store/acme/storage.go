package acme

import (
	"context"
	"strings"
)

// Storage is where accounts, certificates and the state of names are kept. Several processes and machines may share it.
// Keys are paths with slashes.
type Storage interface {
	// Load returns the content of a key; for one that isn't there the error wraps fs.ErrNotExist.
	Load(ctx context.Context, key string) ([]byte, error)
	// Save gives a key a content, as a whole or not at all.
	Save(ctx context.Context, key string, content []byte) error
	// Remove takes a key away; one that isn't there is no error.
	Remove(ctx context.Context, key string) error
	// List returns the keys below prefix, whole.
	List(ctx context.Context, prefix string) ([]string, error)
	// Writable says what would keep an order's result from being saved.
	Writable(ctx context.Context) error
	// Lock waits for a lock that one process has at a time. held is a child of ctx, and is done when the lock is lost, before
	// anybody else can have it. release must be called.
	Lock(ctx context.Context, name string) (held context.Context, release func(), err error)
	// Watch calls changed with the keys below prefix that anybody saved or removed, until ctx is done. Its first call has
	// none, and says that changes are seen from then on.
	Watch(ctx context.Context, prefix string, changed func(keys []string))
}

const (
	certificates = "certificates"
	accounts     = "accounts"
	jobFile      = "job.json"
	pemSuffix    = ".pem"
)

func jobKey(name string) string { return certificates + "/" + name + "/" + jobFile }

func pemKey(name, keyType string) string {
	return certificates + "/" + name + "/" + keyType + pemSuffix
}

// nameOf is the name that a key of the storage belongs to.
func nameOf(key string) (string, bool) {
	rest, ok := strings.CutPrefix(key, certificates+"/")
	if !ok {
		return "", false
	}
	name, _, ok := strings.Cut(rest, "/")
	return name, ok && isOrderable(name)
}
