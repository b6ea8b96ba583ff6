package soak

import (
	"crypto/tls"
	"errors"
	"fmt"
	"time"
)

// between is a number of bytes by lot.
func (a *attempt) between(least, most int64) int64 { return least + a.rng.Int64N(most-least+1) }

// within is a time by lot.
func (a *attempt) within(most time.Duration) time.Duration {
	return time.Duration(a.rng.Int64N(int64(most)))
}

func giving(n int64) step                       { return step{Do: give, Bytes: n} }
func taking(n int64) step                       { return step{Do: take, Bytes: n} }
func waiting(d time.Duration) step              { return step{Do: pause, For: d} }
func does(v verb) step                          { return step{Do: v} }
func steps(s ...step) script                    { return s }
func (t talk) echoing() talk                    { t.echoed = true; return t }
func (t talk) receiving(n int) talk             { t.receive = n; return t }
func (t talk) trickling(n int) talk             { t.trickle = n; return t }
func (t talk) in(c tls.ClientSessionCache) talk { t.sessions = c; return t }

var echoes = side{Read: steps(does(echo)), Write: steps(does(join), does(finish))}

// exchange is n bytes that come back.
func (a *attempt) exchange(n int64) talk {
	return a.newTalk(side{Read: steps(taking(n), does(end)), Write: steps(giving(n), does(finish))}, echoes).echoing()
}

func handshakeAndEcho(a *attempt) error { return a.run(a.exchange(a.between(1, 2000))) }

// resumption is up to four connections with one name and one memory for sessions.
func resumption(a *attempt) error {
	first := a.exchange(64).in(tls.NewLRUClientSessionCache(4))
	if err := a.run(first); err != nil {
		return err
	}
	for range 1 + a.rng.IntN(3) {
		if err := a.run(first); err != nil {
			return fmt.Errorf("again: %w", err)
		}
		a.resumptions.count(a.resumed)
	}
	return nil
}

func (a *attempt) tripping(n int64, gap time.Duration) error {
	return a.run(a.newTalk(side{
		Write: steps(step{Do: trips, Bytes: n, For: gap}, does(finish)),
		Read:  steps(does(join), does(end)),
	}, echoes).echoing())
}

func roundTrips(a *attempt) error {
	return a.tripping(a.between(10, 500), a.within(5*time.Millisecond))
}

// longRoundTrips go idle between one and the next, for a while.
func longRoundTrips(a *attempt) error {
	lifetime := min(a.duration/4, 30*time.Second)
	gap := a.within(min(idleTimeout/3, lifetime/3))
	return a.tripping(min(int64(lifetime/(gap+time.Millisecond))+1, 2000), gap)
}

func (a *attempt) bulk() int64 { return a.between(200_000, 6_000_000) }

func bulkDown(a *attempt) error {
	n := a.bulk()
	return a.run(a.newTalk(
		side{Read: steps(taking(n), does(end)), Write: steps(does(join), does(finish))},
		side{Read: steps(does(end)), Write: steps(giving(n), does(finish))},
	))
}

func bulkUp(a *attempt) error {
	n := a.bulk()
	return a.run(a.newTalk(
		side{Read: steps(does(end)), Write: steps(giving(n), does(finish))},
		side{Read: steps(taking(n), does(end)), Write: steps(does(join), does(finish))},
	))
}

func bulkBothWays(a *attempt) error {
	up, down := a.bulk(), a.bulk()
	return a.run(a.newTalk(
		side{Read: steps(taking(down), does(end)), Write: steps(giving(up), does(finish))},
		side{Read: steps(taking(up), does(end)), Write: steps(giving(down), does(finish))},
	))
}

func bulkEcho(a *attempt) error { return a.run(a.exchange(a.bulk())) }

func bytesOneByOne(a *attempt) error {
	up, down := a.between(1, 400), a.between(1, 400)
	return a.run(a.newTalk(
		side{Read: steps(taking(down), does(end)), Write: steps(step{Do: drip, Bytes: up}, does(finish))},
		side{Read: steps(taking(up), does(end)), Write: steps(step{Do: drip, Bytes: down}, does(finish))},
	))
}

// allInOneSegment sends the end of the handshake, everything it has to say, close_notify, and perhaps FIN at once.
func allInOneSegment(a *attempt) error {
	t := a.exchange(a.between(1, 30_000))
	t.version, t.atOnce = 0, true // in TLS 1.2 the server has a last word in the handshake
	if a.rng.IntN(2) == 0 {
		t.client.Write = append(t.client.Write, does(fin))
	}
	return a.run(t)
}

// segmentsOfAByte sends hello, handshake and the first records a byte at a time.
func segmentsOfAByte(a *attempt) error {
	return a.run(a.exchange(a.between(1, 5000)).trickling(int(a.between(1, 4000))))
}

const (
	smallReceive = 4 << 10         // has hellogate's send buffer fill, and stay full
	stall        = 2 * time.Second // the most that a side does nothing for
)

