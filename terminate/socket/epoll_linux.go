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
	g.workers.start(g.relieve)
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
func (g *Group) next() *poller { return g.pollers[g.turn.Add(1)%uint32(len(g.pollers))] }

// poller tells sockets when they are ready, and runs their strands where that takes a moment only.
//
// Its descriptor is itself polled by Go's poller, so that it waits like any goroutine: one that waited in epoll_wait
// would hold a thread, and each wake-up would pass a processor from thread to thread.
type poller struct {
	file *os.File
	raw  syscall.RawConn
	fd   int

	serving sync.Mutex // guards what follows
	events  [batch]unix.EpollEvent
	sockets [batch]*conn

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
	p := &poller{file: os.NewFile(uintptr(fd), "epoll"), fd: fd}
	if p.raw, err = p.file.SyscallConn(); err != nil {
		_ = p.file.Close()
		return nil, err
	}
	return p, nil
}

// run serves until the poller is closed.
func (p *poller) run() {
	serve := func(uintptr) bool { return p.serve() }
	for p.raw.Read(serve) == nil {
		runtime.Gosched() // what was woken comes first, and Go's own poller is looked at
	}
}

// serve sees to what has happened, and reports whether anything has.
func (p *poller) serve() bool {
	p.serving.Lock()
	defer p.serving.Unlock()
	return p.dispatch()
}

// dispatch is serve, with the lock held.
func (p *poller) dispatch() bool {
	n, err := epollNow(p.fd, p.events[:])
	if err != 0 || n == 0 {
		return false
	}
	p.resolve(n)
	for i, s := range p.sockets[:n] {
		if s != nil {
			s.happened(p.events[i].Events)
			p.sockets[i] = nil
		}
	}
	return true
}

// relieve serves one of the pollers, unless it is being served, for a goroutine that has been busy for long: where all
// processors are, Go looks at its own poller every 10 ms only.
func (g *Group) relieve() {
	if p := g.next(); p.serving.TryLock() {
		defer p.serving.Unlock()
		p.dispatch()
	}
}

// resolve finds the sockets that n events are for, all under one lock.
func (p *poller) resolve(n int) {
	p.mutex.Lock()
	defer p.mutex.Unlock()
	for i, event := range p.events[:n] {
		if at := p.slots[event.Fd]; at.generation == uint32(event.Pad) {
			p.sockets[i] = at.socket
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
	event := unix.EpollEvent{Events: events | unix.EPOLLRDHUP | unix.EPOLLPRI | unix.EPOLLET, Fd: int32(c.slot), Pad: int32(c.generation)}
	return systemError("epoll_ctl", epollControl(p.fd, operation, c.fd, &event))
}

// ignore stops watching a socket until change has it watched again, which tells of what happened meanwhile.
func (p *poller) ignore(c *conn) error {
	event := unix.EpollEvent{Fd: int32(c.slot), Pad: int32(c.generation)}
	return systemError("epoll_ctl", epollControl(p.fd, unix.EPOLL_CTL_MOD, c.fd, &event))
}

// remove forgets a socket that is about to be closed; the kernel stops watching it then.
func (p *poller) remove(c *conn) {
	p.mutex.Lock()
	defer p.mutex.Unlock()
	p.slots[c.slot] = slot{generation: c.generation + 1}
	p.free = append(p.free, c.slot)
}
