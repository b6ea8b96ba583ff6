package control

import (
	"context"
	"iter"
	"net/url"
	"time"
)

// orderTimeout is how long a Client waits for what a CA does: challenges may take their time, those by DNS above all.
const orderTimeout = 15 * time.Minute

// ACMEPath is the request for the names that certificates are ordered for and that match a pattern; empty: all.
func ACMEPath(pattern string) string {
	if pattern == "" {
		return "/acme"
	}
	return "/acme?" + url.Values{"pattern": {pattern}}.Encode()
}

// ACMENamePath is the request for what is known of a name that certificates are ordered for.
func ACMENamePath(name string) string { return "/acme/" + url.PathEscape(name) }

// ACME asks for the names that certificates are ordered for and that match a pattern, by store, as they come in. An error is
// the last that is yielded.
func (c *Client) ACME(ctx context.Context, pattern string) iter.Seq2[ACMEStore, error] {
	return list[ACMEStore](ctx, c, ACMEPath(pattern))
}

// ACMEName asks what is known of a name that certificates are ordered for, or of the wildcard that it is part of. A *Refused
// with code 404 says that none is.
func (c *Client) ACMEName(ctx context.Context, name string) (found ACMEName, err error) {
	return found, c.get(ctx, ACMENamePath(name), &found)
}

// Renew has a certificate ordered anew where it is due, or with force in any case, and returns when that has come to its end.
func (c *Client) Renew(ctx context.Context, name string, force bool) (renewal ACMERenewal, err error) {
	return renewal, c.waiting(orderTimeout).post(ctx, ACMENamePath(name)+"/renew", RenewRequest{Force: force}, &renewal)
}

// Revoke has the CA revoke what a name has, for one of RevokeReasons; empty: unspecified.
func (c *Client) Revoke(ctx context.Context, name, reason string) error {
	return c.waiting(orderTimeout).post(ctx, ACMENamePath(name)+"/revoke", RevokeRequest{Reason: reason}, new(Success))
}
