package store

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
)

// The forms of a request to an HTTP store.
const (
	// FormPath asks GET {url}/{name}.
	FormPath = "path"
	// FormCaddy asks as Caddy's tls.get_certificate.http does: GET {url}?server_name={name}&...
	FormCaddy = "caddy"
)

// HTTPOptions configure an HTTP store. Only URL is needed.
type HTTPOptions struct {
	// Name is what the store is called in errors; empty: its URL without the query.
	Name string
	// URL is https://host:port/path, http:// likewise, or unix:///path/to.sock, with ":/prefix" behind it for a path.
	// Its query is kept. It must not hold a password.
	URL string
	// Form is FormPath (also when empty) or FormCaddy.
	Form string
	// Token is sent as a bearer token, or the content of TokenFile without trailing white space, which is read again
	// when the file changes. At most one of them may be set.
	Token, TokenFile string
	// CAFile holds the roots in PEM that the store's certificate must verify to, instead of the system's.
	CAFile string
	// CertFile and KeyFile are our client certificate; they are read again when they change.
	CertFile, KeyFile string
	// InsecureSkipVerify accepts any certificate from the store.
	InsecureSkipVerify bool
	// Plaintext allows http:// to more than loopback.
	Plaintext bool
	// Timeout bounds a whole fetch: the wait for a connection, the answer and its body; 0: 2 s.
	Timeout time.Duration
	// Fetches bounds the connections to the store; 0: 64.
	Fetches int
}

// HTTP is a store that is asked over HTTP/1.1. It uses no proxy and follows no redirect: the token goes to the host that
// was configured and nowhere else.
type HTTP struct {
	name      string
	address   address
	form      string
	token     func() (string, error)
	timeout   time.Duration
	transport *http.Transport
}

// NewHTTP checks options, reads the files that they name and returns the store. It makes no connection. Close it.
func NewHTTP(options HTTPOptions) (*HTTP, error) {
	where, err := parseAddress(options.URL, options.Plaintext)
	if err != nil {
		return nil, err
	}
	store := &HTTP{name: options.Name, address: where, form: options.Form, timeout: options.Timeout}
	if store.name == "" {
		store.name = where.shown
	}
	if store.timeout <= 0 {
		store.timeout = 2 * time.Second
	}
	switch store.form {
	case "":
		store.form = FormPath
	case FormPath, FormCaddy:
	default:
		return nil, fmt.Errorf("store %s: form %q: %s or %s expected", store.name, store.form, FormPath, FormCaddy)
	}
	if store.token, err = options.token(); err != nil {
		return nil, fmt.Errorf("store %s: %w", store.name, err)
	}
	if store.transport, err = options.transport(where.socket, store.timeout); err != nil {
		return nil, fmt.Errorf("store %s: %w", store.name, err)
	}
	return store, nil
}

func (o HTTPOptions) token() (func() (string, error), error) {
	switch {
	case o.Token != "" && o.TokenFile != "":
		return nil, errors.New("both a token and a token file")
	case o.TokenFile != "":
		file := tokenFile(o.TokenFile)
		_, err := file.get()
		return file.get, err
	case o.Token != "":
		return func() (string, error) { return o.Token, nil }, checkToken(o.Token)
	}
	return func() (string, error) { return "", nil }, nil
}

// transport speaks HTTP/1.1 alone: there a fetch that gets no answer closes its connection, so that none that is dead
// is kept, and the pool is bounded by what it says.
func (o HTTPOptions) transport(socket string, timeout time.Duration) (*http.Transport, error) {
	config, err := o.tlsConfig()
	if err != nil {
		return nil, err
	}
	fetches := o.Fetches
	if fetches <= 0 {
		fetches = 64
	}
	// A dial may outlive the fetch that began it, for the next one's sake; this ends it.
	timeout += time.Second
	dialer := &net.Dialer{Timeout: timeout}
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	return &http.Transport{
		Protocols: protocols,
		DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			if socket != "" {
				network, address = "unix", socket
			}
			return dialer.DialContext(ctx, network, address)
		},
		TLSClientConfig:        config,
		TLSHandshakeTimeout:    timeout,
		DisableCompression:     true,
		MaxConnsPerHost:        fetches,
		MaxIdleConns:           fetches,
		MaxIdleConnsPerHost:    fetches,
		IdleConnTimeout:        30 * time.Second,
		MaxResponseHeaderBytes: 64 << 10,
	}, nil
}

// Name is what the store is called in errors and in its bundles.
func (s *HTTP) Name() string { return s.name }

// Close closes the idle connections. Fetches under way go on.
func (s *HTTP) Close() { s.transport.CloseIdleConnections() }

