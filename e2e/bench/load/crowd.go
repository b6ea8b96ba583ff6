package load

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"time"
)

const (
	// atOnce is how many connections a client of a crowd makes before it waits for their ends.
	atOnce = 16

	// silence is how long it takes at most to tell that a connection was not refused at once.
	silence = 500 * time.Millisecond

	// sure is how many are refused in a row, with pauses between them, when the limit is reached by those that are kept: a
	// proxy may still be counting one that is over.
	sure    = 3
	between = 50 * time.Millisecond

	mostFillers = 4 // the limit is lower
)

// crowd is connections that are ended before they say anything, made by so many clients at once.
type crowd struct {
	plan    Plan
	fillers []net.Conn // reach the limit
	work    shared
}

// newCrowd makes connections, and keeps them, until some in a row are refused.
func newCrowd(plan Plan) (*crowd, error) {
	c := &crowd{plan: plan}
	for refused := 0; refused < sure; {
		admitted, err := c.knock()
		switch {
		case err != nil:
			c.close()
			return nil, err
		case !admitted:
			refused++
			time.Sleep(between)
			continue
		case len(c.fillers) == mostFillers:
			c.close()
			return nil, fmt.Errorf("%d connections, and none is refused", mostFillers)
		}
		refused = 0
	}
	return c, nil
}

// knock makes a connection, which it keeps when it is admitted.
func (c *crowd) knock() (admitted bool, err error) {
	connection, err := c.dial()
	if err != nil || connection == nil {
		return false, err
	}
	err = ended(connection, silence)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		c.fillers = append(c.fillers, connection)
		return true, nil
	}
	return false, errors.Join(err, connection.Close())
}

// dial makes a connection; nil where it was reset at once.
func (c *crowd) dial() (net.Conn, error) {
	connection, err := net.DialTimeout("tcp", c.plan.Address, patience)
	if errors.Is(err, syscall.ECONNRESET) {
		return nil, nil
	}
	return connection, err
}

// ended is nil when the other side ends a connection, orderly or by a reset, before it has sent anything.
func ended(connection net.Conn, within time.Duration) error {
	if err := connection.SetReadDeadline(time.Now().Add(within)); err != nil {
		return err
	}
	n, err := connection.Read(make([]byte, 1))
	switch {
	case n > 0:
		return errors.New("refused with words")
	case errors.Is(err, io.EOF), errors.Is(err, syscall.ECONNRESET):
		return nil
	}
	return err
}

func (c *crowd) round(operations int64, tally *tally) {
	c.work.add(operations)
	var clients sync.WaitGroup
	for range c.plan.Connections {
		clients.Go(func() {
			for c.push(tally) {
			}
		})
	}
	clients.Wait()
}

// push makes some connections at once and sees them end. It reports whether there is more to do.
func (c *crowd) push(tally *tally) bool {
	made := make([]net.Conn, 0, atOnce)
	for range atOnce {
		if _, more := c.work.take(); !more {
			break
		}
		connection, err := c.dial()
		if err != nil {
			tally.fail(err)
			continue
		}
		made = append(made, connection)
	}
	for _, connection := range made {
		if err := leave(connection); err != nil {
			tally.fail(err)
			continue
		}
		tally.operations.Add(1)
	}
	return len(made) > 0
}

// leave sees a connection end. Its own end is a reset, so that none of the two sides remembers it for a minute.
func leave(connection net.Conn) error {
	if connection == nil {
		return nil
	}
	defer connection.Close()
	err := ended(connection, patience)
	_ = connection.(*net.TCPConn).SetLinger(0) // in vain after a reset
	return err
}

func (c *crowd) close() {
	for _, connection := range c.fillers {
		connection.Close()
	}
}
