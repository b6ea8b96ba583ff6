package acme

import (
	"errors"
	"io"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode"

	"github.com/mholt/acmez/v3/acme"
)

const (
	// maxText bounds what is kept of an authority's words.
	maxText = 1000
	// maxAnswer bounds an answer of an authority. Chains of certificates are the longest.
	maxAnswer = 1 << 20

	firstDelay = 30 * time.Second
	lastDelay  = 24 * time.Hour
)

// permanent are the problems that don't go away by themselves: another try is for when somebody has mended something.
var permanent = map[string]bool{
	acme.ProblemTypeBadCSR:                  true,
	acme.ProblemTypeBadPublicKey:            true,
	acme.ProblemTypeBadSignatureAlgorithm:   true,
	acme.ProblemTypeExternalAccountRequired: true,
	acme.ProblemTypeInvalidContact:          true,
	acme.ProblemTypeMalformed:               true,
	acme.ProblemTypeRejectedIdentifier:      true,
	acme.ProblemTypeUnsupportedContact:      true,
	acme.ProblemTypeUnsupportedIdentifier:   true,
	acme.ProblemTypeUserActionRequired:      true,
}

// problemOf is the authority's problem document in an error.
func problemOf(err error) (acme.Problem, bool) {
	var problem acme.Problem
	if errors.As(err, &problem) {
		return problem, true
	}
	var pointer *acme.Problem
	if errors.As(err, &pointer) && pointer != nil {
		return *pointer, true
	}
	return acme.Problem{}, false
}

func isProblem(err error, kind string) bool {
	problem, ok := problemOf(err)
	return ok && problem.Type == kind
}

func isPermanent(err error) bool {
	problem, ok := problemOf(err)
	if !ok {
		return false
	}
	for _, part := range problem.Subproblems {
		if permanent[part.Type] {
			return true
		}
	}
	return permanent[problem.Type]
}

// delay is how long to wait after a number of errors in a row: 30 s, doubling to most, half of it more or less.
func delay(errors int, most time.Duration) time.Duration {
	pause := most
	if shift := max(errors, 1) - 1; shift < 20 {
		pause = min(firstDelay<<shift, most)
	}
	return jittered(pause)
}

func jittered(d time.Duration) time.Duration { return d/2 + rand.N(d+1) }

// clean makes text from outside fit for a log and a status page.
func clean(text string) string {
	if len(text) > maxText {
		text = strings.ToValidUTF8(text[:maxText], "") + "..."
	}
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return '\uFFFD'
		}
		return r
	}, text)
}

// cleaned is an error whose text is fit for a log, whatever an authority wrote into it.
type cleaned struct{ error }

func (c cleaned) Error() string { return clean(c.error.Error()) }
func (c cleaned) Unwrap() error { return c.error }

// recorder is what a try has heard from an authority, which acmez does not pass on.
type recorder struct {
	mu         sync.Mutex
	unreached  bool // by the last request
	status     int  // of the last answer
	document   bool // it was a problem document
	retryAfter time.Time
	giveUp     func() // called when a GET has failed, or takes long; nil: nothing is
}

func (r *recorder) note(response *http.Response, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.unreached = err != nil
	if err != nil {
		return
	}
	r.status = response.StatusCode
	r.document = strings.HasPrefix(response.Header.Get("Content-Type"), "application/problem+json")
	if r.status >= 400 {
		r.retryAfter = parseRetryAfter(response.Header.Get("Retry-After"), time.Now())
	}
}

// giveUpGets has a function called when a GET fails, or takes longer than getTime; nil: none.
func (r *recorder) giveUpGets(giveUp func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.giveUp = giveUp
}

// getTime is how long renewal information may take that nobody needs at the moment.
const getTime = 3 * time.Second

// attend has a GET given up in time, where it may be. The function that it returns is to be called at its end.
func (r *recorder) attend(request *http.Request) (ended func(failed bool)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if giveUp := r.giveUp; giveUp != nil && request.Method == http.MethodGet {
		timer := time.AfterFunc(getTime, giveUp)
		return func(failed bool) {
			if timer.Stop(); failed {
				giveUp()
			}
		}
	}
	return func(bool) {}
}

// trouble says whether the authority could not be reached, or is out of order: it is not this name's fault.
func (r *recorder) trouble() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.unreached || r.status >= 500 && !r.document
}

// wants is before when the authority does not want to be asked again; zero: it did not say.
func (r *recorder) wants() time.Time {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.retryAfter
}

// maxRetryAfter is far more than an authority asks for: Let's Encrypt's longest is a week.
const maxRetryAfter = 8 * 24 * time.Hour

func parseRetryAfter(text string, now time.Time) time.Time {
	at := now
	if seconds, err := strconv.ParseUint(text, 10, 31); err == nil {
		at = now.Add(time.Duration(seconds) * time.Second)
	} else if date, err := http.ParseTime(text); err == nil {
		at = date
	}
	if limit := now.Add(maxRetryAfter); at.After(limit) {
		at = limit
	}
	if !at.After(now) {
		return time.Time{}
	}
	return at
}

// transport bounds what an authority may answer, and records what acmez does not pass on.
type transport struct {
	base  http.RoundTripper
	heard *recorder
}

func (t transport) RoundTrip(request *http.Request) (*http.Response, error) {
	ended := t.heard.attend(request)
	response, err := t.base.RoundTrip(request)
	ended(err != nil || response.StatusCode >= http.StatusBadRequest)
	t.heard.note(response, err)
	if err != nil {
		return nil, err
	}
	// acmez would follow those to other chains, without an end if they lead in a circle. RFC 8555 section 7.4.2 has the whole
	// chain in the answer itself.
	response.Header.Del("Link")
	response.Body = bounded{http.MaxBytesReader(nil, response.Body, maxAnswer), response.Body}
	return response, nil
}

type bounded struct {
	io.Reader
	io.Closer
}
