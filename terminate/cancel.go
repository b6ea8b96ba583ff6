package terminate

import (
	"context"
	"io"
	"sync/atomic"
	"time"

	"hellogate/terminate/preamble"
	"hellogate/terminate/socket"
)

// cancels counts the requests to cancel a query by what became of them.
type cancels struct{ passed, unknown, failed atomic.Uint64 }

func (c *cancels) snapshot() Cancels {
	return Cancels{c.passed.Load(), c.unknown.Load(), c.failed.Load()}
}

// cancel passes on the request to cancel another connection's query, to the very server that it is of. The client is
// answered by the end of its connection, whatever came of it: whoever tries keys learns nothing.
func (c *connection) cancel(life context.Context) (Reason, error) {
	reason, err := c.passCancel(life, *c.opening.Cancel)
	switch reason {
	case ReasonOK:
		c.server.cancels.passed.Add(1)
	case ReasonCancelUnknown:
		c.server.cancels.unknown.Add(1)
	default:
		c.server.cancels.failed.Add(1)
	}
	c.hangUp()
	return reason, err
}

func (c *connection) passCancel(life context.Context, key preamble.Key) (Reason, error) {
	other, ok := c.server.keys.Find(key)
	if !ok {
		return ReasonCancelUnknown, nil
	}
	c.to.backend, c.opening.name = other.to.backend, other.name
	if c.client.session == nil {
		c.name = other.name
	}
	c.stages.begin(stageConnect)
	c.show()
	header, err := c.announce()
	if err != nil {
		return ReasonProxyHeader, err
	}
	if err := c.connect(life, header, other.target(), time.Now().Add(c.to.backend.DialTimeout)); err != nil {
		return dialReason(err), err
	}
	c.to.address = other.to.address
	if c.to.isTold {
		header = nil
	}
	request := key.Request()
	c.bytes.up.moved.Store(int64(len(request)))
	return c.awaitEnd(append(header, request...))
}

// awaitEnd sends a server what there is to say, and waits for the end of its stream, which says that it took it.
func (c *connection) awaitEnd(request []byte) (Reason, error) {
	c.upstream.patient = true
	c.strand.SetDeadline(time.Now().Add(c.to.backend.ConnectTimeout))
	if _, err := c.upstream.Write(request); err != nil {
		return ReasonServerReset, err
	}
	_, err := io.CopyN(io.Discard, &c.upstream, lingerBytes)
	switch reason, _, err := c.diagnose(err); {
	case err == nil, reason == ReasonTruncated: // servers end it as they like
		return ReasonOK, nil
	case reason == ReasonTimeout:
		return ReasonTimeout, err
	default:
		return ReasonServerReset, err
	}
}

// target is the server that the connection is connected to, and no other of its name.
func (c *connection) target() socket.Target {
	if s := c.to.server; s != nil {
		return socket.Target{Network: s.Network(), Address: s.Endpoint()}
	}
	return socket.Target{Network: "tcp", Address: c.upstream.Remote().String(), Permit: c.to.permit}
}
