package store

import (
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// maxDrain is how much of an unwanted body is read so that its connection can be used again.
const maxDrain = 4 << 10

// decodeFunc makes of a body what it says. Its error wraps ErrUnknown when that is a no.
type decodeFunc func(contentType string, body []byte) (Answer, error)

// read says what an answer means. held is the validator that was sent. The caller closes the body.
func read(response *http.Response, held Validator, decode decodeFunc) (*Bundle, error) {
	if response.StatusCode == http.StatusOK {
		return readBundle(response, decode)
	}
	bundle, err := readStatus(response, held)
	if response.ContentLength <= maxDrain {
		// Should it fail, or the body be longer than it says, the connection is closed instead.
		_, _ = io.CopyN(io.Discard, response.Body, maxDrain)
	}
	return bundle, err
}

func readStatus(response *http.Response, held Validator) (*Bundle, error) {
	code := response.StatusCode
	// The reason that the store sent with the number is left out: it is text from outside.
	status := strings.TrimSpace(fmt.Sprint(code, " ", http.StatusText(code)))
	switch {
	case code == http.StatusNoContent, code == http.StatusNotFound, code == http.StatusGone:
		return nil, fmt.Errorf("%s: %w", status, ErrUnknown)
	case code == http.StatusNotModified && held.ETag != "":
		return notModified(response.Header, held)
	case code == http.StatusNotModified:
		return nil, fail("%s to an unconditional request", status)
	case code == http.StatusUnauthorized, code == http.StatusForbidden:
		return nil, fail("%s: %w", status, ErrToken)
	case code == http.StatusTooManyRequests, code == http.StatusServiceUnavailable:
		return nil, busy(response, status)
	case code >= 300 && code <= 399:
		return nil, fail("%s%s: redirects are not followed", status, target(response))
	}
	return nil, fail("%s", status)
}

func fail(format string, arguments ...any) *Failure {
	return &Failure{Err: fmt.Errorf(format, arguments...)}
}

// notModified has a routing when the header names one. Without it the routing is what it was.
func notModified(header http.Header, held Validator) (*Bundle, error) {
	routing, err := routed(header, nil)
	if err != nil {
		return nil, &Failure{Err: err}
	}
	validator := validator(header)
	if validator.IsZero() {
		validator = held
	}
	return &Bundle{NotModified: true, Validator: validator, Freshness: freshness(header), Routing: routing}, nil
}

func busy(response *http.Response, status string) *Failure {
	failure := fail("%s", status)
	failure.Exempt = response.StatusCode == http.StatusTooManyRequests
	failure.RetryAfter = retryAfter(response.Header, time.Now())
	if failure.RetryAfter > 0 {
		failure.Err = fmt.Errorf("%s, retry after %s", status, failure.RetryAfter.Round(time.Second))
	}
	return failure
}

// target names the host a redirect points to, and no more of it: the rest may hold a secret.
func target(response *http.Response) string {
	where, err := url.Parse(response.Header.Get("Location"))
	if err != nil || where.Host == "" {
		return ""
	}
	return " to " + quote(where.Host, 80)
}

func readBundle(response *http.Response, decode decodeFunc) (*Bundle, error) {
	header := response.Header
	body, err := readBody(response)
	if err != nil {
		return nil, &Failure{Err: err}
	}
	answer, err := decode(header.Get("Content-Type"), body)
	if errors.Is(err, ErrUnknown) {
		return nil, err
	}
	if err == nil {
		answer.Routing, err = routed(header, answer.Routing)
	}
	if err != nil {
		return nil, &Failure{Err: err}
	}
	return &Bundle{Pairs: answer.Pairs, Routing: answer.Routing, Validator: validator(header), Freshness: freshness(header)}, nil
}

// readBody reads at most MaxBody bytes off the wire, and makes at most as many of them.
func readBody(response *http.Response) ([]byte, error) {
	if response.ContentLength > MaxBody {
		return nil, fmt.Errorf("body of %d bytes: at most %d allowed", response.ContentLength, MaxBody)
	}
	reader := http.MaxBytesReader(nil, response.Body, MaxBody)
	switch encoding := strings.ToLower(strings.Join(response.Header.Values("Content-Encoding"), ", ")); encoding {
	case "", "identity":
	case "gzip", "x-gzip":
		unpacked, err := gzip.NewReader(reader)
		if err != nil {
			return nil, bodyError(err, 0)
		}
		reader = http.MaxBytesReader(nil, unpacked, MaxBody)
	default:
		return nil, fmt.Errorf("content encoding %s, which was not asked for", quote(encoding, 40))
	}
	body, err := io.ReadAll(reader)
	if err != nil {
		return nil, bodyError(err, len(body))
	}
	return body, nil
}

func bodyError(err error, read int) error {
	var large *http.MaxBytesError
	switch {
	case errors.As(err, &large):
		return fmt.Errorf("body of more than %d bytes", MaxBody)
	case errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, io.EOF):
		return fmt.Errorf("body cut short after %d bytes: %w", read, io.ErrUnexpectedEOF)
	}
	return fmt.Errorf("body, after %d bytes: %w", read, err)
}

// validator reads ETag, leaving out one that can't be sent back: it would fail every later request. Last-Modified is left
// out too: it has a resolution of a second, in which a certificate may be replaced.
func validator(header http.Header) Validator {
	tag := header.Get("ETag")
	if !isETag(tag) {
		return Validator{}
	}
	return Validator{ETag: tag}
}

// isETag keeps to RFC 9110, 8.8.3, and to a length that may be held for every name.
func isETag(tag string) bool {
	opaque, open := strings.CutPrefix(strings.TrimPrefix(tag, "W/"), `"`)
	opaque, closed := strings.CutSuffix(opaque, `"`)
	if !open || !closed || len(opaque) > 256 {
		return false
	}
	for i := range len(opaque) {
		if opaque[i] <= ' ' || opaque[i] == '"' || opaque[i] == 0x7f {
			return false
		}
	}
	return true
}
