package store

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"time"
)

// The forms of a request to an HTTP store.
const (
	// FormPath asks GET {url}/{name}.
	FormPath = "path"
	// FormCaddy asks as Caddy's tls.get_certificate.http does: GET {url}?server_name={name}&...
	FormCaddy = "caddy"
	// FormPeterSSLers asks as lua-resty-peter_sslers does: GET {url}/domain/{name}/config.json?openresty=1, where the url is
	// that of the server's admin prefix.
	FormPeterSSLers = "peter_sslers"
)

const (
	defaultTimeout         = 2 * time.Second
	defaultAutocertTimeout = time.Minute
	defaultFetches         = 64
)

// HTTPOptions configure an HTTP store. Only URL is needed.
type HTTPOptions struct {
	// Name is what the store is called in errors; empty: its URL without the query.
	Name string
	// URL is https://host:port/path, http:// likewise, or unix:///path/to.sock, with ":/prefix" behind it for a path.
	// Its query is kept. It must not hold a password.
	URL string
	// Form is FormPath (also when empty), FormCaddy or FormPeterSSLers.
	Form string
	// Token is sent as a bearer token, or the content of TokenFile without trailing white space, which is read again
	// when the file changes. At most one of them may be set.
	Token, TokenFile string
	// Username and the content of PasswordFile, without the line end, are sent with HTTP's basic authentication instead of
	// a token. The file is read again when it changes.
	Username, PasswordFile string
	// CAFile holds the roots in PEM that the store's certificate must verify to, instead of the system's.
	CAFile string
	// CertFile and KeyFile are our client certificate; they are read again when they change.
	CertFile, KeyFile string
	// InsecureSkipVerify accepts any certificate from the store.
	InsecureSkipVerify bool
	// Plaintext allows http:// to more than loopback.
	Plaintext bool
	// Timeout bounds a whole request: the wait for a connection, the answer and its body; 0: 2 s.
	Timeout time.Duration
	// Fetches bounds the connections to the store; 0: 64.
	Fetches int
	// Autocert, with FormPeterSSLers, asks the server to order a certificate for a name that it does not know. At most a
	// quarter of Fetches are ordered at once; a fetch that comes upon more fails.
	Autocert bool
	// AutocertTimeout bounds an order, which takes as long as the certificate authority does; 0: 1 min. No handshake waits
	// that long: what is ordered is there for the next one.
	AutocertTimeout time.Duration
}

// HTTP is a store that is asked over HTTP/1.1. It uses no proxy and follows no redirect: the token goes to the host that
// was configured and nowhere else.
type HTTP struct {
	name        string
	address     address
	form        string
	credentials func() (credentials, error)
	timeout     time.Duration
	transport   *http.Transport

	// autocerts holds the orders under way; nil: none is ever made.
	autocerts       chan struct{}
	autocertTimeout time.Duration
}

// NewHTTP checks options, reads the files that they name and returns the store. It makes no connection. Close it.
func NewHTTP(options HTTPOptions) (*HTTP, error) {
	where, err := parseAddress(options.URL, options.Plaintext)
	if err != nil {
		return nil, err
	}
	options = options.withDefaults(where)
	store := &HTTP{
		name:            options.Name,
		address:         where,
		form:            options.Form,
		timeout:         options.Timeout,
		autocertTimeout: options.AutocertTimeout,
	}
	if err := options.checkForm(); err != nil {
		return nil, fmt.Errorf("store %s: %w", store.name, err)
	}
	if store.credentials, err = options.credentials(); err != nil {
		return nil, fmt.Errorf("store %s: %w", store.name, err)
	}
	if store.transport, err = options.transport(where.socket); err != nil {
		return nil, fmt.Errorf("store %s: %w", store.name, err)
	}
	if options.Autocert {
		store.autocerts = make(chan struct{}, max(1, options.Fetches/4))
	}
	return store, nil
}

