package control

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"iter"
	"net/http"
	"net/url"
	"strconv"
	"time"
)

// CertsRequest says which certificates are wanted of those in the cache. The zero value: all.
type CertsRequest struct {
	Pattern  string        // that their names match
	Expiring time.Duration // within which they expire, in whole seconds; 0: whenever
}

// Path is the request as it is sent.
func (r CertsRequest) Path() string {
	query := url.Values{}
	if r.Pattern != "" {
		query.Set("pattern", r.Pattern)
	}
	if r.Expiring > 0 {
		query.Set("expiring", strconv.FormatInt(seconds(r.Expiring), 10))
	}
	if len(query) == 0 {
		return "/certs"
	}
	return "/certs?" + query.Encode()
}

// Certs lists what is cached and wanted, as it comes in. An error is the last that is yielded.
func (c *Client) Certs(ctx context.Context, wanted CertsRequest) iter.Seq2[Cert, error] {
	return list[Cert](ctx, c, wanted.Path())
}

// Connections lists the open connections that are wanted, as they come in. An error is the last that is yielded.
func (c *Client) Connections(ctx context.Context, wanted ConnectionsRequest) iter.Seq2[Connection, error] {
	return list[Connection](ctx, c, wanted.Path())
}

// list yields what is in the one list of the object that a path has.
func list[T any](ctx context.Context, c *Client, path string) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		var none T
		response, err := c.do(ctx, http.MethodGet, path, nil)
		if err != nil {
			yield(none, err)
			return
		}
		defer response.Body.Close()
		decoder := json.NewDecoder(response.Body)
		// {"certs":[
		for range 3 {
			if _, err := decoder.Token(); err != nil {
				yield(none, c.describe(err))
				return
			}
		}
		for decoder.More() {
			var next T
			if err := decoder.Decode(&next); err != nil {
				yield(none, c.describe(err))
				return
			}
			if !yield(next, nil) {
				return
			}
		}
		// A list that was cut short ends without its bracket.
		if _, err := decoder.Token(); err != nil {
			yield(none, c.describe(err))
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
