package handover

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// patience is how long the new process waits for the next message. The old one ends it much earlier.
const patience = 5 * time.Minute

// Inherited is what this process was handed over. It is used in this order: [Inherit], [Inherited.Receive] once the
// configuration was found sound, Listener, File and State, and [Inherited.Ready] when everything is open. [Inherited.Failed]
// may be called at any time.
//
// Nil is a process that was not started to take over: it has nothing, and everything may be called. It is not safe for
// concurrent use.
type Inherited struct {
	wire *wire     // nil: this process goes on alone
	got  *received // nil: not received yet
}

// Inherit returns nil where this process was not started to take over from another. It is for the start of the process, before
// any other is started, and takes the variable out of the environment.
func Inherit() (*Inherited, error) {
	text, given := os.LookupEnv(Variable)
	if !given {
		return nil, nil
	}
	os.Unsetenv(Variable)
	fd, err := strconv.ParseUint(text, 10, 31)
	if err != nil || fd < descriptor {
		return nil, fmt.Errorf("%s: %q is not the number of a descriptor", Variable, text)
	}
	if _, err := unix.FcntlInt(uintptr(fd), unix.F_SETFD, unix.FD_CLOEXEC); err != nil {
		return nil, fmt.Errorf("%s: descriptor %d: %w", Variable, fd, err)
	}
	if kind, err := unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_TYPE); err != nil || kind != unix.SOCK_STREAM {
		return nil, fmt.Errorf("%s: descriptor %d is not a stream socket", Variable, fd)
	}
	w, err := newWire(os.NewFile(uintptr(fd), "handover"))
	if err != nil {
		return nil, fmt.Errorf("%s: descriptor %d: %w", Variable, fd, err)
	}
	return &Inherited{wire: w}, nil
}

// Receive asks the old process for what it has, and waits for it. From then on the old one has let go of what one process
// alone may have.
func (i *Inherited) Receive() error {
	if i == nil {
		return nil
	}
	if i.wire == nil || i.got != nil {
		return errors.New("take over: received already")
	}
	if err := i.receive(); err != nil {
		if i.got != nil {
			i.got.close()
			i.got = nil
		}
		return fmt.Errorf("take over: receive from the old process: %w", err)
	}
	return nil
}

func (i *Inherited) receive() error {
	_ = i.wire.conn.SetDeadline(time.Now().Add(patience))
	content, err := json.Marshal(asking{Protocol: protocol})
	if err != nil {
		return err
	}
	if err := i.wire.send(askKind, content); err != nil {
		return err
	}
	i.got, err = i.wire.receiveState()
	return err
}

// Listener returns the listening socket for address, if there is one: see [Sockets.Listener].
func (i *Inherited) Listener(network, address string) (net.Listener, bool) {
	if i == nil || i.got == nil {
		return nil, false
	}
	return i.got.sockets.Listener(network, address)
}

// File returns a descriptor by its name, if there is one; once. The caller closes it.
func (i *Inherited) File(name string) (*os.File, bool) {
	if i == nil || i.got == nil {
		return nil, false
	}
	file, found := i.got.files[name]
	delete(i.got.files, name)
	return file, found
}

// State returns the bytes of a section, nil if there is none. They are valid until Ready or Failed is called, which clear
// them: keep copies.
func (i *Inherited) State(section string) []byte {
	if i == nil || i.got == nil {
		return nil
	}
	return i.got.sections[section]
}

// Ready tells the old process that everything is open, and returns when that one has stepped back for good: accept nothing
// before. What was handed over and not asked for is closed, and returned for the log. With an error the old process goes on,
// and this one has to end.
func (i *Inherited) Ready() (unused []string, err error) {
	if i == nil {
		return nil, nil
	}
	if i.got == nil {
		return nil, errors.New("take over: nothing was received")
	}
	unused = i.got.close()
	defer i.end()
	_ = i.wire.conn.SetDeadline(time.Now().Add(patience))
	if err = i.wire.send(readyKind, nil); err == nil {
		_, err = i.wire.receive(goKind)
	}
	if err != nil {
		return unused, fmt.Errorf("take over: the old process does not step back: %w", err)
	}
	return unused, nil
}

// Failed tells the old process, which goes on, why this one does not take over. The caller ends the process soon. After Ready,
// it does nothing.
func (i *Inherited) Failed(reason error) {
	if i == nil || i.wire == nil {
		return
	}
	text := reason.Error()
	_ = i.wire.conn.SetDeadline(time.Now().Add(time.Second))
	_ = i.wire.send(failedKind, []byte(text[:min(len(text), maxReason)]))
	i.end()
}

// end closes everything that was not taken.
func (i *Inherited) end() {
	if i.wire != nil {
		i.wire.close()
	}
	if i.got != nil {
		i.got.close()
	}
	i.wire, i.got = nil, nil
}
