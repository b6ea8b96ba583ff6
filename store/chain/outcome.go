package chain

import (
	"errors"
	"fmt"
	"strings"

	"hellogate/store"
)

// end is what a walk comes to that no store ended.
func (w *walk) end() (*store.Bundle, error) {
	switch {
	case w.spare != nil:
		w.lacking = nil
		return w.spare.bundle, nil
	case len(w.failures) == 0 && len(w.noes) == 1:
		return nil, w.noes[0].err
	case len(w.failures) == 0:
		return nil, fmt.Errorf("stores %s: get %q: %w", w.unknowing(), w.request.Name, store.ErrUnknown)
	case len(w.failures) == 1 && len(w.noes) == 0:
		return nil, w.failures[0].err
	}
	return nil, w.failure()
}

// unknowing lists the stores that said no.
func (w *walk) unknowing() string {
	names := make([]string, len(w.noes))
	for i, each := range w.noes {
		names[i] = each.link.Name
	}
	return strings.Join(names, ", ")
}

// failure makes one of all failures.
func (w *walk) failure() *store.Failure {
	all := &store.Failure{Err: w.combined(), Exempt: true, Unreachable: true, CutOff: true}
	for _, each := range w.failures {
		one, ok := errors.AsType[*store.Failure](each.err)
		if !ok {
			one = new(store.Failure)
		}
		all.RetryAfter = max(all.RetryAfter, one.RetryAfter)
		all.Exempt = all.Exempt && one.Exempt
		all.Unreachable = all.Unreachable && one.Unreachable
		all.CutOff = all.CutOff && one.CutOff
	}
	return all
}

// combined is the errors of several stores as one. It wraps failures, and never a no.
type combined struct {
	text string
	errs []error
}

func (c *combined) Error() string   { return c.text }
func (c *combined) Unwrap() []error { return c.errs }

func (w *walk) combined() *combined {
	all := new(combined)
	var others []string
	for i, each := range w.failures {
		all.errs = append(all.errs, each.err)
		if i > 0 {
			others = append(others, each.err.Error())
		}
	}
	if len(w.noes) > 0 {
		others = append(others, "unknown to "+w.unknowing())
	}
	all.text = fmt.Sprintf("%s (besides: %s)", all.errs[0], strings.Join(others, "; "))
	return all
}
