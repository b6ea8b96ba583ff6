// Package store says what a certificate store is asked and what it may answer, and holds the stores that need nothing
// but the network or the disk: HTTP and Dir.
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
var ErrToken = errors.New("the store refused our token")

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
	// Validator is that of the bundle already held; zero asks unconditionally.
	Validator Validator
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
