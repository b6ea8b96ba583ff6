package terminate

import (
	"crypto/tls"
	"time"

	"hellogate/terminate/pool"
	"hellogate/terminate/proxyproto"
)

// Backend is where connections go: a pool of servers, and how they are spoken to. It is not changed once a Server has it,
// but for what its pool knows.
type Backend struct {
	Name  string
	Pool  *pool.Pool
	Proxy *proxyproto.Sender // of the PROXY header; nil: none is sent
	// TellsCertificate: the header tells of the certificate that the client was shown, too.
	TellsCertificate bool
	// StartTLS is how servers are asked for TLS, their own or that of clients that are passed through; the zero value: they
	// are not, but for such clients in the protocol that these spoke.
	StartTLS       StartTLS
	TLS            BackendTLS
	ConnectTimeout time.Duration // for each server tried
	DialTimeout    time.Duration // for all of them together, but not for the time in the queue
	Retries        int           // how many further servers are tried
}

// BackendTLS says how servers are spoken to over TLS. The zero value: they are not.
type BackendTLS struct {
	// Config returns the configuration that holds now, whose ServerName, when empty, is the name that the client asked for.
	// nil: there is no TLS. It is called for every connection.
	Config func() *tls.Config
	// PassALPN offers the protocol that was negotiated with the client, where one was.
	PassALPN bool
}

// on reports whether servers are spoken to over TLS.
func (t BackendTLS) on() bool { return t.Config != nil }

// config is the configuration for one connection.
func (t BackendTLS) config(name, protocol string) *tls.Config {
	config := t.Config()
	passes := t.PassALPN && protocol != ""
	if config.ServerName != "" && !passes {
		return config
	}
	config = config.Clone()
	if config.ServerName == "" {
		config.ServerName = name
	}
	if passes {
		config.NextProtos = []string{protocol}
	}
	return config
}
