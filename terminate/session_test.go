package terminate

import (
	"crypto/tls"
	"testing"
)

// sharedSessions offers one name's sessions to every other, as no honest client does.
type sharedSessions struct{ session *tls.ClientSessionState }

func (s *sharedSessions) Get(string) (*tls.ClientSessionState, bool) {
	return s.session, s.session != nil
}

func (s *sharedSessions) Put(_ string, session *tls.ClientSessionState) {
	if session != nil {
		s.session = session
	}
}

// A session resumes for the name it was made for, and means a full handshake, with the right certificate and no error,
// for any other.
func TestSessionsBoundToNames(t *testing.T) {
	tests := []struct {
		name, first, second string
		defaultName         string
		resumed             bool
	}{
		{"the same name", "a.test", "a.test", "", true},
		{"another case", "a.test", "A.Test", "", true},
		{"another name", "a.test", "b.test", "", false},
		{"no name after a name", "a.test", "", "a.test", false},
		{"a name after no name", "", "b.test", "a.test", false},
		{"no name twice", "", "", "a.test", true},
	}
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		for _, test := range tests {
			t.Run(tls.VersionName(version)+" "+test.name, func(t *testing.T) {
				b := startServer(t, func(o *setup) { o.Listeners[0].DefaultName = test.defaultName })
				sessions := &sharedSessions{}
				use := func(name string) *tls.Conn {
					client, err := b.dial(name, func(c *tls.Config) {
						c.ClientSessionCache, c.MinVersion, c.MaxVersion = sessions, version, version
						// The client would not offer one name's session for another by itself.
						c.InsecureSkipVerify = true
					})
					if err != nil {
						t.Fatal(err)
					}
					backend := b.accept()
					mustWrite(t, backend, []byte("."))
					_, _ = client.Read(make([]byte, 1)) // takes the tickets along
					backend.Close()
					client.Close()
					return client
				}
				use(test.first)
				state := use(test.second).ConnectionState()
				if state.DidResume != test.resumed {
					t.Errorf("resumed %v", state.DidResume)
				}
				if !test.resumed && test.second != "" && state.PeerCertificates[0].DNSNames[0] != test.second {
					t.Errorf("certificate for %q", state.PeerCertificates[0].DNSNames)
				}
			})
		}
	}
}

// A resumed session is looked up like any other: a name that is gone is refused, whatever ticket its client holds.
func TestSessionOfNameThatIsGone(t *testing.T) {
	certificates := lookups{}
	b := startServer(t, func(o *setup) { certificates = o.Certificates.(lookups) })
	sessions := tls.NewLRUClientSessionCache(1)
	client, err := b.dial("a.test", func(c *tls.Config) { c.ClientSessionCache = sessions })
	if err != nil {
		t.Fatal(err)
	}
	backend := b.accept()
	mustWrite(t, backend, []byte("."))
	_, _ = client.Read(make([]byte, 1))
	client.Close()
	backend.Close()
	b.wantReason(ReasonOK)
	delete(certificates, "a.test")
	if _, err := b.dial("a.test", func(c *tls.Config) { c.ClientSessionCache = sessions }); err == nil {
		t.Error("served")
	}
	b.wantReason(ReasonNoCert)
}

// The fallback gives no tickets.
func TestFallbackGivesNoTicket(t *testing.T) {
	b := startServer(t, func(o *setup) {
		o.Fallback = &Fallback{Certificate: o.Certificates.(lookups)["a.test"].(*tls.Certificate), OnUnknown: true}
	})
	sessions := &sharedSessions{}
	client, err := b.dial("unknown.test", func(c *tls.Config) { c.ClientSessionCache, c.InsecureSkipVerify = sessions, true })
	if err != nil {
		t.Fatal(err)
	}
	backend := b.accept()
	mustWrite(t, backend, []byte("."))
	_, _ = client.Read(make([]byte, 1))
	backend.Close()
	client.Close()
	if sessions.session != nil {
		t.Error("a ticket came")
	}
	if line := b.line(); line["cert"] != "fallback" {
		t.Errorf("line %v", line)
	}
}
