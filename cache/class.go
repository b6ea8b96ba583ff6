package cache

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"strings"
	"sync"
)

// A name may have two entries: the one under the name itself, and one for clients that can't use ECDSA certificates, when
// a store chose its answer for the client. What is remembered of a name, and what is being fetched, is told apart alike.

// withoutECDSA ends the key of what is for clients that can't use ECDSA. No name holds a slash.
const withoutECDSA = "/rsa"

// keyOf is the key of a name, for clients that can't use ECDSA or for the others.
func keyOf(name string, legacy bool) string {
	if legacy {
		return name + withoutECDSA
	}
	return name
}

// hostOf is the name that a key is of.
func hostOf(key string) string { return strings.TrimSuffix(key, withoutECDSA) }

func isLegacy(key string) bool { return strings.HasSuffix(key, withoutECDSA) }

// legacy reports whether a client can't use an ECDSA certificate, decided as crypto/tls does: by the versions, the groups
// and the cipher suites that it offers besides its signature schemes. A TLS 1.3 client names no ECDSA cipher suite.
func (q Query) legacy() bool { return q.Hello != nil && !supports(q.Hello, anyECDSA()) }

// anyECDSA is a certificate of the kind that modern clients can use; crypto/tls looks at nothing of it but its key.
var anyECDSA = sync.OnceValue(func() *tls.Certificate {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil { // crypto/rand does not fail, nor then does this
		panic(err)
	}
	return &tls.Certificate{PrivateKey: key}
})
