package terminate

import (
	"bytes"
	"crypto/tls"
	"io"
	"net"
	"testing"
	"time"
	"unsafe"

	"hellogate/store/certtest"
)

// What a connection has read into is given back when it holds nothing unread, and the connection goes on.
func TestTLSMemory(t *testing.T) {
	if !tlsBuffers.known {
		t.Fatal("tls.Conn keeps its buffers elsewhere in this version of Go: idle connections will hold them")
	}
	certificate := certtest.NewCA(t).Issue(t, "a.test").TLS()
	near, far := net.Pipe()
	_ = near.SetDeadline(time.Now().Add(10 * time.Second))
	_ = far.SetDeadline(time.Now().Add(10 * time.Second))
	server := tls.Server(near, &tls.Config{Certificates: []tls.Certificate{certificate}})
	client := tls.Client(far, &tls.Config{InsecureSkipVerify: true, DynamicRecordSizingDisabled: true})
	defer near.Close()
	defer far.Close()
	rawInput := (*bytes.Buffer)(unsafe.Add(unsafe.Pointer(server), tlsBuffers.rawInput))
	exchange := func() {
		t.Helper()
		data, got := filled(16<<10), make([]byte, 16<<10)
		go func() { _, _ = client.Write(data) }()
		if _, err := io.ReadFull(server, got[:100]); err != nil {
			t.Fatal(err)
		}
		tlsBuffers.giveBack(server) // unread bytes are kept
		if _, err := io.ReadFull(server, got[100:]); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, data) {
			t.Error("other bytes came than were sent")
		}
	}
	exchange()
	if rawInput.Cap() < 16<<10 {
		t.Errorf("holds %d bytes: this test is in vain", rawInput.Cap())
	}
	tlsBuffers.giveBack(server)
	if rawInput.Cap() > 0 {
		t.Errorf("still holds %d bytes", rawInput.Cap())
	}
	exchange()
}
