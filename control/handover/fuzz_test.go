package handover

import (
	"encoding/json"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// FuzzWire has the new process read anything, with and without a descriptor at its start.
func FuzzWire(f *testing.F) {
	content, _ := json.Marshal(list{Listeners: []string{":443"}, Files: []string{"f"}, Sections: []section{{"s", 3}}})
	whole := append(header(listKind, len(content)), content...)
	whole = append(whole, "d\x00\x00\x00\x00d\x00\x00\x00\x00b\x00\x00\x00\x03abc"...)
	f.Add(whole, true)
	f.Add(whole[:len(whole)-4], false)
	f.Add([]byte("x\x00\x00\x00\x03bad"), false)
	f.Add([]byte("a\x00\x00\x00\x0e{\"protocol\":1}"), false)
	f.Add([]byte("l\xff\xff\xff\xff"), true)
	f.Fuzz(func(t *testing.T, message []byte, withDescriptor bool) {
		if len(message) == 0 || len(message) > 64<<10 { // more might wait for the reader
			return
		}
		old, theirs, err := newPair()
		if err != nil {
			t.Skip(err)
		}
		defer old.close()
		ours, err := newWire(theirs)
		if err != nil {
			t.Fatal(err)
		}
		defer ours.close()
		var rights []byte
		if withDescriptor {
			rights = unix.UnixRights(int(os.Stderr.Fd()))
		}
		if _, _, err := old.conn.WriteMsgUnix(message, rights, nil); err != nil {
			t.Fatal(err)
		}
		old.conn.CloseWrite()
		_ = ours.conn.SetDeadline(time.Now().Add(5 * time.Second))
		var got *received
		if message[0] == byte(askKind) {
			err = (&process{wire: ours}).asks()
		} else {
			got, err = ours.receiveState()
			defer got.close()
		}
		if timeout, ok := err.(interface{ Timeout() bool }); ok && timeout.Timeout() {
			t.Errorf("waited for more than there was: %v", err)
		}
		if err == nil && got != nil && len(got.sections) > maxSections {
			t.Errorf("%d sections", len(got.sections))
		}
	})
}
