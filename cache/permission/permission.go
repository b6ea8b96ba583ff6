// Package permission asks an endpoint whether a name may have a certificate at all, before any store is asked for it. The
// contract is that of Caddy's ask: GET with the name as domain in the query, and any 2xx is a yes.
//
// The rule it guards: only an answer is a no. An endpoint that is down, slow or in trouble refuses nobody for good, nor has
// everybody wait for its time-out, and what it said before a flush is not remembered after it.
package permission

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"

	"hellogate/breaker"
	"hellogate/sni"
	"hellogate/store"
)

const (
	defaultTimeout = 2 * time.Second
	defaultSize    = 16 << 20
	// asking is how many names the endpoint is asked about at once. As many again as fit into maxFlights wait for that.
	asking     = 32
	maxFlights = 4096
)

// Options configure a Permission. Only URL is needed.
type Options struct {
	// URL is https://host:port/path, http:// likewise for loopback, or unix:///path/to.sock, with ":/path" behind it. Its
	// query is kept, but for domain. It must not hold a password.
	URL string
	// Plaintext allows http:// to more than loopback.
	Plaintext bool
	// CAFile holds the roots in PEM that the endpoint's certificate must verify to, instead of the system's.
	CAFile string
	// Timeout bounds one request: the wait for a connection and the answer; 0: 2 s.
	Timeout time.Duration
	// Size is about how many bytes may be used for remembered answers; 0: 16 MB. A quarter of it is for noes, so that they
	// never push out a yes.
	Size int64
	// Breaker says when an endpoint that keeps failing is no longer asked, and for how long. Its Kind is not looked at.
	Breaker breaker.Options
}

// Permission asks, and remembers what was answered. It is safe for concurrent use.
type Permission struct {
	endpoint  endpoint
	transport *http.Transport
	timeout   time.Duration
	breaker   *breaker.Breaker

	life  context.Context
	end   context.CancelFunc
	tasks sync.WaitGroup

	mu      sync.Mutex // guards what follows; never held while the endpoint is asked
	closed  bool
	start   time.Time // answers are timed by the monotonic clock
	yes, no answers
	flights map[string]*flight
	stats   Stats
}

// Stats count since New, but for Held.
type Stats struct {
	// Yes, No and Failures are requests by how they ended. What the breaker cut off was no request.
	Yes, No, Failures uint64
	// Remembered is how often Ask needed no request.
	Remembered uint64
	// Held is how many answers are remembered now, of which some may be past their time.
	Held int
}

var errClosed = errors.New("closed")

// New checks options, reads CAFile and returns the Permission. It makes no connection. Close it.
func New(options Options) (*Permission, error) {
	where, err := parseEndpoint(options.URL, options.Plaintext)
	if err != nil {
		return nil, fmt.Errorf("permission: %w", err)
	}
	if options.Timeout <= 0 {
		options.Timeout = defaultTimeout
	}
	if options.Size <= 0 {
		options.Size = defaultSize
	}
	options.Breaker.Kind = "permission"
	transport, err := options.transport(where)
	if err != nil {
		return nil, fmt.Errorf("permission %s: %w", where, err)
	}
	p := &Permission{
		endpoint:  where,
		transport: transport,
		timeout:   options.Timeout,
		breaker:   breaker.New(where.String(), nil, options.Breaker),
		start:     time.Now(),
		yes:       newAnswers(options.Size - options.Size/4),
		no:        newAnswers(options.Size / 4),
		flights:   make(map[string]*flight),
	}
	p.life, p.end = context.WithCancel(context.Background())
	return p, nil
}

// Close ends the requests under way, and waits for that.
func (p *Permission) Close() {
	p.mu.Lock()
	p.closed = true
	p.mu.Unlock()
	p.end()
	p.tasks.Wait()
	p.transport.CloseIdleConnections()
}

// Ask returns nil if name, which sni.Normalize accepted, may have a certificate. An error that wraps store.ErrUnknown is
// the endpoint's no. Any other error is not an answer: the endpoint failed, or is not asked because it kept failing, which is
// a *store.Failure, with CutOff set if it was not asked; or ctx was done.
// Those who ask for one name at once share a request, which goes on when some of them leave.
//
// An answer is remembered as its Cache-Control says (s-maxage, then max-age, less Age; not at all with no-store, no-cache,
// private or an age of 0), for at most a day. One that says nothing is remembered for a minute if it is a yes, and for 30
// seconds if it is a no. A failure is not remembered.
func (p *Permission) Ask(ctx context.Context, name string) error {
	if normal, err := sni.Normalize(name); err != nil || normal != name {
		return &store.Failure{Err: fmt.Errorf("permission %s: %q is not a normalised name", p.endpoint, name), Exempt: true}
	}
	asked, known, err := p.lookUp(name)
	if known || err != nil {
		return err
	}
	select {
	case <-asked.done:
		return asked.err
	case <-ctx.Done():
		return fmt.Errorf("permission %s: ask for %q: waiting for the answer: %w", p.endpoint, name, ctx.Err())
	}
}

// lookUp returns what is remembered of a name, or the request to wait for.
func (p *Permission) lookUp(name string) (asked *flight, known bool, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if permitted, known := p.recall(name); known {
		p.stats.Remembered++
		if permitted {
			return nil, true, nil
		}
		return nil, true, fmt.Errorf("permission %s: %q was denied before: %w", p.endpoint, name, store.ErrUnknown)
	}
	asked, err = p.join(name)
	return asked, false, err
}

// Recall returns what is remembered of a name, without asking.
func (p *Permission) Recall(name string) (permitted, known bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.recall(name)
}

func (p *Permission) recall(name string) (permitted, known bool) {
	now := p.now()
	if p.yes.has(name, now) {
		return true, true
	}
	return false, p.no.has(name, now)
}

func (p *Permission) now() int64 { return int64(time.Since(p.start)) }

// Stats returns what was counted until now.
func (p *Permission) Stats() Stats {
	p.mu.Lock()
	defer p.mu.Unlock()
	stats := p.stats
	stats.Held = len(p.yes.byName) + len(p.no.byName)
	return stats
}

// Status returns what is known of the breaker. Its name is the URL without the query.
func (p *Permission) Status() breaker.Status { return p.breaker.Status() }
