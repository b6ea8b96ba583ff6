package permission

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"

	"hellogate/store"
)

// maxDrain is how much of an answer's body is read so that its connection can be used again.
const maxDrain = 4 << 10

// flight is one request, for all who wait for its answer.
type flight struct {
	name string
	done chan struct{} // closed once err is set
	err  error         // nil: yes

	forgotten bool // the name was forgotten since it was asked about; guarded by Permission.mu
}

// join returns the flight for a name, a new one if there is none. The caller holds mu.
func (p *Permission) join(name string) (*flight, error) {
	if under := p.flights[name]; under != nil {
		return under, nil
	}
	switch {
	case p.closed:
		return nil, p.failure(name, &store.Failure{Err: errClosed, Exempt: true})
	case len(p.flights) >= maxFlights:
		err := fmt.Errorf("%d other names are being asked about", len(p.flights))
		return nil, p.failure(name, &store.Failure{Err: err, Exempt: true})
	}
	// A name may be a part of a whole ClientHello.
	f := &flight{name: strings.Clone(name), done: make(chan struct{})}
	p.flights[f.name] = f
	p.tasks.Go(func() { p.fly(f) })
	return f, nil
}

// fly asks the endpoint, unless its breaker is open, and lets everybody know what it said.
func (p *Permission) fly(f *flight) {
	ctx, cancel := context.WithTimeout(p.life, p.timeout)
	defer cancel()
	var answer verdict
	f.err = p.breaker.Do(f.name, func() error {
		var failed *store.Failure
		if answer, failed = p.ask(ctx, f.name); failed != nil {
			return p.failure(f.name, failed)
		}
		if !answer.yes {
			return fmt.Errorf("permission %s: ask for %q: %s: %w", p.endpoint, f.name, answer.status, store.ErrUnknown)
		}
		return nil
	})
	p.mu.Lock()
	p.land(f, answer)
	p.mu.Unlock()
	close(f.done)
}

// land counts and remembers an answer. The caller holds mu.
func (p *Permission) land(f *flight, answer verdict) {
	if p.flights[f.name] == f {
		delete(p.flights, f.name)
	}
	switch {
	case f.err != nil && !errors.Is(f.err, store.ErrUnknown):
		if failure, ok := errors.AsType[*store.Failure](f.err); !ok || !failure.CutOff {
			p.stats.Failures++
		}
		return
	case answer.yes:
		p.stats.Yes++
	default:
		p.stats.No++
	}
	if f.forgotten {
		return
	}
	p.yes.drop(f.name)
	p.no.drop(f.name)
	if answer.keep > 0 {
		p.remember(f.name, answer)
	}
}

func (p *Permission) remember(name string, answer verdict) {
	into := &p.no
	if answer.yes {
		into = &p.yes
	}
	now := p.now()
	into.add(name, now, now+int64(answer.keep))
}

func (p *Permission) failure(name string, failed *store.Failure) *store.Failure {
	failed.Err = fmt.Errorf("permission %s: ask for %q: %w", p.endpoint, name, failed.Err)
	return failed
}

// verdict is what the endpoint answered.
type verdict struct {
	yes    bool
	status string
	keep   time.Duration // 0: not at all
}

// ask makes one request.
func (p *Permission) ask(ctx context.Context, name string) (verdict, *store.Failure) {
	request, err := p.endpoint.request(ctx, name)
	if err != nil {
		return verdict{}, &store.Failure{Err: err, Exempt: true}
	}
	// The transport and not a Client: it knows of no redirects, cookies or referers.
	response, err := p.transport.RoundTrip(request)
	if err != nil {
		return verdict{}, p.unanswered(err)
	}
	defer response.Body.Close()
	answer, failed := judge(response)
	if response.ContentLength <= maxDrain {
		// Should it fail, or the body be longer than it says, the connection is closed instead.
		_, _ = io.CopyN(io.Discard, response.Body, maxDrain)
	}
	return answer, failed
}

// unanswered says why there was no answer.
func (p *Permission) unanswered(err error) *store.Failure {
	if errors.Is(err, context.DeadlineExceeded) {
		return &store.Failure{Err: fmt.Errorf("no answer within %s: %w", p.timeout, context.DeadlineExceeded)}
	}
	failed := &store.Failure{Err: shorten(err)}
	if dial, ok := errors.AsType[*net.OpError](err); ok && dial.Op == "dial" {
		failed.Unreachable = true
	}
	return failed
}

// shortened is an error whose text quotes what the endpoint sent.
type shortened struct {
	text string
	err  error
}

func (s shortened) Error() string { return s.text }
func (s shortened) Unwrap() error { return s.err }

func shorten(err error) error {
	const most = 300
	if len(err.Error()) <= most {
		return err
	}
	return shortened{strings.ToValidUTF8(err.Error()[:most], "") + "...", err}
}

// judge says what an answer means: 2xx is a yes, 4xx a no, unless it says that the question was not looked at (408, 425,
// 429). Anything else is no answer.
func judge(response *http.Response) (verdict, *store.Failure) {
	code := response.StatusCode
	// The reason that came with the number is left out: it is text from outside.
	status := strings.TrimSpace(fmt.Sprint(code, " ", http.StatusText(code)))
	undecided := code == http.StatusRequestTimeout || code == http.StatusTooEarly || code == http.StatusTooManyRequests
	switch {
	case code >= 200 && code <= 299:
		return verdict{yes: true, status: status, keep: lifetime(response.Header, time.Minute)}, nil
	case code >= 400 && code <= 499 && !undecided:
		return verdict{status: status, keep: lifetime(response.Header, 30*time.Second)}, nil
	case code >= 300 && code <= 399:
		status += ": redirects are not followed"
	}
	return verdict{}, &store.Failure{
		Err:        errors.New(status),
		RetryAfter: store.ReadRetryAfter(response.Header, time.Now()),
	}
}

// lifetime is how long an answer is remembered, unsaid if its headers don't say.
func lifetime(header http.Header, unsaid time.Duration) time.Duration {
	const most = 24 * time.Hour
	fresh := store.ReadFreshness(header)
	switch {
	case fresh.NoStore, fresh.Revalidate:
		return 0
	case fresh.Known:
		return min(max(fresh.MaxAge, 0), most)
	}
	return unsaid
}
