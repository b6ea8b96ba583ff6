package store

import (
	"net/http"
	"time"
)

// ReadFreshness reads Cache-Control and Age as a shared cache does.
func ReadFreshness(header http.Header) Freshness { return freshness(header) }

// ReadRetryAfter reads Retry-After: how long from now, at most MaxRetryAfter, and 0 for none.
func ReadRetryAfter(header http.Header, now time.Time) time.Duration { return retryAfter(header, now) }
