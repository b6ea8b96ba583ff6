package chain

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"time"

	"hellogate/store"
)

// walk is one request on its way along the chain.
type walk struct {
	request  store.Request
	alone    bool // the chain has one link
	noes     []no
	failures []failure
	stopgap  bool    // a store that comes first could not be asked
	lacking  []*link // that are to get what a later store answers
	spare    *spare  // nil: none
}

type no struct {
	link *link
	err  error
}

type failure struct {
	link *link
	err  error
}

// spare is a copy that is near its end: what is returned unless a later store has one that lasts longer.
type spare struct {
	bundle   *store.Bundle
	notAfter time.Time
}

// along asks one store after the other until one ends the walk.
func (w *walk) along(ctx context.Context, links []*link) (*store.Bundle, error) {
	for i, next := range links {
		if i > 0 && ctx.Err() != nil {
			w.fail(next, fmt.Errorf("store %s: not asked: %w", next.Name, ctx.Err()))
			break
		}
		if bundle := w.ask(ctx, next, i == len(links)-1); bundle != nil {
			return bundle, nil
		}
	}
	return w.end()
}

// ask asks a store and returns the bundle that the walk ends with, nil when it goes on.
func (w *walk) ask(ctx context.Context, asked *link, last bool) *store.Bundle {
	request := w.requestFor(asked, last)
	got, err := asked.fetch(ctx, request)
	switch {
	case errors.Is(err, store.ErrUnknown):
		w.noes = append(w.noes, no{asked, err})
		w.lacks(asked)
		return nil
	case err != nil:
		w.fail(asked, err)
		return nil
	}
	bundle := *got
	bundle.Store = asked.Name
	bundle.Stopgap = bundle.Stopgap || w.stopgap
	switch {
	case !bundle.NotModified:
		return w.weigh(asked, &bundle, last)
	case request.Validator.IsZero():
		w.fail(asked, fmt.Errorf("store %s: get %q: not modified, but it was not told what is held", asked.Name, request.Name))
		return nil
	}
	return &bundle
}

// requestFor is what a store is asked. One that is written to is asked for the pairs themselves: whether its copy is near
// its end can be seen by nothing else.
func (w *walk) requestFor(asked *link, last bool) store.Request {
	request := w.request
	mine := request.From == asked.Name || request.From == "" && w.alone
	if !mine || asked.writer != nil && !last {
		request.Validator, request.From = store.Validator{}, ""
	}
	return request
}

// weigh returns a bundle unless there is, or may be, a better one.
func (w *walk) weigh(asked *link, bundle *store.Bundle, last bool) *store.Bundle {
	if last && w.spare == nil {
		return bundle
	}
	now := time.Now()
	good, err := accepted(bundle.Pairs, w.request.Name, now)
	if err != nil {
		w.refuse(asked, bundle, err, now)
		return nil
	}
	first := firstToEnd(good)
	switch {
	case w.spare != nil && !first.NotAfter.After(w.spare.notAfter):
		w.lacking = nil
		return w.spare.bundle
	case w.spare == nil && asked.writer != nil && !last && due(first, now):
		w.spare = &spare{bundle, first.NotAfter}
		w.lacks(asked)
		return nil
	}
	return bundle
}

// refuse takes in a bundle that can't be used.
func (w *walk) refuse(asked *link, bundle *store.Bundle, err error, now time.Time) {
	err = &store.Failure{Err: fmt.Errorf("store %s: %w", asked.Name, err), Exempt: true}
	if !expired(bundle.Pairs, now) {
		w.fail(asked, err)
		return
	}
	w.failures = append(w.failures, failure{asked, err})
	w.lacks(asked)
}

func (w *walk) fail(asked *link, err error) {
	w.failures = append(w.failures, failure{asked, err})
	w.stopgap = true
}

func (w *walk) lacks(asked *link) {
	if asked.writer != nil {
		w.lacking = append(w.lacking, asked)
	}
}

// accepted returns what of pairs may be served for name, or why the first may not.
func accepted(pairs []store.Pair, name string, now time.Time) ([]store.Checked, error) {
	good := make([]store.Checked, 0, len(pairs))
	var refused error
	for _, pair := range pairs {
		checked, err := store.Check(pair, name, now)
		if err == nil {
			good = append(good, checked)
		} else if refused == nil {
			refused = err
		}
	}
	switch {
	case len(good) > 0:
		return good, nil
	case refused == nil:
		refused = fmt.Errorf("an answer for %q without a certificate", name)
	}
	return nil, refused
}

func firstToEnd(good []store.Checked) store.Leaf {
	first := good[0].Leaf
	for _, checked := range good[1:] {
		if checked.Leaf.NotAfter.Before(first.NotAfter) {
			first = checked.Leaf
		}
	}
	return first
}

// due reports whether a certificate is to be renewed by now.
func due(leaf store.Leaf, now time.Time) bool {
	const week = 7 * 24 * time.Hour
	return leaf.NotAfter.Sub(now) < min(week, leaf.NotAfter.Sub(leaf.NotBefore)/3)
}

// expired reports whether all that is wrong with pairs may be their age.
func expired(pairs []store.Pair, now time.Time) bool {
	for _, pair := range pairs {
		if len(pair.Chain) == 0 {
			return false
		}
		leaf, err := x509.ParseCertificate(pair.Chain[0])
		if err != nil || !now.After(leaf.NotAfter) {
			return false
		}
	}
	return len(pairs) > 0
}
