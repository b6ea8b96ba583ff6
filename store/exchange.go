package store

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
)

// exchange is one request to a store and its answer, in a time of its own.
type exchange struct {
	transport   *http.Transport
	timeout     time.Duration
	credentials credentials
	connection  connection
}

func (s *HTTP) exchange(timeout time.Duration, credentials credentials) *exchange {
	return &exchange{transport: s.transport, timeout: timeout, credentials: credentials}
}

// newMessage makes a request. form is its body, if it has one.
func newMessage(method string, where *url.URL, form string) (*http.Request, error) {
	message, err := http.NewRequest(method, where.String(), strings.NewReader(form))
	if err != nil {
		// What went wrong quotes the url, whose query may hold a secret.
		return nil, &Failure{Err: errors.New("the request could not be made of the store's url"), Exempt: true}
	}
	message.Header.Set("User-Agent", "hellogate")
	message.Header.Set("Accept-Encoding", "identity")
	if form != "" {
		message.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	return message, nil
}

// do sends message and has parse make of the answer what it will. ctx is the caller's.
func (e *exchange) do(ctx context.Context, message *http.Request, parse func(*http.Response) (*Bundle, error)) (*Bundle, error) {
	limited, cancel := context.WithTimeout(ctx, e.timeout)
	defer cancel()
	message = message.WithContext(httptrace.WithClientTrace(limited, e.connection.trace()))
	if e.credentials.header != "" {
		message.Header.Set("Authorization", e.credentials.header)
	}
	// The transport and not a Client: it knows of no redirects, cookies or referers.
	response, err := e.transport.RoundTrip(message)
	if err != nil {
		return nil, e.unanswered(ctx, err)
	}
	defer response.Body.Close()
	bundle, err := parse(response)
	if outOfTime(err) {
		return nil, e.late(ctx, "the body was not complete")
	}
	return bundle, err
}

// connection is what became of a request's connection. Dials outlive the request that began them, hence the atomics.
type connection struct{ begun, made atomic.Bool }

func (c *connection) trace() *httptrace.ClientTrace {
	return &httptrace.ClientTrace{
		// The transport tries again when the store had closed the connection that was taken from the pool.
		GetConn:      func(string) { c.made.Store(false) },
		DNSStart:     func(httptrace.DNSStartInfo) { c.begun.Store(true) },
		ConnectStart: func(string, string) { c.begun.Store(true) },
		GotConn:      func(httptrace.GotConnInfo) { c.made.Store(true) },
	}
}

// unanswered says why there was no answer. ctx is the caller's, without our timeout.
func (e *exchange) unanswered(ctx context.Context, err error) error {
	unreachable := e.connection.begun.Load() && !e.connection.made.Load()
	if !outOfTime(err) {
		return &Failure{Err: tidy(err, e.credentials.secrets...), Unreachable: unreachable}
	}
	if e.connection.made.Load() {
		// Its host may be gone or have moved, and then the others that wait in the pool are dead too.
		e.transport.CloseIdleConnections()
		return e.late(ctx, "no answer")
	}
	if !unreachable {
		return e.late(ctx, "no connection was free")
	}
	failure := e.late(ctx, "no connection")
	failure.Unreachable = ctx.Err() == nil
	return failure
}

func outOfTime(err error) bool {
	return errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled)
}

// late is the failure of a request whose time ran out, or whose caller ended it.
func (e *exchange) late(ctx context.Context, what string) *Failure {
	if ctx.Err() != nil {
		return &Failure{Err: fmt.Errorf("%s: %w", what, ctx.Err())}
	}
	return &Failure{Err: fmt.Errorf("%s within %s: %w", what, e.timeout, context.DeadlineExceeded)}
}

// tidied is an error whose text quotes what the store sent.
type tidied struct {
	text string
	err  error
}

func (t tidied) Error() string { return t.text }
func (t tidied) Unwrap() error { return t.err }

// tidy keeps a store from filling the log, or from echoing our secrets into it.
func tidy(err error, secrets ...string) error {
	const most = 300
	text := err.Error()
	for _, secret := range secrets {
		// net/http quotes what it could not make sense of.
		quoted := strconv.Quote(secret)
		text = strings.NewReplacer(secret, "TOKEN", quoted[1:len(quoted)-1], "TOKEN").Replace(text)
	}
	if len(text) > most {
		text = strings.ToValidUTF8(text[:most], "") + "..."
	}
	return tidied{text: text, err: err}
}
