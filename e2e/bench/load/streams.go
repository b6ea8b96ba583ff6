package load

import (
	"fmt"
	"io"
	"net"
	"sync"
	"time"
)

const messageBytes = 64

// streams are connections that are made first and carry data then.
type streams struct {
	plan        Plan
	connections []net.Conn
	work        shared
}

// newStreams makes the connections.
func newStreams(plan Plan, dialer *dialer) (*streams, error) {
	s := &streams{plan: plan}
	for range plan.Connections {
		connection, err := dialer.stream(plan.Names.Name(0))
		if err != nil {
			s.close()
			return nil, err
		}
		s.connections = append(s.connections, connection)
		if plan.Mode != PingPong {
			continue
		}
		if err := echoByte(connection); err != nil {
			s.close()
			return nil, fmt.Errorf("echo: %w", err)
		}
	}
	return s, nil
}

func (s *streams) round(operations int64, tally *tally) {
	s.work.add(operations)
	share := operations / int64(len(s.connections))
	var all sync.WaitGroup
	for _, connection := range s.connections {
		all.Go(func() {
			err := connection.SetDeadline(time.Now().Add(patience))
			if err == nil {
				err = s.use(connection, share, tally)
			}
			if err != nil {
				tally.fail(err)
			}
		})
	}
	all.Wait()
}

func (s *streams) use(connection net.Conn, share int64, tally *tally) error {
	if s.plan.Mode == PingPong {
		return s.exchange(connection, tally)
	}
	move := receive
	if s.plan.Mode == Up {
		move = send
	}
	if err := move(connection, share, make([]byte, 256<<10)); err != nil {
		return err
	}
	tally.operations.Add(share)
	return nil
}

// exchange sends messages, each when the echo of the one before is there.
func (s *streams) exchange(connection net.Conn, tally *tally) error {
	message := make([]byte, messageBytes)
	for {
		if _, more := s.work.take(); !more {
			return nil
		}
		if _, err := connection.Write(message); err != nil {
			return err
		}
		if _, err := io.ReadFull(connection, message); err != nil {
			return err
		}
		tally.operations.Add(1)
	}
}

func (s *streams) close() {
	for _, connection := range s.connections {
		connection.Close()
	}
}
