package store

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
)

// autocert has a peter_sslers server order a certificate for a name that it does not know, and waits for it. Whatever goes
// wrong counts for no breaker: the server has just answered, and other names need no order.
func (s *HTTP) autocert(ctx context.Context, name string, credentials credentials) (*Bundle, error) {
	bundle, err := s.order(ctx, name, credentials)
	if err == nil {
		return bundle, nil
	}
	err = tidy(fmt.Errorf("autocert: %w", err), credentials.secrets...)
	if errors.Is(err, ErrUnknown) {
		return nil, err
	}
	failure := &Failure{Err: err, Exempt: true}
	var cause *Failure
	if errors.As(err, &cause) {
		failure.RetryAfter = cause.RetryAfter
	}
	return nil, failure
}

func (s *HTTP) order(ctx context.Context, name string, credentials credentials) (*Bundle, error) {
	select {
	case s.autocerts <- struct{}{}:
		defer func() { <-s.autocerts }()
	default:
		return nil, fmt.Errorf("%d orders are under way, which is all that may be", cap(s.autocerts))
	}
	where := peterSSLersURL(s.address.base, "api", "domain", "autocert.json")
	message, err := newMessage(http.MethodPost, where, url.Values{"domain_name": {name}}.Encode())
	if err != nil {
		return nil, err
	}
	return s.exchange(s.autocertTimeout, credentials).do(ctx, message, readOrder)
}

// readOrder leaves out what HTTP says of the answer's lifetime: that is for the next query to say, which is made soon.
func readOrder(response *http.Response) (*Bundle, error) {
	bundle, err := read(response, Validator{}, decodeAutocert)
	switch {
	case err == nil:
		bundle.Validator, bundle.Freshness = Validator{}, Freshness{Revalidate: true}
	case errors.Is(err, ErrUnknown) && response.StatusCode != http.StatusOK:
		return nil, fail("%d %s: the server takes no orders", response.StatusCode, http.StatusText(response.StatusCode))
	}
	return bundle, err
}
