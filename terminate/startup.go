package terminate

import (
	"errors"
	"time"

	"hellogate/terminate/preamble"
)

// startUp reads the first message of a PostgreSQL client within TLS, before a server is picked for it: it may want a
// query cancelled, for which there is one server only.
func (c *connection) startUp() error {
	if !c.postgres || c.client.session == nil {
		return nil
	}
	c.stages.begin(stageStartup)
	c.show()
	c.strand.SetDeadline(time.Now().Add(c.plan.Limits.Hello))
	startup, err := preamble.ReadStartup(c.client.session)
	c.opening.startup, c.opening.Cancel = startup.Message, startup.Cancel
	return err
}

// dismiss ends a connection after its handshake, because of what the client said first.
func (c *connection) dismiss(err error) (Reason, error) {
	var told *preamble.Error
	isTold := errors.As(err, &told)
	reason, _, err := c.diagnose(preambleRefusal(err))
	if isTold {
		c.hangUp()
	} else {
		c.client.Abort()
	}
	return reason, err
}

// hangUp ends the client's stream in order, after all that it was sent.
func (c *connection) hangUp() {
	c.stages.end()
	if err := c.client.sayEnd(); err != nil {
		c.client.Abort()
		return
	}
	c.client.finish(c.plan.Limits.Alert)
}

// keyWatch looks for the key with which the query of a connection can be cancelled, in what its server sends.
type keyWatch struct {
	scanner    preamble.Scanner
	connection *connection
}

// see is given what the server sent next, and reports whether that was enough.
func (w *keyWatch) see(p []byte) (enough bool) {
	if !w.scanner.Scan(p) {
		return false
	}
	if key, ok := w.scanner.Key(); ok {
		if release, kept := w.connection.server.keys.Add(key, w.connection); kept {
			w.connection.forgetKey = release
		}
	}
	return true
}

// mostKeys bounds the keys that are kept; each connection has one at most.
const mostKeys = 1 << 20
