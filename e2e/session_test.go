package e2e

import (
	"crypto/tls"
	"testing"
)

// wallet is a session cache that offers the last ticket it was given to whoever is asked.
type wallet struct {
	last  *tls.ClientSessionState
	given int
}

func (w *wallet) Get(string) (*tls.ClientSessionState, bool) { return w.last, w.last != nil }

func (w *wallet) Put(_ string, session *tls.ClientSessionState) {
	if session != nil {
		w.last = session
		w.given++
	}
}

// A ticket of one name is good for that name and no other: there it leads to a full handshake with the right certificate.
func TestTicketIsBoundToName(t *testing.T) {
	t.Parallel()
	for name, version := range map[string]uint16{"TLS 1.2": tls.VersionTLS12, "TLS 1.3": tls.VersionTLS13} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			tickets := &wallet{}
			connect := func(name string) *client {
				c := w.dial(name, maxVersion(version), sessions(tickets), anyCertificate)
				c.wantEcho(t, "hello") // and takes the tickets, which come after the handshake in TLS 1.3
				c.Close()
				if got := c.fingerprint(); got != w.store.pairFor(name).fingerprint() {
					t.Errorf("%s got the certificate %v", name, c.ConnectionState().PeerCertificates[0].Subject)
				}
				return c
			}
			if connect("a.example"); tickets.given == 0 {
				t.Fatal("no ticket was given")
			}
			if !connect("a.example").ConnectionState().DidResume {
				t.Error("the ticket was not taken for its own name")
			}
			if connect("b.example").ConnectionState().DidResume {
				t.Error("the ticket of a.example was taken for b.example")
			}
		})
	}
}

// A name that has no certificate any more is refused, also with a ticket from when it had one.
func TestTicketOfNameThatIsGone(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	tickets := &wallet{}
	w.visit("a.example", sessions(tickets))
	w.store.on("a.example", status(404))
	w.flush("a.example")
	w.refused("a.example", alertUnrecognizedName, sessions(tickets))
}

// No ticket comes with the fallback: it would be good for nobody's name.
func TestNoTicketForFallback(t *testing.T) {
	t.Parallel()
	_, overrides := withFallback(t)
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		w := newWorld(t, overrides)
		w.store.on("gone.example", status(404))
		tickets := &wallet{}
		w.visit("gone.example", maxVersion(version), sessions(tickets), anyCertificate)
		if tickets.given != 0 {
			t.Errorf("%s: %d tickets were given", tls.VersionName(version), tickets.given)
		}
	}
}

// A resumed connection tells the backend what a full one does.
func TestResumedConnectionTellsBackend(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	tickets := &wallet{}
	w.visit("a.example", sessions(tickets))
	w.visit("a.example", sessions(tickets))
	full, resumed := w.backend.next(t).header, w.backend.next(t).header
	if full.Authority != "a.example" || resumed.Authority != "a.example" || *full.SSL != *resumed.SSL {
		t.Errorf("told %q %+v, then %q %+v", full.Authority, full.SSL, resumed.Authority, resumed.SSL)
	}
	w.access("resumed", "true")
}
