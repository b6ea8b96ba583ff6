package terminate

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"syscall"

	"hellogate/sni"
	"hellogate/terminate/clientauth"
)

// The alerts that this package sends by hand, because crypto/tls has no way to ask for them (RFC 8446, section 6.2).
const (
	alertAccessDenied          = 49
	alertProtocolVersion       = 70
	AlertInternalError         = 80
	alertMissingExtension      = 109
	AlertUnrecognizedName      = 112
	alertNoApplicationProtocol = 120
)

// refuse ends a connection whose handshake did not complete: with an alert, where one is due and crypto/tls has not
// sent its own, and a close that does not destroy it.
func (c *connection) refuse(err error) (Reason, error) {
	c.stages.end()
	reason, alert, err := c.diagnose(err)
	if alert != 0 {
		if _, unsent := c.client.transport.Write([]byte{21, 3, 3, 0, 2, 2, alert}); unsent != nil {
			c.client.Abort()
			return reason, err
		}
	}
	switch {
	case c.strand.IsCut(), reason == ReasonClientReset:
		c.client.Abort()
	case c.stages.at <= stageHello && c.stages.at != stagePreamble && alert == 0 && len(c.hello.Recorded()) == 0:
		_ = c.client.Close()
	default:
		c.client.finish(c.plan.Limits.Alert)
	}
	return reason, err
}

// diagnose tells why a handshake failed, and which alert the client is still to be sent.
func (c *connection) diagnose(err error) (Reason, uint8, error) {
	if refused, ok := errors.AsType[*refusal](err); ok {
		return refused.reason, refused.alert, refused.err
	}
	if hello, ok := errors.AsType[*sni.HelloError](err); ok {
		return Reason(hello.Fault), hello.Alert, hello.Err
	}
	remote, isOp := errors.AsType[*net.OpError](err)
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		return ReasonTimeout, 0, err
	case isOp && remote.Op == "remote error":
		return ReasonClientAlert, 0, err
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return ReasonTruncated, 0, err
	case errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		return ReasonClientReset, 0, err
	case errors.Is(err, context.Canceled):
		return ReasonDrained, 0, err
	case clientauth.Refused(err):
		return ReasonClientCertificate, 0, err // crypto/tls has sent the alert
	default:
		return ReasonHandshake, 0, err // crypto/tls has sent the alert
	}
}

// turnAway ends a connection that no server was found for: what its client still waits for decides how.
func (c *connection) turnAway(err error) (Reason, error) {
	if c.client.session == nil {
		return c.refuse(err)
	}
	return c.reset(err)
}

// reset ends a connection whose handshake completed but which can't be carried: by a reset, because a close_notify
// would say that the server had nothing to say.
func (c *connection) reset(err error) (Reason, error) {
	c.client.Abort()
	if refused, ok := errors.AsType[*refusal](err); ok {
		return refused.reason, refused.err
	}
	return ReasonInternal, err
}