// untaken is more than the kernel holds for a side that does not read: the rest stays behind, in hellogate and before it.
func (a *attempt) untaken() int64 { return a.between(5_000_000, 9_000_000) }

func clientReadsSlowly(a *attempt) error {
	n := a.between(1_000_000, 6_000_000)
	return a.run(a.newTalk(
		side{
			Read:  steps(waiting(a.within(stall)), taking(n/3), waiting(a.within(stall)), taking(n/3), waiting(a.within(stall)), taking(n-2*(n/3)), does(end)),
			Write: steps(giving(100), does(join), does(finish)),
		},
		side{Read: steps(taking(100), does(end)), Write: steps(giving(n), does(finish))},
	).receiving(smallReceive))
}

func backendReadsSlowly(a *attempt) error {
	n := a.untaken()
	return a.run(a.newTalk(
		side{Read: steps(taking(100), does(end)), Write: steps(giving(n), does(finish))},
		side{
			Read:  steps(waiting(a.within(stall)), taking(n/3), waiting(a.within(stall)), taking(n/3), waiting(a.within(stall)), taking(n-2*(n/3)), does(end)),
			Write: steps(giving(100), does(join), does(finish)),
		},
	))
}

// nobodyReadsAtFirst fills everything both ways before either side reads.
func nobodyReadsAtFirst(a *attempt) error {
	up, down := a.untaken(), a.between(1_000_000, 4_000_000)
	return a.run(a.newTalk(
		side{Read: steps(waiting(a.within(stall)), taking(down), does(end)), Write: steps(giving(up), does(finish))},
		side{Read: steps(waiting(a.within(stall)), taking(up), does(end)), Write: steps(giving(down), does(finish))},
	).receiving(smallReceive))
}

func clientEndsFirst(a *attempt) error {
	up, down := a.between(0, 300_000), a.between(0, 300_000)
	return a.run(a.newTalk(
		side{Read: steps(taking(down), does(end)), Write: steps(giving(up), does(finish))},
		side{Read: steps(taking(up), does(end)), Write: steps(does(join), waiting(a.within(stall)), giving(down), does(finish))},
	))
}

func backendEndsFirst(a *attempt) error {
	up, down := a.between(0, 300_000), a.between(0, 300_000)
	return a.run(a.newTalk(
		side{Read: steps(taking(down), does(end)), Write: steps(does(join), waiting(a.within(stall)), giving(up), does(finish))},
		side{Read: steps(taking(up), does(end)), Write: steps(giving(down), does(finish))},
	))
}

func clientTruncates(a *attempt) error {
	up, down := a.between(0, 300_000), a.between(0, 300_000)
	return a.run(a.newTalk(
		side{Read: steps(taking(down), does(end)), Write: steps(giving(up), does(fin))},
		side{Read: steps(taking(up), does(end)), Write: steps(does(join), giving(down), does(finish))},
	))
}

// idleTooLong is ended by hellogate, as are the others that wait too long.
func idleTooLong(a *attempt) error {
	return a.run(a.newTalk(side{Read: steps(taking(1), does(cut))}, side{Read: steps(does(cut)), Write: steps(giving(1))}))
}

func halfClosedTooLong(a *attempt) error {
	return a.run(a.newTalk(
		side{Read: steps(does(cut)), Write: steps(giving(1), does(finish))},
		side{Read: steps(taking(1), does(end)), Write: steps(does(join), waiting(halfCloseTimeout+halfCloseTimeout/2), does(push))},
	))
}

func fullTooLong(a *attempt) error {
	return a.run(a.newTalk(
		side{Read: steps(waiting(idleTimeout+idleTimeout/2), does(cut))},
		side{Write: steps(does(push))},
	).receiving(smallReceive))
}

func unknownName(a *attempt) error {
	t := a.exchange(1)
	t.name = fmt.Sprintf("unknown%d.soak.test", a.rng.IntN(10_000))
	return a.refusal(t, alertUnrecognizedName)
}

func noName(a *attempt) error {
	t := a.exchange(1)
	t.name = "127.0.0.1" // crypto/tls sends no name for an address
	return a.refusal(t, alertUnrecognizedName, alertMissingExtension)
}

// The alerts that refusals use (RFC 8446, section 6).
const (
	alertMissingExtension = tls.AlertError(109)
	alertUnrecognizedName = tls.AlertError(112)
)

// refusal is a connection that has to end in one of the alerts.
func (a *attempt) refusal(t talk, alerts ...tls.AlertError) error {
	conn, err := a.connect(t)
	if err == nil {
		conn.wire.Close()
		return fmt.Errorf("%s was served", t.name)
	}
	alert, ok := remoteAlert(err)
	for _, want := range alerts {
		if ok && alert == want.Error() {
			return nil
		}
	}
	return fmt.Errorf("want %v: %w", errors.Join(asErrors(alerts)...), err)
}
