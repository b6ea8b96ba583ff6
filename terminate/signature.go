package terminate

import (
	"crypto"
	"io"
	"runtime"
)

// signing holds a permit for each signature under way. A signature is where a handshake spends its CPU, an RSA one a
// millisecond of it: with as many at once as there are processors, a flood of handshakes queues here and the connections
// that are already open get their turn. A permit is held while computing, never while waiting.
var signing = make(chan struct{}, runtime.GOMAXPROCS(0))

// LimitSignatures returns key with its signatures bounded, all keys together, to one a processor at a time.
func LimitSignatures(key crypto.Signer) crypto.Signer { return limitedSigner{key} }

type limitedSigner struct{ crypto.Signer }

func (s limitedSigner) Sign(random io.Reader, digest []byte, options crypto.SignerOpts) ([]byte, error) {
	signing <- struct{}{}
	defer func() { <-signing }()
	return s.Signer.Sign(random, digest, options)
}
