package handover

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// kind says what a message is. A message is its kind, the size of its content in four bytes, and the content.
type kind byte

const (
	askKind        kind = 'a' // an asking
	readyKind      kind = 'r'
	failedKind     kind = 'x' // the reason as text
	listKind       kind = 'l' // a list
	descriptorKind kind = 'd' // comes with one descriptor
	bytesKind      kind = 'b' // more of a section
	goKind         kind = 'g'
)

const (
	headerSize = 5
	// maxContent is the size of the largest message. A section takes as many as it needs.
	maxContent = 256 << 10
	maxReason  = 4 << 10
	// maxDescriptors is how many may have come that no message has claimed.
	maxDescriptors = 1024
)

// wire is one end of the pair of sockets.
type wire struct {
	conn  *net.UnixConn
	files []*os.File // that came, and were not taken yet
}

// newPair makes the two ends. The second is for the new process.
func newPair() (ours *wire, theirs *os.File, err error) {
	syscall.ForkLock.RLock()
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	if err == nil {
		unix.CloseOnExec(pair[0])
		unix.CloseOnExec(pair[1])
	}
	syscall.ForkLock.RUnlock()
	if err != nil {
		return nil, nil, os.NewSyscallError("socketpair", err)
	}
	theirs = os.NewFile(uintptr(pair[1]), "handover")
	if ours, err = newWire(os.NewFile(uintptr(pair[0]), "handover")); err != nil {
		theirs.Close()
		return nil, nil, err
	}
	return ours, theirs, nil
}

// newWire takes file over.
func newWire(file *os.File) (*wire, error) {
	defer file.Close()
	conn, err := net.FileConn(file)
	if err != nil {
		return nil, err
	}
	stream, ok := conn.(*net.UnixConn)
	if !ok || stream.LocalAddr().Network() != "unix" {
		conn.Close()
		return nil, errors.New("not a Unix stream socket")
	}
	return &wire{conn: stream}, nil
}

// close closes the end, and the descriptors that nobody took.
func (w *wire) close() {
	w.conn.Close()
	for _, file := range w.files {
		file.Close()
	}
	w.files = nil
}

// errEnded is the error of a wire whose other end is closed.
var errEnded = errors.New("it has ended")

// ended has an error that says in one of several ways that the other end is closed be errEnded.
func ended(err error) error {
	for _, cause := range []error{io.EOF, io.ErrUnexpectedEOF, syscall.EPIPE, syscall.ECONNRESET} {
		if errors.Is(err, cause) {
			return errEnded
		}
	}
	return err
}

func (w *wire) send(k kind, content []byte) error {
	if _, err := w.conn.Write(header(k, len(content))); err != nil {
		return ended(err)
	}
	if len(content) == 0 {
		return nil
	}
	_, err := w.conn.Write(content)
	return ended(err)
}

func header(k kind, size int) []byte {
	return binary.BigEndian.AppendUint32([]byte{byte(k)}, uint32(size))
}

// sendDescriptor passes on a duplicate. It goes by SyscallConn: an os.File's Fd would have the socket block, in both processes.
func (w *wire) sendDescriptor(from syscall.Conn) error {
	raw, err := from.SyscallConn()
	if err != nil {
		return err
	}
	var failed error
	err = raw.Control(func(fd uintptr) {
		_, _, failed = w.conn.WriteMsgUnix(header(descriptorKind, 0), unix.UnixRights(int(fd)), nil)
	})
	return cmp.Or(err, ended(failed))
}

// sendBytes sends a section.
func (w *wire) sendBytes(section []byte) error {
	for len(section) > 0 {
		n := min(len(section), maxContent)
		if err := w.send(bytesKind, section[:n]); err != nil {
			return err
		}
		section = section[n:]
	}
	return nil
}

// receive returns the content of the next message, which must be of kind want. That the other end failed is an error of type
// *reported.
func (w *wire) receive(want kind) ([]byte, error) {
	size, err := w.receiveHeader(want)
	if err != nil {
		return nil, err
	}
	content := make([]byte, size)
	return content, w.fill(content)
}

// receiveHeader returns the size of the content that follows.
func (w *wire) receiveHeader(want kind) (int, error) {
	var got [headerSize]byte
	if err := w.fill(got[:]); err != nil {
		return 0, err
	}
	size := binary.BigEndian.Uint32(got[1:])
	switch k := kind(got[0]); {
	case size > maxContent:
		return 0, fmt.Errorf("a message of %d bytes", size)
	case k == failedKind:
		return 0, w.receiveReason(int(min(size, maxReason)))
	case k != want:
		return 0, fmt.Errorf("a message of kind %q in place of %q", byte(k), byte(want))
	}
	return int(size), nil
}

// reported is what the other end says that it failed of.
type reported struct{ reason string }

func (r *reported) Error() string { return r.reason }

func (w *wire) receiveReason(size int) error {
	text := make([]byte, size)
	if err := w.fill(text); err != nil {
		return err
	}
	return &reported{strings.ToValidUTF8(string(text), "\ufffd")}
}

// receiveDescriptor returns the descriptor of the next message. The caller closes it.
func (w *wire) receiveDescriptor() (*os.File, error) {
	size, err := w.receiveHeader(descriptorKind)
	switch {
	case err != nil:
		return nil, err
	case size != 0:
		return nil, fmt.Errorf("a descriptor with %d bytes", size)
	case len(w.files) == 0:
		return nil, errors.New("a message without its descriptor")
	}
	file := w.files[0]
	w.files = w.files[1:]
	return file, nil
}

// receiveBytes fills a section.
func (w *wire) receiveBytes(section []byte) error {
	for len(section) > 0 {
		size, err := w.receiveHeader(bytesKind)
		if err != nil {
			return err
		}
		if size == 0 || size > len(section) {
			return fmt.Errorf("%d bytes of a section that lacks %d", size, len(section))
		}
		if err := w.fill(section[:size]); err != nil {
			return err
		}
		section = section[size:]
	}
	return nil
}

func (w *wire) fill(p []byte) error {
	_, err := io.ReadFull(w, p)
	return ended(err)
}

// Read reads bytes, and sets aside the descriptors that come with them. The kernel never joins two messages that have some.
func (w *wire) Read(p []byte) (int, error) {
	control := make([]byte, unix.CmsgSpace(4*4))
	n, controls, flags, _, err := w.conn.ReadMsgUnix(p, control)
	if controls > 0 {
		if refused := w.keep(control[:controls]); err == nil {
			err = refused
		}
	}
	switch {
	case errors.Is(err, io.EOF) || err == nil && n == 0 && len(p) > 0:
		return n, io.EOF
	case err == nil && flags&unix.MSG_CTRUNC != 0:
		err = errors.New("descriptors were lost: too many files are open")
	}
	return n, err
}

func (w *wire) keep(control []byte) error {
	messages, err := unix.ParseSocketControlMessage(control)
	if err != nil {
		return err
	}
	for i := range messages {
		descriptors, err := unix.ParseUnixRights(&messages[i])
		if err != nil {
			continue // credentials, or what else may come
		}
		for _, fd := range descriptors {
			w.files = append(w.files, os.NewFile(uintptr(fd), "handover"))
		}
	}
	if len(w.files) > maxDescriptors {
		return errors.New("too many descriptors")
	}
	return nil
}
