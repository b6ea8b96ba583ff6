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
