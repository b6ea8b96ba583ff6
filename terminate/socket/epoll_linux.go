//go:build !noepoll

package socket

import (
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"

	"golang.org/x/sys/unix"
)

// Group is the pollers that serve a program's sockets, one for each processor.
type Group struct {
	workers workers
	pollers []*poller
	turn    atomic.Uint32
	group   sync.WaitGroup
}

// Start returns a running Group. The caller closes it.
func Start() (*Group, error) {
	g := &Group{}
	g.workers.start()
	for range runtime.GOMAXPROCS(0) {
		p, err := newPoller()
		if err != nil {
			g.Close()
			return nil, err
		}
		g.pollers = append(g.pollers, p)
		g.group.Go(p.run)
	}
	return g, nil
}

// Close ends the group, when the last of its strands is over.
func (g *Group) Close() {
	g.workers.close()
	for _, p := range g.pollers {
		_ = p.file.Close()
	}
	g.group.Wait()
}

// next is the poller for the next connection.
func (g *Group) next() *poller { return g.pollers[int(g.turn.Add(1))%len(g.pollers)] }

// poller tells sockets when they are ready, and runs their strands where that takes a moment only.
//
// Its descriptor is itself polled by Go's poller, so that it waits like any goroutine: one that waited in epoll_wait
// would hold a thread, and each wake-up would pass a processor from thread to thread.
type poller struct {
	file  *os.File
	raw   syscall.RawConn
	fd    int
	ready []unix.EpollEvent
	found int

	mutex sync.Mutex // guards what follows
	slots []slot
	free  []uint32
}

// slot is where a socket is found. The descriptor alone would not do: it may be another socket's by the time that an
// event is looked at.
type slot struct {
	socket     *conn
	generation uint32
}

// batch is how many events are taken at once: enough to make the call cheap, and soon through.
const batch = 128

func newPoller() (*poller, error) {
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, os.NewSyscallError("epoll_create1", err)
	}
	if err := unix.SetNonblock(fd, true); err != nil { // what makes os.NewFile poll it
		_ = unix.Close(fd)
		return nil, os.NewSyscallError("fcntl", err)
	}
	p := &poller{file: os.NewFile(uintptr(fd), "epoll"), fd: fd, ready: make([]unix.EpollEvent, batch)}
	if p.raw, err = p.file.SyscallConn(); err != nil {
		_ = p.file.Close()
		return nil, err
	}
	return p, nil
}

// run serves until the poller is closed.
func (p *poller) run() {
	var sockets [batch]*conn
	for p.raw.Read(p.poll) == nil {
		p.resolve(&sockets)
		for i := range p.found {
			if s := sockets[i]; s != nil {
				s.happened(p.ready[i].Events)
				sockets[i] = nil
			}
		}
		runtime.Gosched() // what was woken comes first, and Go's own poller is looked at
	}
}

// poll takes what has happened, and reports whether anything has.
func (p *poller) poll(uintptr) bool {
	n, err := epollNow(p.fd, p.ready)
	if err != 0 {
		n = 0
	}
	p.found = n
	return n > 0
}

// resolve finds the sockets that events are for, all under one lock.
func (p *poller) resolve(sockets *[batch]*conn) {
	p.mutex.Lock()
	defer p.mutex.Unlock()
	for i := range p.found {
		event := &p.ready[i]
		if at := p.slots[event.Fd]; at.generation == uint32(event.Pad) {
			sockets[i] = at.socket
		}
	}
}

// add begins to watch a socket, for what events says besides the ends of the stream.
func (p *poller) add(c *conn, events uint32) error {
	p.mutex.Lock()
	c.slot = p.take(c)
	c.generation = p.slots[c.slot].generation
	p.mutex.Unlock()
	err := p.control(unix.EPOLL_CTL_ADD, c, events)
	if err != nil {
		p.remove(c)
	}
	return err
}

func (p *poller) take(c *conn) uint32 {
	if len(p.free) == 0 {
		p.slots = append(p.slots, slot{socket: c})
		return uint32(len(p.slots) - 1)
	}
	at := p.free[len(p.free)-1]
	p.free = p.free[:len(p.free)-1]
	p.slots[at].socket = c
	return at
}

// change watches a socket for other events from now on, and tells of those that have happened before.
func (p *poller) change(c *conn, events uint32) error {
	return p.control(unix.EPOLL_CTL_MOD, c, events)
}

func (p *poller) control(operation int, c *conn, events uint32) error {
	event := unix.EpollEvent{Events: events | unix.EPOLLRDHUP | unix.EPOLLET, Fd: int32(c.slot), Pad: int32(c.generation)}
	return systemError("epoll_ctl", epollControl(p.fd, operation, c.fd, &event))
}

// remove forgets a socket that is about to be closed; the kernel stops watching it then.
func (p *poller) remove(c *conn) {
	p.mutex.Lock()
	defer p.mutex.Unlock()
	p.slots[c.slot] = slot{generation: c.generation + 1}
	p.free = append(p.free, c.slot)
}