func (o HTTPOptions) withDefaults(where address) HTTPOptions {
	if o.Name == "" {
		o.Name = where.shown
	}
	if o.Form == "" {
		o.Form = FormPath
	}
	if o.Timeout <= 0 {
		o.Timeout = defaultTimeout
	}
	if o.AutocertTimeout <= 0 {
		o.AutocertTimeout = defaultAutocertTimeout
	}
	if o.Fetches <= 0 {
		o.Fetches = defaultFetches
	}
	return o
}

func (o HTTPOptions) checkForm() error {
	switch o.Form {
	case FormPath, FormCaddy:
		if o.Autocert {
			return fmt.Errorf("autocert with form %s: only form %s has it", o.Form, FormPeterSSLers)
		}
	case FormPeterSSLers:
	default:
		return fmt.Errorf("form %q: %s, %s or %s expected", o.Form, FormPath, FormCaddy, FormPeterSSLers)
	}
	return nil
}

// transport speaks HTTP/1.1 alone: there a fetch that gets no answer closes its connection, so that none that is dead
// is kept, and the pool is bounded by what it says.
func (o HTTPOptions) transport(socket string) (*http.Transport, error) {
	config, err := o.tlsConfig()
	if err != nil {
		return nil, err
	}
	// A dial may outlive the fetch that began it, for the next one's sake; this ends it.
	timeout := o.Timeout + time.Second
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
		MaxConnsPerHost:        o.Fetches,
		MaxIdleConns:           o.Fetches,
		MaxIdleConnsPerHost:    o.Fetches,
		IdleConnTimeout:        30 * time.Second,
		MaxResponseHeaderBytes: 64 << 10,
	}, nil
}

// Name is what the store is called in errors and in its bundles.
func (s *HTTP) Name() string { return s.name }

// Close closes the idle connections. Fetches under way go on.
func (s *HTTP) Close() { s.transport.CloseIdleConnections() }

// Fetch asks for request.Name once, and once more where that orders a certificate. A fetch that ran into the store's own
// timeout wraps context.DeadlineExceeded too.
func (s *HTTP) Fetch(ctx context.Context, request Request) (*Bundle, error) {
	bundle, err := s.fetch(ctx, request)
	if err != nil {
		return nil, fmt.Errorf("store %s: get %q: %w", s.name, request.Name, err)
	}
	bundle.Store = s.name
	bundle.Partial = s.form == FormCaddy
	return bundle, nil
}

func (s *HTTP) fetch(ctx context.Context, request Request) (*Bundle, error) {
	if err := checkName(request.Name); err != nil {
		return nil, &Failure{Err: err, Exempt: true}
	}
	credentials, err := s.credentials()
	if err != nil {
		return nil, &Failure{Err: err, Exempt: true}
	}
	bundle, err := s.query(ctx, request, credentials)
	if s.autocerts != nil && errors.Is(err, ErrUnknown) {
		return s.autocert(ctx, request.Name, credentials)
	}
	return bundle, err
}

// query asks for a name.
func (s *HTTP) query(ctx context.Context, request Request, credentials credentials) (*Bundle, error) {
	message, err := newMessage(http.MethodGet, s.where(request), "")
	if err != nil {
		return nil, err
	}
	held := request.Validator
	if request.From != "" && request.From != s.name {
		held = Validator{}
	}
	if held.ETag != "" {
		message.Header.Set("If-None-Match", held.ETag)
	}
	decode := Decode
	if s.form == FormPeterSSLers {
		decode = decodeDomain
	}
	exchange := s.exchange(s.timeout, credentials)
	return exchange.do(ctx, message, func(response *http.Response) (*Bundle, error) { return read(response, held, decode) })
}

// where is the URL of a request. The name is an element of its path, or a value in its query, and escaped as such.
func (s *HTTP) where(request Request) *url.URL {
	base := s.address.base
	switch s.form {
	case FormCaddy:
		where := *base
		where.RawQuery = caddyQuery(where.Query(), request)
		return &where
	case FormPeterSSLers:
		return peterSSLersURL(base, "domain", request.Name, "config.json")
	}
	return base.JoinPath(request.Name)
}
