package pool

import (
	"context"
	"net"
	"sync"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

// The bounds of how long an answer is taken to live: a name is not asked for all the time because its owner says 0, and a
// mistake in its zone is not kept for days.
const (
	shortestLife = time.Second
	longestLife  = time.Hour
)

// lifetime finds out how long answers of DNS live, which net.Resolver keeps to itself: it reads along. What is read is
// only ever taken for that.
type lifetime struct {
	mutex    sync.Mutex
	shortest time.Duration // of the answers since it was last taken; 0: there were none
}

// resolver asks DNS as the system does, and l reads along. Where that does not ask by itself (the C library's does not),
// nothing is learned.
func (l *lifetime) resolver() *net.Resolver {
	return &net.Resolver{Dial: func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := new(net.Dialer).DialContext(ctx, network, address)
		if packets, ok := conn.(*net.UDPConn); ok {
			return readAlong{packets, l}, err
		}
		return conn, err
	}}
}

// readAlong is a connection to a name server. It must be a net.PacketConn to be taken for one of packets.
type readAlong struct {
	*net.UDPConn
	lifetime *lifetime
}

func (r readAlong) Read(p []byte) (int, error) {
	n, err := r.UDPConn.Read(p)
	r.lifetime.note(p[:n])
	return n, err
}

// note takes in what a name server sent.
func (l *lifetime) note(message []byte) {
	var parser dnsmessage.Parser
	if _, err := parser.Start(message); err != nil || parser.SkipAllQuestions() != nil {
		return
	}
	for {
		record, err := parser.AnswerHeader()
		if err != nil || parser.SkipAnswer() != nil {
			return
		}
		l.shorten(time.Duration(record.TTL) * time.Second)
	}
}

func (l *lifetime) shorten(life time.Duration) {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	life = min(max(life, shortestLife), longestLife)
	if l.shortest == 0 || life < l.shortest {
		l.shortest = life
	}
}

// take returns how long what was answered since the last call lives; otherwise where that is not known.
func (l *lifetime) take(otherwise time.Duration) time.Duration {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	life := l.shortest
	l.shortest = 0
	if life == 0 {
		return otherwise
	}
	return life
}
