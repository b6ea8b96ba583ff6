package permission

import (
	"context"
	"errors"
	"net"
	"net/http"
	"time"

	"hellogate/store"
)

// endpoint is what is asked.
type endpoint struct{ store.Address }

func parseEndpoint(text string, plaintext bool) (endpoint, error) {
	exposed := "anybody on the way could permit any name"
	if plaintext {
		exposed = ""
	}
	where, err := store.ParseAddress(text, exposed)
	return endpoint{where}, err
}

// request is the question for a name.
func (e *endpoint) request(ctx context.Context, name string) (*http.Request, error) {
	where := *e.Base()
	query := where.Query()
	query.Set("domain", name)
	where.RawQuery = query.Encode()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, where.String(), nil)
	if err != nil {
		return nil, errors.New("the request could not be made of the url")
	}
	request.Header.Set("User-Agent", "hellogate")
	return request, nil
}

// transport speaks HTTP/1.1 alone, so that the pool is bounded by what it says, and uses no proxy.
func (o Options) transport(where endpoint) (*http.Transport, error) {
	config, err := store.ClientTLS(o.CAFile, "", "", false)
	if err != nil {
		return nil, err
	}
	// A dial may outlive the request that began it, for the next one's sake; this ends it.
	dialer := &net.Dialer{Timeout: o.Timeout + time.Second}
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	return &http.Transport{
		Protocols: protocols,
		DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			if socket := where.Socket(); socket != "" {
				network, address = "unix", socket
			}
			return dialer.DialContext(ctx, network, address)
		},
		TLSClientConfig:        config,
		TLSHandshakeTimeout:    dialer.Timeout,
		DisableCompression:     true,
		MaxConnsPerHost:        asking,
		MaxIdleConns:           asking,
		MaxIdleConnsPerHost:    asking,
		IdleConnTimeout:        30 * time.Second,
		MaxResponseHeaderBytes: 16 << 10,
	}, nil
}
