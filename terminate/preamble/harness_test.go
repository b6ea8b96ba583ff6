package preamble

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// talk is a conversation with a peer: what it sends begins with ">", what it is to be sent by then with "<".
type talk []string

// peer plays its part of a talk. Each of its turns is a segment, or comes byte by byte.
type peer struct {
	t      *testing.T
	left   talk
	piece  int    // bytes a read at most; 0: the segment
	turn   []byte // what is left of its turn
	got    bytes.Buffer
	finish error // of the reads behind the last turn
}

func newPeer(t *testing.T, script talk, piece int) *peer {
	return &peer{t: t, left: script, piece: piece, finish: io.EOF}
}

func (p *peer) Write(b []byte) (int, error) { return p.got.Write(b) }

func (p *peer) Read(b []byte) (int, error) {
	if len(b) == 0 {
		p.t.Error("a read of nothing")
	}
	if len(p.turn) == 0 {
		p.listen()
		if len(p.left) == 0 {
			return 0, p.finish
		}
		p.turn, p.left = []byte(p.left[0][1:]), p.left[1:]
		if len(p.turn) == 0 {
			return 0, p.finish
		}
	}
	n := len(p.turn)
	if p.piece > 0 {
		n = min(n, p.piece)
	}
	n = copy(b, p.turn[:n])
	p.turn = p.turn[n:]
	return n, nil
}

// listen checks what was said since the peer's last turn.
func (p *peer) listen() {
	p.t.Helper()
	want := ""
	for len(p.left) > 0 && strings.HasPrefix(p.left[0], "<") {
		want += p.left[0][1:]
		p.left = p.left[1:]
	}
	if got := p.got.String(); got != want {
		p.t.Errorf("was sent %q, want %q", got, want)
	}
	p.got.Reset()
}

// unread is what the peer sent that nobody has read.
func (p *peer) unread() string {
	rest := string(p.turn)
	for _, turn := range p.left {
		if turn[0] == '>' {
			rest += turn[1:]
		}
	}
	return rest
}

func checkFault(t *testing.T, err error, want Fault) {
	t.Helper()
	failed, ok := errors.AsType[*Error](err)
	switch {
	case want == "" && err != nil:
		t.Errorf("error %v", err)
	case want != "" && !ok:
		t.Errorf("error %v, want %s", err, want)
	case want != "" && failed.Fault != want:
		t.Errorf("fault %s (%v), want %s", failed.Fault, err, want)
	}
}

// client is a client's preamble, and what it comes to.
type client struct {
	name    string
	script  talk
	segment bool   // it comes to that only when all comes in a segment
	fault   Fault  // empty: TLS begins
	says    string // in the error
}

// negotiate has each client's preamble read, in segments and byte by byte.
func negotiate(t *testing.T, p Protocol, clients []client) {
	for _, test := range clients {
		for _, piece := range []int{0, 1, 3} {
			if test.segment && piece > 0 {
				continue
			}
			t.Run(test.name, func(t *testing.T) {
				peer := newPeer(t, test.script, piece)
				opening, err := p.Negotiate(peer, "mx.example")
				checkFault(t, err, test.fault)
				if test.says != "" && (err == nil || !strings.Contains(err.Error(), test.says)) {
					t.Errorf("error %v, want %q in it", err, test.says)
				}
				if opening.Direct || opening.Unread != nil || opening.Cancel != nil || opening.ALPN != "" {
					t.Errorf("opening %+v", opening)
				}
				peer.listen()
				if rest := peer.unread(); rest != "" && test.fault == "" {
					t.Errorf("%q is not read", rest)
				}
			})
		}
	}
}

// server is a server that is asked for TLS, or whose greeting is swallowed.
type server struct {
	name    string
	script  talk
	segment bool
	fault   Fault
	says    string
}

func request(t *testing.T, p Protocol, servers []server) {
	for _, test := range servers {
		for _, piece := range []int{0, 1, 3} {
			if test.segment && piece > 0 {
				continue
			}
			t.Run(test.name, func(t *testing.T) {
				peer := newPeer(t, test.script, piece)
				err := p.Request(peer, "lb.example")
				checkFault(t, err, test.fault)
				if test.says != "" && (err == nil || !strings.Contains(err.Error(), test.says)) {
					t.Errorf("error %v, want %q in it", err, test.says)
				}
				peer.listen()
			})
		}
	}
}

// welcome is a server's greeting, and what becomes of it.
type welcome struct {
	name, said      string
	refusal, unread string
	segment         bool
	fault           Fault
}

func swallow(t *testing.T, p Protocol, welcomes []welcome) {
	for _, test := range welcomes {
		t.Run(test.name, func(t *testing.T) {
			for _, piece := range []int{0, 1} {
				if test.segment && piece > 0 {
					continue
				}
				peer := newPeer(t, talk{">" + test.said}, piece)
				got, err := p.Swallow(peer)
				checkFault(t, err, test.fault)
				if string(got.Refusal) != test.refusal {
					t.Errorf("refusal %q, want %q", got.Refusal, test.refusal)
				}
				if rest := string(got.Unread) + peer.unread(); test.fault == "" && rest != test.unread {
					t.Errorf("unread %q, want %q", rest, test.unread)
				}
			}
		})
	}
}

// The connection's own errors stay what they are, for whoever classes them.
func TestConnectionErrors(t *testing.T) {
	lost := errors.New("lost")
	for name, protocol := range protocols {
		p := newPeer(t, nil, 0)
		p.finish = lost
		if _, err := protocol.Negotiate(mute{p}, "mx.example"); err != lost {
			t.Errorf("%s: negotiate: %v", name, err)
		}
		if err := protocol.Request(mute{p}, "lb.example"); err != lost {
			t.Errorf("%s: request: %v", name, err)
		}
		if _, err := protocol.Negotiate(deaf{}, "mx.example"); err != errDeaf && err != io.ErrNoProgress {
			t.Errorf("%s: negotiate without writing: %v", name, err)
		}
	}
}

// mute throws away what it is sent.
type mute struct{ io.Reader }

func (mute) Write(p []byte) (int, error) { return len(p), nil }

var errDeaf = errors.New("deaf")

// deaf can't be sent anything, and has nothing to read.
type deaf struct{}

func (deaf) Read([]byte) (int, error)  { return 0, nil }
func (deaf) Write([]byte) (int, error) { return 0, errDeaf }
