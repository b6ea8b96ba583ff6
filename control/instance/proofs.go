package instance

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync/atomic"
	"time"

	"hellogate/store/acme/challenge"
)

// ordering are the stores that order certificates. There are none when stores were let go of.
func (s *stores) ordering() (list []ordering) {
	if s == nil {
		return nil
	}
	for _, each := range s.list {
		if orders, ok := each.opened.Store.(orderer); ok {
			list = append(list, ordering{orders, each.settings.ACME.HTTP01})
		}
	}
	return list
}

// ordering is a store that orders certificates, as it is configured.
type ordering struct {
	orderer
	http01 string // where it is asked for proofs; empty: nowhere
}

// orderer is a store that orders certificates.
type orderer interface {
	Certificate(ctx context.Context, name string) (*tls.Certificate, error)
	HTTP01() http.Handler
}

// proofs are what the stores that are in use have for the certificate authorities.
type proofs struct{ in *atomic.Pointer[plane] }

// Certificate is the proof of one of them.
func (p proofs) Certificate(ctx context.Context, name string) (*tls.Certificate, error) {
	var failed error
	for _, orders := range p.in.Load().stores.ordering() {
		certificate, err := orders.Certificate(ctx, name)
		switch {
		case err == nil:
			return certificate, nil
		case !errors.Is(err, challenge.ErrNone):
			failed = cmp.Or(failed, err)
		}
	}
	return nil, failed
}

// makeProofs opens the listeners for HTTP-01 that are not open yet.
func (i *Instance) makeProofs(p *plane) error {
	for index, settings := range p.config.Stores {
		if settings.ACME == nil || settings.ACME.HTTP01 == "" {
			continue
		}
		opened, err := i.openProofs(p, settings.ACME.HTTP01)
		if err != nil {
			return describe(p.config, fmt.Sprintf("stores[%d].acme.http01", index), err)
		}
		p.proofs[settings.ACME.HTTP01] = opened
	}
	return nil
}

func (i *Instance) openProofs(p *plane, address string) (net.Listener, error) {
	if p.before != nil && p.before.proofs[address] != nil {
		return p.before.proofs[address], nil
	}
	if p.before == nil {
		if handed, ok := i.inherited("tcp", address); ok {
			return handed, nil
		}
	}
	return new(net.ListenConfig).Listen(context.Background(), "tcp", address)
}

// runProofs begins to answer on new listeners for HTTP-01, and ends that on those that went.
func (i *Instance) runProofs(next *plane) {
	for address, running := range i.proving {
		if next.proofs[address] == nil {
			running.stop()
			delete(i.proving, address)
		}
	}
	for address, listener := range next.proofs {
		if _, runs := i.proving[address]; !runs {
			i.proving[address] = run(i.life, func(ctx context.Context) { i.serveProofs(ctx, address, listener) })
		}
	}
}

// proofsFiles is how many connections a listener for HTTP-01 has open at most.
const proofsFiles = 1024

// proofsWait is how long those may take who are being answered when a listener for HTTP-01 goes.
const proofsWait = 2 * time.Second

// serveProofs answers until ctx is done, and closes the listener.
func (i *Instance) serveProofs(ctx context.Context, address string, listener net.Listener) {
	server := challenge.NewServer(i.proofsAt(address), i.options.Log)
	ended := context.AfterFunc(ctx, func() {
		limited, end := context.WithTimeout(context.Background(), proofsWait)
		defer end()
		_ = server.Shutdown(limited)
	})
	defer ended()
	if err := server.Serve(listener); err != nil {
		i.options.Log.Error().Str("address", address).Err(err).Msg("acme: listener for HTTP-01 failed")
	}
}

// proofsAt answers with what the store has that is configured to be asked at an address, whichever that is by then.
func (i *Instance) proofsAt(address string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		for _, orders := range i.plane.Load().stores.ordering() {
			if orders.http01 == address {
				orders.HTTP01().ServeHTTP(w, r)
				return
			}
		}
		http.NotFound(w, r)
	})
}
