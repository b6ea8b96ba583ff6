package control

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"strings"
	"syscall"
	"time"

	"hellogate/control/config"
)

// Client asks a running hellogate over its control socket. It is safe for concurrent use.
type Client struct {
	path    string
	http    *http.Client
	fetches *http.Client // for what a store is waited for
}

// NewClient makes a client of the control socket at path. It connects when it is used. A request ends with an
// error when hellogate does not answer. Close it.
func NewClient(path string) *Client { return newClient(path, answerTimeout, fetchTimeout) }

func newClient(path string, answer, fetch time.Duration) *Client {
	return &Client{path: path, http: over(path, answer, answer, answer), fetches: over(path, answer, answer, fetch)}
}

// Close ends idle connections.
func (c *Client) Close() {
	c.http.CloseIdleConnections()
	c.fetches.CloseIdleConnections()
}

// fetching is c for requests that have a store asked.
func (c *Client) fetching() *Client {
	return &Client{path: c.path, http: c.fetches, fetches: c.fetches}
}

// Refused is what the API answered instead of what was asked for.
type Refused struct {
	Code     int // HTTP status
	Reason   string
	Problems config.Problems // of a configuration file; none: it is not about one
}

func (r *Refused) Error() string { return r.Reason }

// Unwrap returns the problems of a configuration file, nil where there are none.
func (r *Refused) Unwrap() error {
	if len(r.Problems) == 0 {
		return nil
	}
	return r.Problems
}

// Status asks how it is doing.
func (c *Client) Status(ctx context.Context) (status Status, err error) {
	return status, c.get(ctx, "/status", &status)
}

// Version asks which version runs.
func (c *Client) Version(ctx context.Context) (version Version, err error) {
	return version, c.get(ctx, "/version", &version)
}

// Cert asks what is cached for name. A *Refused with code 404 says: nothing.
func (c *Client) Cert(ctx context.Context, name string) (cert Cert, err error) {
	return cert, c.get(ctx, CertPath(name), &cert)
}

// CertPath is the request for what is cached for name.
func CertPath(name string) string { return "/certs/" + url.PathEscape(name) }

// ExplainOptions say more of the client that an explanation is for.
type ExplainOptions struct {
	Fetch    bool     // really look the name up first
	ALPN     []string // protocols that the client offers
	Client   string   // its address; empty: not said
	Listener string   // where it comes in, by name; empty: not said
}

// path is the request for an explanation of name.
func (o ExplainOptions) path(name string) string {
	query := url.Values{}
	if o.Fetch {
		query.Set("fetch", "true")
	}
	for _, protocol := range o.ALPN {
		query.Add("alpn", protocol)
	}
	if o.Client != "" {
		query.Set("client", o.Client)
	}
	if o.Listener != "" {
		query.Set("listener", o.Listener)
	}
	path := "/explain/" + url.PathEscape(name)
	if len(query) > 0 {
		path += "?" + query.Encode()
	}
	return path
}

// ask is the client that waits as long as an explanation may take.
func (o ExplainOptions) ask(c *Client) *Client {
	if o.Fetch {
		return c.fetching()
	}
	return c
}

// Explain asks what a client that asks for name would get.
func (c *Client) Explain(ctx context.Context, name string, options ExplainOptions) (explanation Explanation, err error) {
	return explanation, options.ask(c).get(ctx, options.path(name), &explanation)
}

// ExplainJSON copies the answer to Explain to w as it is.
func (c *Client) ExplainJSON(ctx context.Context, w io.Writer, name string, options ExplainOptions) error {
	return options.ask(c).Copy(ctx, w, options.path(name))
}

// Flush removes from the cache what request says.
func (c *Client) Flush(ctx context.Context, request FlushRequest) (result FlushResult, err error) {
	return result, c.post(ctx, "/flush", request, &result)
}

// Put pins a certificate under name by hand: chain and key are PEM. Without a disk tier it is refused unless ephemeral.
func (c *Client) Put(ctx context.Context, name string, chain, key []byte, ephemeral bool) error {
	path := CertPath(name)
	if ephemeral {
		path += "?ephemeral=true"
	}
	body, err := json.Marshal(map[string]string{"cert": string(chain), "key": string(key)})
	if err != nil {
		return err
	}
	return c.exchange(ctx, http.MethodPut, path, body, new(Success))
}

// Remove removes the certificate that was pinned under name. A *Refused with code 404 says that there is none.
func (c *Client) Remove(ctx context.Context, name string) error {
	return c.exchange(ctx, http.MethodDelete, CertPath(name), nil, new(Success))
}

// Shutdown has it end as SIGTERM does. It returns before that is done.
func (c *Client) Shutdown(ctx context.Context) error {
	return c.post(ctx, "/shutdown", nil, new(Success))
}

// Copy copies the answer to a GET of path to w as it is.
func (c *Client) Copy(ctx context.Context, w io.Writer, path string) error {
	response, err := c.do(ctx, http.MethodGet, path, nil)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	_, err = io.Copy(w, response.Body)
	if _, ours := errors.AsType[*fs.PathError](err); err == nil || ours { // a full disk is not the socket's fault
		return err
	}
	return c.describe(err)
}

func (c *Client) get(ctx context.Context, path string, into any) error {
	return c.exchange(ctx, http.MethodGet, path, nil, into)
}

func (c *Client) post(ctx context.Context, path string, request, into any) error {
	body, err := json.Marshal(request)
	if err != nil {
		return err
	}
	return c.exchange(ctx, http.MethodPost, path, body, into)
}

func (c *Client) exchange(ctx context.Context, method, path string, body []byte, into any) error {
	response, err := c.do(ctx, method, path, body)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if err := json.NewDecoder(response.Body).Decode(into); err != nil {
		return c.describe(err)
	}
	return nil
}

// do sends a request. The caller closes the body of a response, whose status is 200.
func (c *Client) do(ctx context.Context, method, path string, body []byte) (*http.Response, error) {
	request, err := http.NewRequestWithContext(ctx, method, "http://hellogate"+path, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	response, err := c.http.Do(request)
	if err != nil {
		return nil, c.describe(err)
	}
	if response.StatusCode == http.StatusOK {
		return response, nil
	}
	defer response.Body.Close()
	var problem ReloadProblem
	if err := json.NewDecoder(response.Body).Decode(&problem); err != nil || problem.Reason == "" {
		problem.Reason = "answered " + response.Status
	}
	return nil, &Refused{Code: response.StatusCode, Reason: problem.Reason, Problems: problem.problemsOf()}
}

const hintStopped = " (is hellogate stopped, or overloaded?)"

// describe says in one line which socket it was about and what can be done.
func (c *Client) describe(err error) error {
	if wrapped, ok := errors.AsType[*url.Error](err); ok {
		err = wrapped.Err
	}
	if errors.Is(err, context.Canceled) {
		return err
	}
	reason, hint := strings.TrimPrefix(plain(err).Error(), "connect: "), ""
	timeout, ok := errors.AsType[net.Error](err)
	switch {
	case ok && timeout.Timeout(), errors.Is(err, net.ErrClosed): // a write under way, by the end of the wait for an answer
		reason, hint = "no answer", hintStopped
	case errors.Is(err, syscall.EAGAIN): // its queue of connections is full
		hint = hintStopped
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ECONNREFUSED):
		hint = " (is hellogate running? --control PATH names another socket)"
	case errors.Is(err, fs.ErrPermission):
		hint = " (the socket's mode and group say who may use it)"
	}
	return fmt.Errorf("control socket %s: %s%s", c.path, reason, hint)
}
