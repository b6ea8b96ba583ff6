// Package store says what a certificate store is asked and what it may answer, and holds the store that needs nothing but
// the network, HTTP; the others are packages below it.
//
// The rule it guards: what comes out of a store is a bundle, a no or a failure, told apart once and here. A failure is
// never taken for a no, everything that is read is bounded in size and time, and no pair is used that Check refused.
package store

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"hellogate/sni"
)

// ErrUnknown is a store's no: it was asked, it answered, and it does not know the name. Errors of Fetch wrap it.
var ErrUnknown = errors.New("unknown name")

// ErrToken is wrapped by the failure of a store that refused our token (401, 403): every other name fails alike until
// somebody mends the configuration.
var ErrToken = errors.New("the store refused our token or password")

// MaxRetryAfter is the longest pause that a store may ask for.
const MaxRetryAfter = time.Minute

// A Store gives the bundle of a name. Implementations are safe for concurrent use.
type Store interface {
	// Fetch returns the bundle for request.Name. An error that wraps ErrUnknown is a no, any other error is a failure;
	// a *Failure in its chain says more. Fetch bounds itself by the store's own timeout besides ctx. The bundle has been
	// decoded but not checked: see Check.
	Fetch(ctx context.Context, request Request) (*Bundle, error)
}

// Request is what a store is asked. Only Name is needed.
type Request struct {
	// Name is the host name, as sni.Normalize accepted it.
	Name string
	// SignatureSchemes and CipherSuites are those of the client whose hello began the fetch, in its order. They are nil
	// for a fetch that no client began.
	SignatureSchemes []tls.SignatureScheme
	CipherSuites     []uint16
	// LocalAddr is the address that client connected to; the zero Addr is not sent.
	LocalAddr netip.Addr
	// WithoutECDSA: the certificate is for clients that can't use an ECDSA one. Of a fetch that no client began, it says
	// which clients a store whose answers depend on the client is to be asked for.
	WithoutECDSA bool
	// Validator is that of the bundle already held; zero asks unconditionally.
	Validator Validator
	// From is the Bundle.Store of the bundle that Validator is of. A store with another name does not send it.
	From string
}

// A Watcher is a Store that can tell by itself what has changed in it.
type Watcher interface {
	Store
	// Watch calls changed until ctx is done, from one goroutine at a time, and then returns. What changes before it returns
	// from its first call to changed, which it makes as soon as changes can be seen, may have been missed: that first one is
	// a Change of All.
	Watch(ctx context.Context, changed func(Change))
}

// Change is what a Watcher tells. A bundle that Fetch is asked for after it is at least as new as the change.
type Change struct {
	// Store is the name of the store that it is of, as in Bundle.Store, where several are watched as one; "" is the only one.
	Store string
	// Names that may have another bundle now, or none, or one for the first time.
	Names []sni.Pattern
	// All: any name may. Names is empty.
	All bool
	// Lost: changes can't be seen for the time being. What came from the store does not count as fresh until the Change of
	// All that follows when they can be again. Names is empty.
	Lost bool
}

// A Writer is a Store that can be written to.
type Writer interface {
	Store
	// Put stores pairs under name, in place of what is there; as a whole or not at all.
	Put(ctx context.Context, name string, pairs []Pair) error
}

// Failure is an error of Fetch that is not a no. Its text is that of Err.
type Failure struct {
	Err error
	// RetryAfter is how long the store asked to be left alone about this name, at most MaxRetryAfter; 0: it did not say.
	RetryAfter time.Duration
	// Exempt failures say nothing about the store's health and count for no breaker.
	Exempt bool
	// Unreachable: no connection could be made at all, whatever the name.
	Unreachable bool
	// CutOff: a breaker was open and nothing was asked.
	CutOff bool
}

func (f *Failure) Error() string { return f.Err.Error() }

// Unwrap returns Err.
func (f *Failure) Unwrap() error { return f.Err }

// checkName refuses what sni.Normalize would not have returned. Names are normalised long before they come here; this
// is the last look before one becomes part of a URL or of a file's name.
func checkName(name string) error {
	normal, err := sni.Normalize(name)
	if err != nil {
		return err
	}
	if normal != name {
		return fmt.Errorf("name %q is not normalised", name)
	}
	return nil
}
