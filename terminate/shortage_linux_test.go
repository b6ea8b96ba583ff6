package terminate

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"syscall"
	"testing"
)

// Where there are no descriptors left the client is told, and no server is blamed for it.
func TestDialWithoutDescriptors(t *testing.T) {
	b, _ := passing(t, nil)
	client, hello := b.raw(), helloFor("c.test", nil)
	mustWrite(t, client, hello[:10])
	b.wantStage(stageHello)
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		t.Skip(err)
	}
	none := limit
	none.Cur = 3 // what is open stays so
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &none); err != nil {
		t.Skip(err)
	}
	_, sent := client.Write(hello[10:])
	got := make([]byte, 7)
	_, read := io.ReadFull(client, got)
	if err := errors.Join(syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit), sent, read); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, []byte{21, 3, 3, 0, 2, 2, 80}) {
		t.Errorf("told %x", got)
	}
	client.Close()
	if line := b.line(); line["reason"] != string(ReasonNoBackend) || !strings.Contains(line["error"].(string), "too many open files") {
		t.Errorf("line %v", line)
	}
	if s := b.route.Backend.Pool.Status().Servers[0]; s.Failures != 0 || s.Connections != 0 {
		t.Errorf("server %+v", s)
	}
}
