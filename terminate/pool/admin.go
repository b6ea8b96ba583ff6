package pool

import (
	"errors"
	"fmt"
	"time"

	"github.com/rs/zerolog"
)

// Admin is what the operator wants of a server.
type Admin uint8

// The operator's wishes.
const (
	Enabled  Admin = iota
	Drain          // no new connections, the open ones go on
	Disabled       // no new connections, and the pool's owner may end the open ones
)

// ErrUnknownServer: no server is configured with the address.
var ErrUnknownServer = errors.New("no such server")

// SetAdmin sets what the operator wants of the server with a configured address, at all the addresses that it stands for.
// It holds until it is set again, through reloads.
func (p *Pool) SetAdmin(address string, to Admin) error {
	return p.operate(address, func(m *member) {
		before := m.admin
		m.admin = to
		for _, s := range m.servers {
			if before == Disabled && to == Enabled {
				s.rise(time.Now())
			}
			p.log(zerolog.InfoLevel, s, s.state(), "as the operator said")
		}
	})
}

// SetWeight sets the weight of the server with a configured address, at each of the addresses that it stands for, until
// it is set again or a reload changes the configured weight. 0: it gets no new connections; -1: as configured.
func (p *Pool) SetWeight(address string, weight int) error {
	if weight < asConfigured || weight > MaxWeight {
		return fmt.Errorf("weight %d is not from 0 to %d", weight, MaxWeight)
	}
	return p.operate(address, func(m *member) { m.override = weight })
}

func (p *Pool) operate(address string, do func(*member)) error {
	p.mu.Lock()
	defer p.unlock()
	m := p.find(address)
	if m == nil {
		return fmt.Errorf("backend %s: server %s: %w", p.options.Name, address, ErrUnknownServer)
	}
	do(m)
	p.grant()
	return nil
}