// Fetch asks for request.Name once. A fetch that ran into the store's own timeout wraps context.DeadlineExceeded too.
func (s *HTTP) Fetch(ctx context.Context, request Request) (*Bundle, error) {
	bundle, err := s.fetch(ctx, request)
	if err != nil {
		return nil, fmt.Errorf("store %s: get %q: %w", s.name, request.Name, err)
	}
	bundle.Store = s.name
	return bundle, nil
}

func (s *HTTP) fetch(ctx context.Context, request Request) (*Bundle, error) {
	if err := checkName(request.Name); err != nil {
		return nil, &Failure{Err: err, Exempt: true}
	}
	token, err := s.token()
	if err != nil {
		return nil, &Failure{Err: err, Exempt: true}
	}
	limited, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	var connection connection
	message, err := s.message(httptrace.WithClientTrace(limited, connection.trace()), request, token)
	if err != nil {
		return nil, &Failure{Err: err, Exempt: true}
	}
	// The transport and not a Client: it knows of no redirects, cookies or referers.
	response, err := s.transport.RoundTrip(message)
	if err != nil {
		return nil, s.unanswered(ctx, err, &connection, token)
	}
	defer response.Body.Close()
	bundle, err := read(response, request.Validator)
	if outOfTime(err) {
		return nil, s.late(ctx, "the body was not complete")
	}
	return bundle, err
}

// message makes the request. The name is the last element of the path, or a value in the query, and escaped as such.
func (s *HTTP) message(ctx context.Context, request Request, token string) (*http.Request, error) {
	where := *s.address.base
	if s.form == FormCaddy {
		where.RawQuery = caddyQuery(where.Query(), request)
	} else {
		where = *where.JoinPath(request.Name)
	}
	message, err := http.NewRequestWithContext(ctx, http.MethodGet, where.String(), nil)
	if err != nil {
		return nil, errors.New("the request could not be made of the store's url")
	}
	message.Header.Set("User-Agent", "hellogate")
	message.Header.Set("Accept-Encoding", "identity")
	if token != "" {
		message.Header.Set("Authorization", "Bearer "+token)
	}
	if request.Validator.ETag != "" {
		message.Header.Set("If-None-Match", request.Validator.ETag)
	}
	return message, nil
}

// caddyQuery adds to query what Caddy sends of a hello: numbers in lower-case hexadecimal, without 0x or padding.
func caddyQuery(query url.Values, request Request) string {
	query.Set("server_name", request.Name)
	query.Set("signature_schemes", hexList(request.SignatureSchemes))
	query.Set("cipher_suites", hexList(request.CipherSuites))
	if request.LocalAddr.IsValid() {
		query.Set("local_ip", request.LocalAddr.Unmap().String())
	}
	return query.Encode()
}

func hexList[T ~uint16](numbers []T) string {
	texts := make([]string, len(numbers))
	for i, number := range numbers {
		texts[i] = strconv.FormatUint(uint64(number), 16)
	}
	return strings.Join(texts, ",")
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
func (s *HTTP) unanswered(ctx context.Context, err error, connection *connection, token string) error {
	unreachable := connection.begun.Load() && !connection.made.Load()
	if !outOfTime(err) {
		return &Failure{Err: tidy(err, token), Unreachable: unreachable}
	}
	if connection.made.Load() {
		// Its host may be gone or have moved, and then the others that wait in the pool are dead too.
		s.transport.CloseIdleConnections()
		return s.late(ctx, "no answer")
	}
	if !unreachable {
		return s.late(ctx, "no connection was free")
	}
	failure := s.late(ctx, "no connection")
	failure.Unreachable = ctx.Err() == nil
	return failure
}

func outOfTime(err error) bool {
	return errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled)
}

// late is the failure of a fetch whose time ran out, or whose caller ended it.
func (s *HTTP) late(ctx context.Context, what string) *Failure {
	if ctx.Err() != nil {
		return &Failure{Err: fmt.Errorf("%s: %w", what, ctx.Err())}
	}
	return &Failure{Err: fmt.Errorf("%s within %s: %w", what, s.timeout, context.DeadlineExceeded)}
}

// tidied is an error whose text quotes what the store sent.
type tidied struct {
	text string
	err  error
}

func (t tidied) Error() string { return t.text }
func (t tidied) Unwrap() error { return t.err }

// tidy keeps a store from filling the log, or from echoing the token into it.
func tidy(err error, token string) error {
	const most = 300
	text := err.Error()
	if token != "" {
		// net/http quotes what it could not make sense of.
		quoted := strconv.Quote(token)
		text = strings.NewReplacer(token, "TOKEN", quoted[1:len(quoted)-1], "TOKEN").Replace(text)
	}
	if len(text) > most {
		text = strings.ToValidUTF8(text[:most], "") + "..."
	}
	return tidied{text: text, err: err}
}
