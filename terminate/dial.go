package terminate

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"syscall"
	"time"

	"hellogate/terminate/pool"
	"hellogate/terminate/socket"
)

// destination is what a connection is spliced to.
type destination struct {
	backend *Backend
	// addresses are servers that a store named, in place of the backend's own, and permit says which may be dialled.
	addresses []string
	permit    func(netip.Addr) bool

	address string       // of the server that it is connected to, as configured
	server  *pool.Server // that, unless a store named it; nil: it is not connected
	answer  bool         // something came from the server
	isTold  bool         // it was sent the header
}

// dial connects to a server, or on failure to another, until the time for all of it is over.
func (c *connection) dial(life context.Context, header []byte) error {
	c.stages.begin(stageConnect)
	c.show()
	var failures []string
	var err error
	if len(c.to.addresses) == 0 {
		failures, err = c.dialPool(life, header)
	} else {
		failures, err = c.dialAddresses(life, header)
	}
	if err == nil {
		return nil
	}
	prefix := fmt.Sprintf("backend %s: ", c.to.backend.Name) // which the pool's own error has already
	failures = slices.Compact(append(failures, strings.TrimPrefix(err.Error(), prefix)))
	return &refusal{dialReason(err), AlertInternalError, errors.New(prefix + strings.Join(failures, "; "))}
}

func dialReason(err error) Reason {
	switch {
	case errors.Is(err, errGone):
		return ReasonClientReset
	case errors.Is(err, pool.ErrFull), errors.Is(err, pool.ErrQueueFull):
		return ReasonQueue
	case saysNo(err):
		return ReasonServerRefused
	}
	return ReasonNoBackend
}

// dialPool connects to a server that the backend's pool picks.
func (c *connection) dialPool(life context.Context, header []byte) (failures []string, err error) {
	backend := c.to.backend
	var tried []*pool.Server
	until := time.Time{}
	for {
		server, err := c.pick(tried, until)
		if err != nil {
			return failures, err
		}
		if until.IsZero() { // from now on: the time in the queue is apart
			until = time.Now().Add(backend.DialTimeout)
		}
		hurried := len(tried) > 0 && time.Until(until) < backend.ConnectTimeout
		c.dialed.Store(server)
		err = c.connect(life, header, socket.Target{Network: server.Network(), Address: server.Endpoint()}, until)
		if err == nil {
			server.Succeeded()
			c.to.server, c.to.address = server, server.Address()
			return nil, nil
		}
		// A server is not to blame for the little time that those before it left, nor for what is short here.
		if !c.strand.IsCut() && !(hurried && isTimeout(err)) && !isShortage(err) && !saysNo(err) {
			c.blame(server, err)
		}
		server.Release()
		if tried = append(tried, server); len(tried) > backend.Retries || c.strand.IsCut() || saysNo(err) || !time.Now().Before(until) {
			return failures, err
		}
		failures = append(failures, err.Error())
	}
}

// blame tells the pool of a server that failed. What it did once it was connected to may be for the client's sake, of whom the
// header and the hello tell: one client must not bring servers down for all.
func (c *connection) blame(server *pool.Server, err error) {
	if _, met := errors.AsType[*unprepared](err); met {
		server.FailedFor(c.source.Addr(), err)
		return
	}
	server.Failed(err)
}

// unprepared is the failure of a server that was connected to: see prepare.
type unprepared struct {
	address string
	err     error
}

func (e *unprepared) Error() string { return fmt.Sprintf("dial %s: %v", e.address, e.err) }
func (e *unprepared) Unwrap() error { return e.err }

func isTimeout(err error) bool {
	failed, ok := errors.AsType[net.Error](err)
	return ok && failed.Timeout()
}

// isShortage reports whether this machine had not what a connection takes: descriptors, memory, a port.
func isShortage(err error) bool {
	failed, ok := errors.AsType[syscall.Errno](err)
	return ok && slices.Contains([]syscall.Errno{syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, syscall.ENOMEM, syscall.EADDRNOTAVAIL}, failed)
}

// pick has the pool pick a server, and waits for one while all are full, or none is known yet: until the time given at most,
// if there is one.
func (c *connection) pick(tried []*pool.Server, until time.Time) (*pool.Server, error) {
	key := pool.Key{Client: c.source.Addr(), Name: c.name}
	server, why := c.to.backend.Pool.Pick(key, tried)
	if !pool.MayWait(why) {
		return server, why
	}
	ticket, err := c.to.backend.Pool.Enter(key, tried, c.strand.Wake)
	if err != nil {
		return nil, err
	}
	defer ticket.Leave()
	c.strand.SetDeadline(earliest(ticket.Deadline(), until))
	for {
		if server, err := ticket.Server(); server != nil || err != nil {
			return server, err
		}
		if err := c.await(); err != nil {
			return nil, fmt.Errorf("%w: %w", why, err)
		}
	}
}

// dialAddresses connects to one of the addresses that a store named.
func (c *connection) dialAddresses(life context.Context, header []byte) (failures []string, err error) {
	backend := c.to.backend
	until := time.Now().Add(backend.DialTimeout)
	first := int(c.id[len(c.id)-1]) // connections take turns, more or less
	for i := range min(1+backend.Retries, len(c.to.addresses)) {
		address := c.to.addresses[(first+i)%len(c.to.addresses)]
		err = c.connect(life, header, socket.Target{Network: "tcp", Address: address, Permit: c.to.permit}, until)
		if err == nil {
			c.to.address = address
			return nil, nil
		}
		if c.strand.IsCut() || saysNo(err) || !time.Now().Before(until) {
			break
		}
		failures = append(failures, err.Error())
	}
	return failures, err
}

// connect connects to one server, beside the client's socket, and makes the connection fit to carry the client's bytes.
func (c *connection) connect(life context.Context, header []byte, to socket.Target, until time.Time) error {
	until = earliest(until, time.Now().Add(c.to.backend.ConnectTimeout))
	to.Within = time.Until(until)
	conn, err := c.server.sockets.Dial(life, &c.strand, c.client.Conn, to)
	if err != nil {
		return err
	}
	conn.SetUserTimeout(c.plan.Limits.UserTimeout)
	c.upstream = stream{transport: transport{Conn: conn, strand: &c.strand}, onReset: ReasonServerReset}
	c.strand.SetDeadline(until)
	if err := c.prepare(header); err != nil {
		c.upstream.Abort()
		return &unprepared{to.Address, err}
	}
	return nil
}

// connected reports whether there is a server.
func (d *destination) connected() bool { return d.address != "" }

// heard tells the pool of the first that comes from a server.
func (d *destination) heard(bytes int64) {
	if bytes > 0 && !d.answer && d.server != nil {
		d.answer = true
		d.server.Answered()
	}
}

// release gives the server back. One that reset the connection before it sent anything is told of.
func (d *destination) release(reason Reason, client netip.Addr) {
	if d.server == nil {
		return
	}
	if reason == ReasonServerReset && !d.answer {
		d.server.EarlyReset(client)
	}
	d.server.Release()
}
