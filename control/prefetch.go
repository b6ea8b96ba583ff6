package control

import (
	"context"
	"errors"
	"net/http"
	"sync"
)

// prefetchers is how many names of one request are fetched at once; the cache bounds what a store is asked.
const prefetchers = 32

// PrefetchRequest lists the names to fetch.
type PrefetchRequest struct {
	Names []string `json:"names"`
}

// PrefetchResult is what became of one name: fetched, cached, unknown or failed, and why.
type PrefetchResult struct {
	Name   string `json:"name"`
	Result string `json:"result"`
	Reason string `json:"reason"`
}

// postPrefetch answers with one line a name, as each is done.
func (s *Server) postPrefetch(w http.ResponseWriter, r *http.Request) {
	var request PrefetchRequest
	if status, err := decode(w, r, &request); err != nil {
		refuse(w, status, err)
		return
	}
	names, err := parseNames(request.Names)
	if err == nil && len(names) == 0 {
		err = errors.New("nothing to fetch: give names")
	}
	if err != nil {
		refuse(w, http.StatusBadRequest, err)
		return
	}
	by(r, s.options.Log.Info()).Strs("names", head(names)).Int("count", len(names)).Msg("control: prefetch")
	w.Header().Set("Content-Type", "application/x-ndjson")
	controller := patient(w)
	controller.Flush() // the client knows that it is being answered, however long the first name takes
	// A client that has gone ends what was still to be fetched for it.
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	for result := range s.prefetch(ctx, names) {
		deadline(controller)
		if encode(w, result) != nil || controller.Flush() != nil {
			cancel()
		}
	}
}

// prefetch sends what became of each name, and closes the channel when all are done or ctx is.
// The caller reads until then.
func (s *Server) prefetch(ctx context.Context, names []string) <-chan PrefetchResult {
	todo := make(chan string)
	results := make(chan PrefetchResult)
	var workers sync.WaitGroup
	for range min(prefetchers, len(names)) {
		workers.Go(func() {
			for name := range todo {
				result, reason := s.options.Certificates.Prefetch(ctx, name)
				results <- PrefetchResult{Name: name, Result: result, Reason: reason}
			}
		})
	}
	go func() {
		defer close(results)
		defer workers.Wait()
		defer close(todo)
		for _, name := range names {
			select {
			case todo <- name:
			case <-ctx.Done():
				return
			}
		}
	}()
	return results
}
