package control

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"iter"
	"net/http"
	"net/url"
)

// CertsPath is the request for the certificates whose name pattern matches; an empty pattern matches all.
func CertsPath(pattern string) string {
	if pattern == "" {
		return "/certs"
	}
	return "/certs?" + url.Values{"pattern": {pattern}}.Encode()
}

// Certs lists what is cached and matches pattern, as it comes in. An error is the last that is yielded.
func (c *Client) Certs(ctx context.Context, pattern string) iter.Seq2[Cert, error] {
	return func(yield func(Cert, error) bool) {
		response, err := c.do(ctx, http.MethodGet, CertsPath(pattern), nil)
		if err != nil {
			yield(Cert{}, err)
			return
		}
		defer response.Body.Close()
		decoder := json.NewDecoder(response.Body)
		// {"certs":[
		for range 3 {
			if _, err := decoder.Token(); err != nil {
				yield(Cert{}, c.describe(err))
				return
			}
		}
		for decoder.More() {
			var cert Cert
			if err := decoder.Decode(&cert); err != nil {
				yield(Cert{}, c.describe(err))
				return
			}
			if !yield(cert, nil) {
				return
			}
		}
		// A list that was cut short ends without its bracket.
		if _, err := decoder.Token(); err != nil {
			yield(Cert{}, c.describe(err))
		}
	}
}

// Prefetch has names fetched and yields what became of each, in the order that they are done. An error is the
// last that is yielded.
func (c *Client) Prefetch(ctx context.Context, names []string) iter.Seq2[PrefetchResult, error] {
	return func(yield func(PrefetchResult, error) bool) {
		body, err := json.Marshal(PrefetchRequest{Names: names})
		if err != nil {
			yield(PrefetchResult{}, err)
			return
		}
		response, err := c.fetching().do(ctx, http.MethodPost, "/prefetch", body)
		if err != nil {
			yield(PrefetchResult{}, err)
			return
		}
		defer response.Body.Close()
		decoder := json.NewDecoder(response.Body)
		for done := 0; ; done++ {
			var result PrefetchResult
			err := decoder.Decode(&result)
			if errors.Is(err, io.EOF) && done < len(names) {
				err = io.ErrUnexpectedEOF
			}
			if errors.Is(err, io.EOF) {
				return
			}
			if err != nil {
				yield(PrefetchResult{}, c.describe(err))
				return
			}
			if !yield(result, nil) {
				return
			}
		}
	}
}
