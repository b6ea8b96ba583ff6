package backend

import (
	"bytes"
	"encoding/binary"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const v2Header = signature + "\x21\x11\x00\x0c" + "\x7f\x00\x00\x01\x7f\x00\x00\x01\x00\x01\x00\x02"

func TestServe(t *testing.T) {
	number := func(n uint64) string { return string(binary.BigEndian.AppendUint64(nil, n)) }
	much := strings.Repeat("x", 3*chunk+1)
	tests := []struct {
		name, sent, want string
	}{
		{"an echo", v2Header + "echo", "echo"},
		{"an echo behind version 1", "PROXY TCP4 127.0.0.1 127.0.0.1 1 2\r\necho", "echo"},
		{"bytes to send", v2Header + "d" + number(5), "\x00\x00\x00\x00\x00"},
		{"bytes to receive", v2Header + "u" + number(5) + "12345", "k"},
		{"many bytes", v2Header + "u" + number(uint64(len(much))) + much, "k"},
		{"one after the other", v2Header + "d" + number(2) + "u" + number(1) + "1" + "echo", "\x00\x00kecho"},
		{"a hello before it", v2Header + "\x16\x03\x01\x00\x03abcecho", "echo"},
		{"a session of PostgreSQL's", v2Header + "\x00\x00\x00\x08\x00\x03\x00\x00echo", "R\x00\x00\x00\x08\x00\x00\x00\x00K\x00\x00\x00\x0c\x00\x00\x00\x00\x00\x00\x00\x01Z\x00\x00\x00\x05Iecho"},
		{"no header", "echo", ""},
		{"another word", "POST / HTTP/1.1\r\n", ""},
		{"an unknown command", v2Header + "x", ""},
		{"too few bytes", v2Header + "u" + number(5) + "1", ""},
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- Serve(listener) }()
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) { checkExchange(t, listener.Addr().String(), test.sent, test.want) })
	}
	listener.Close()
	if err := <-served; err != nil {
		t.Error(err)
	}
}

func checkExchange(t *testing.T, address, sent, want string) {
	t.Helper()
	connection, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer connection.Close()
	if err := connection.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(connection, sent); err != nil {
		t.Fatal(err)
	}
	if err := connection.(*net.TCPConn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(connection)
	if want != "" && err != nil || !bytes.Equal(got, []byte(want)) { // one that is refused may be reset
		t.Errorf("%q, %v, want %q", got, err, want)
	}
}
