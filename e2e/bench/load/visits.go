package load

import (
	"crypto/tls"
	"errors"
	"sync"
)

// visits are connections that each live for one operation, made by so many clients at once.
type visits struct {
	plan     Plan
	dialer   *dialer
	sessions []tls.ClientSessionCache // one for each client, kept from round to round
	work     shared
}

func newVisits(plan Plan, dialer *dialer) *visits {
	v := &visits{plan: plan, dialer: dialer, sessions: make([]tls.ClientSessionCache, plan.Connections)}
	if plan.Mode == Resume {
		for i := range v.sessions {
			v.sessions[i] = tls.NewLRUClientSessionCache(4)
		}
	}
	return v
}

func (v *visits) round(operations int64, tally *tally) {
	v.work.add(operations)
	var clients sync.WaitGroup
	for _, sessions := range v.sessions {
		clients.Go(func() {
			for {
				number, more := v.work.take()
				if !more {
					return
				}
				if err := v.visit(v.plan.Names.Name(number), sessions, tally); err != nil {
					tally.fail(err)
					continue
				}
				tally.operations.Add(1)
			}
		})
	}
	clients.Wait()
}

func (v *visits) visit(name string, sessions tls.ClientSessionCache, tally *tally) error {
	connection, err := v.dialer.dial(name, sessions)
	if v.plan.Mode == Refused {
		return refusal(connection, err)
	}
	if err != nil {
		return err
	}
	defer connection.Close()
	if connection.ConnectionState().DidResume {
		tally.resumed.Add(1)
	}
	return v.dialer.exchange(connection)
}

// refusal is nil when the handshake was refused as it has to be.
func refusal(connection *tls.Conn, err error) error {
	if err == nil {
		connection.Close()
		return errors.New("not refused")
	}
	if alerted(err, alertUnrecognizedName) {
		return nil
	}
	return err
}

func (v *visits) close() {}
