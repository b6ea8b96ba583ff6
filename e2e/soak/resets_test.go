package soak

import (
	"errors"
	"net"
	"time"
)

func asErrors[T error](list []T) (errs []error) {
	for _, err := range list {
		errs = append(errs, err)
	}
	return errs
}

// remoteAlert is the text of the alert that ended a handshake.
func remoteAlert(err error) (string, bool) {
	var wrapped *net.OpError
	if !errors.As(err, &wrapped) || wrapped.Op != "remote error" {
		return "", false
	}
	return wrapped.Err.Error(), true
}

// What a side that resets has read before tells it that the other has its order.
var started = steps(taking(1))

func then(s script, more ...step) script { return append(s[:len(s):len(s)], more...) }

func clientResetsBeforeAWord(a *attempt) error {
	conn, err := a.connect(a.exchange(1))
	if err != nil {
		return err
	}
	if a.rng.IntN(2) == 0 {
		if err := a.send(conn, talk{name: conn.name}); err != nil { // an order to do nothing, which may never arrive
			return err
		}
	}
	time.Sleep(a.within(20 * time.Millisecond)) // hellogate connects, sends the header, or has done so
	conn.abort()
	return nil
}

func clientResetsWhileIdle(a *attempt) error {
	return a.run(a.newTalk(
		side{Read: then(started, waiting(a.within(stall)), does(reset))},
		side{Read: steps(does(cut)), Write: steps(giving(1))},
	))
}

func clientResetsDownload(a *attempt) error {
	return a.run(a.newTalk(
		side{Read: steps(taking(a.between(1, 1_000_000)), does(reset))},
		side{Write: steps(does(push))},
	))
}

func clientResetsFull(a *attempt) error {
	return a.run(a.newTalk(
		side{Read: then(started, waiting(a.within(stall)), does(reset))},
		side{Write: steps(does(push))},
	).receiving(smallReceive))
}

func clientResetsUpload(a *attempt) error {
	return a.run(a.newTalk(
		side{Read: then(started, waiting(a.within(stall/10)), does(reset)), Write: steps(giving(a.between(1, 10_000_000)))},
		side{Read: steps(does(cut)), Write: steps(giving(1))},
	))
}

// clientResetsUntaken resets while hellogate holds what the backend does not take: that comes before the reset.
func clientResetsUntaken(a *attempt) error {
	return a.run(a.newTalk(
		side{Read: then(started, waiting(stall/2), does(reset)), Write: steps(giving(a.untaken()))},
		side{Read: steps(waiting(stall/2+a.within(stall)), does(cut)), Write: steps(giving(1))},
	))
}

// Here hellogate has had the time to read all, and the other side takes it only after the reset.
const readBy = stall

func clientResetsBehind(a *attempt) error {
	n := a.between(1, 60_000)
	return a.run(a.newTalk(
		side{Read: then(started, does(join), waiting(readBy), does(reset)), Write: steps(giving(n))},
		side{Read: steps(waiting(readBy+a.within(stall)), taking(n), does(cut)), Write: steps(giving(1))},
	))
}

func backendResetsUntaken(a *attempt) error {
	n := a.between(1, 60_000)
	return a.run(a.newTalk(
		side{Read: steps(waiting(readBy+a.within(stall)), taking(n), does(cut))},
		side{Write: steps(giving(n), waiting(readBy), does(reset))},
	).receiving(smallReceive))
}

func clientResetsAfterEnd(a *attempt) error {
	n := a.between(1, 300_000)
	return a.run(a.newTalk(
		side{Read: steps(does(join), taking(1), waiting(a.within(stall/10)), does(reset)), Write: steps(giving(n), does(finish))},
		side{Read: steps(taking(n), does(end)), Write: steps(does(push))},
	))
}

func backendResetsAtOnce(a *attempt) error {
	return a.run(a.newTalk(side{Read: steps(does(cut))}, side{Read: steps(does(reset))}))
}

// backendResetsBehind resets when the client has all of it, and has said so.
func backendResetsBehind(a *attempt) error {
	n := a.between(1, 1_000_000)
	return a.run(a.newTalk(
		side{Read: steps(taking(n), giving(1), does(cut))},
		side{Read: steps(taking(1), does(reset)), Write: steps(giving(n))},
	))
}

func backendResetsSending(a *attempt) error {
	return a.run(a.newTalk(
		side{Read: steps(does(cut))},
		side{Write: steps(giving(a.between(1, 3_000_000)), does(reset))},
	))
}

func backendResetsFull(a *attempt) error {
	return a.run(a.newTalk(
		side{Read: steps(waiting(a.within(stall)), does(cut))},
		side{Read: steps(waiting(a.within(stall)), does(reset)), Write: steps(giving(a.untaken()))},
	).receiving(smallReceive))
}

func backendResetsUpload(a *attempt) error {
	return a.run(a.newTalk(
		side{Write: steps(does(push))},
		side{Read: steps(taking(a.between(1, 2_000_000)), does(reset))},
	))
}

func backendResetsAfterEnd(a *attempt) error {
	n := a.between(1, 300_000)
	return a.run(a.newTalk(
		side{Read: steps(taking(n), does(end)), Write: steps(does(join), does(push))},
		side{Read: steps(does(join), taking(a.between(1, 100_000)), does(reset)), Write: steps(giving(n), does(finish))},
	))
}

func backendResetsAfterClientsEnd(a *attempt) error {
	n := a.between(1, 300_000)
	return a.run(a.newTalk(
		side{Read: steps(does(cut)), Write: steps(giving(n), does(finish))},
		side{Read: steps(taking(n), does(end)), Write: steps(does(join), giving(a.between(1, 300_000)), does(reset))},
	))
}
