package load

import (
	"crypto/tls"
	"sync"
	"time"
)

// burst is how many connections are being made at once.
const burst = 16

// held are connections that do a little, or move their share of data, and are idle from then on.
type held struct {
	plan   Plan
	dialer *dialer

	mutex       sync.Mutex
	connections []*tls.Conn
}

func (h *held) round(operations int64, tally *tally) {
	if h.plan.Mode == Keep && len(h.connections) > 0 {
		h.visit(tally)
		return
	}
	var work shared
	work.add(operations)
	var clients sync.WaitGroup
	for range burst {
		clients.Go(func() {
			buffer := make([]byte, 64<<10)
			for {
				number, more := work.take()
				if !more {
					return
				}
				if err := h.hold(h.plan.Names.Name(number), buffer); err != nil {
					tally.fail(err)
					continue
				}
				tally.operations.Add(1)
			}
		})
	}
	clients.Wait()
}

// visit has every connection echo a byte.
func (h *held) visit(tally *tally) {
	var work shared
	work.add(int64(len(h.connections)))
	var clients sync.WaitGroup
	for range burst {
		clients.Go(func() {
			for number, more := work.take(); more; number, more = work.take() {
				if err := echoOnce(h.connections[number]); err != nil {
					tally.fail(err)
					continue
				}
				tally.operations.Add(1)
			}
		})
	}
	clients.Wait()
}

func echoOnce(connection *tls.Conn) error {
	if err := connection.SetDeadline(time.Now().Add(patience)); err != nil {
		return err
	}
	if err := echoByte(connection); err != nil {
		return err
	}
	return connection.SetDeadline(time.Time{})
}

func (h *held) hold(name string, buffer []byte) error {
	connection, err := h.dialer.dial(name, nil)
	if err != nil {
		return err
	}
	h.mutex.Lock()
	h.connections = append(h.connections, connection)
	h.mutex.Unlock()
	if h.plan.Transfer > 0 {
		err = receive(connection, h.plan.Transfer, buffer)
		if err == nil {
			err = send(connection, h.plan.Transfer, buffer)
		}
	} else {
		err = echoByte(connection)
	}
	if err != nil {
		return err
	}
	return connection.SetDeadline(time.Time{})
}

// close leaves it to the end of the process to close thousands of connections without a word each.
func (h *held) close() {}
