package handover

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"syscall"
)

// protocol is the version that both processes have to speak. What is added to messages leaves it as it is.
const protocol = 1

const (
	// MaxState is how many bytes the sections of a State may have together.
	MaxState    = 64 << 20
	maxSections = 64
)

// State is what the old process hands over.
type State struct {
	// Listeners stay open in the old process, which closes its own when Upgrade has returned. Closing them must not remove a
	// Unix socket's file: see net.UnixListener.SetUnlinkOnClose.
	Listeners []Listener
	// Files are other descriptors by name, such as one that holds a lock.
	Files map[string]*os.File
	// Sections are bytes by name. They may be secret, so Upgrade clears them in any case: give copies.
	Sections map[string][]byte
}

// Listener is a listening socket.
type Listener struct {
	// Address is what the configuration calls it.
	Address string
	// Listener is a *net.TCPListener, a *net.UnixListener, or has SyscallConn as these do.
	Listener net.Listener
}

// clear overwrites what may be secret.
func (s *State) clear() {
	for _, section := range s.Sections {
		clear(section)
	}
}

// asking is the content of the message that asks for the state.
type asking struct {
	Protocol int `json:"protocol"`
}

// list says what follows it, in that order.
type list struct {
	Listeners []string  `json:"listeners"` // addresses
	Files     []string  `json:"files"`
	Sections  []section `json:"sections"`
}

type section struct {
	Name string `json:"name"`
	Size int    `json:"size"`
}

// check refuses what is out of bounds.
func (l *list) check() error {
	if count := len(l.Listeners) + len(l.Files); count > maxDescriptors {
		return fmt.Errorf("%d descriptors, where %d may be", count, maxDescriptors)
	}
	if len(l.Sections) > maxSections {
		return fmt.Errorf("%d sections, where %d may be", len(l.Sections), maxSections)
	}
	left := MaxState
	for _, section := range l.Sections {
		if section.Size < 0 || section.Size > left {
			return fmt.Errorf("section %q of %d bytes, where %d may be", section.Name, section.Size, left)
		}
		left -= section.Size
	}
	return nil
}

// sendState sends all that there is to hand over.
func (w *wire) sendState(state *State) error {
	var what list
	var descriptors []syscall.Conn
	var sections [][]byte
	for _, l := range state.Listeners {
		conn, ok := l.Listener.(syscall.Conn)
		if !ok {
			return fmt.Errorf("listener %s has no descriptor: it is a %T", l.Address, l.Listener)
		}
		what.Listeners = append(what.Listeners, l.Address)
		descriptors = append(descriptors, conn)
	}
	for name, file := range state.Files {
		what.Files = append(what.Files, name)
		descriptors = append(descriptors, file)
	}
	for name, content := range state.Sections {
		what.Sections = append(what.Sections, section{name, len(content)})
		sections = append(sections, content)
	}
	if err := w.sendList(&what); err != nil {
		return err
	}
	for _, from := range descriptors {
		if err := w.sendDescriptor(from); err != nil {
			return err
		}
	}
	for _, content := range sections {
		if err := w.sendBytes(content); err != nil {
			return err
		}
	}
	return nil
}

func (w *wire) sendList(what *list) error {
	if err := what.check(); err != nil {
		return err
	}
	content, err := json.Marshal(what)
	if err != nil {
		return err
	}
	if len(content) > maxContent {
		return fmt.Errorf("a list of %d bytes, where %d may be", len(content), maxContent)
	}
	return w.send(listKind, content)
}

// received is what came of a State.
type received struct {
	sockets  Sockets
	files    map[string]*os.File
	sections map[string][]byte
}

// close closes what is open yet and clears what may be secret.
func (r *received) close() (unused []string) {
	for name, file := range r.files {
		file.Close()
		unused = append(unused, name)
	}
	for _, content := range r.sections {
		clear(content)
	}
	r.files, r.sections = nil, nil
	return append(r.sockets.CloseUnused(), unused...)
}

// receiveState is the counterpart of sendState. What it returns is to be closed, with an error too.
func (w *wire) receiveState() (*received, error) {
	r := &received{files: map[string]*os.File{}, sections: map[string][]byte{}}
	content, err := w.receive(listKind)
	if err != nil {
		return r, err
	}
	var what list
	if err := json.Unmarshal(content, &what); err != nil {
		return r, errors.New("a list that is not JSON")
	}
	if err := what.check(); err != nil {
		return r, err
	}
	return r, w.receiveListed(&what, r)
}

func (w *wire) receiveListed(what *list, r *received) error {
	for _, address := range what.Listeners {
		file, err := w.receiveDescriptor()
		if err != nil {
			return err
		}
		r.sockets.Add(address, file)
	}
	for _, name := range what.Files {
		file, err := w.receiveDescriptor()
		if err != nil {
			return err
		}
		if former := r.files[name]; former != nil {
			former.Close()
		}
		r.files[name] = file
	}
	for _, section := range what.Sections {
		content := make([]byte, section.Size)
		r.sections[section.Name] = content
		if err := w.receiveBytes(content); err != nil {
			return err
		}
	}
	return nil
}
