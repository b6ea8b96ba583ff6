package preamble

import (
	"bytes"
	"strings"
	"testing"
)

func TestReadStartup(t *testing.T) {
	long := packet(3<<16, strings.Repeat("x", 9996))
	for _, test := range []struct {
		name, sent string
		answer     string
		message    string
		cancel     bool
		fault      Fault
	}{
		{name: "protocol 3.0", sent: startup, message: startup},
		{name: "protocol 3.2, and more", sent: packet(3<<16|2, "user\x00a\x00\x00") + "p\x00\x00\x00\x05x", message: packet(3<<16|2, "user\x00a\x00\x00")},
		{name: "the longest", sent: long, message: long},
		{name: "a cancel", sent: cancel, cancel: true},
		{name: "a cancel of protocol 3.2", sent: packet(codeCancel, "\x00\x00\x12\x34"+strings.Repeat("s", 32)), cancel: true},
		{name: "a cancel too long", sent: packet(codeCancel, strings.Repeat("k", 261)), answer: fatal("0A000", "unsupported frontend protocol 1234.5678"), fault: Malformed},
		{name: "SSLRequest", sent: sslRequest, answer: fatal("0A000", "unsupported frontend protocol 1234.5679"), fault: Malformed},
		{name: "GSSENCRequest", sent: gssRequest, answer: fatal("0A000", "unsupported frontend protocol 1234.5680"), fault: Malformed},
		{name: "too long", sent: "\x00\x00\x27\x15\x00\x03\x00\x00", fault: Malformed},
		{name: "HTTP", sent: "GET", fault: Malformed},
		{name: "half", sent: startup[:20], fault: ClosedEarly},
		{name: "half a header", sent: startup[:6], fault: ClosedEarly},
		{name: "nothing", fault: ClosedEarly},
	} {
		for _, piece := range []int{0, 1} {
			t.Run(test.name, func(t *testing.T) {
				peer := newPeer(t, talk{">" + test.sent}, piece)
				got, err := ReadStartup(peer)
				checkFault(t, err, test.fault)
				if answer := peer.got.String(); answer != test.answer {
					t.Errorf("answer %q, want %q", answer, test.answer)
				}
				if string(got.Message) != test.message || (got.Cancel != nil) != test.cancel {
					t.Errorf("message %q, cancel %v", got.Message, got.Cancel)
				}
				if test.cancel && string(got.Cancel.Request()) != test.sent {
					t.Errorf("passed on as %q", got.Cancel.Request())
				}
				if test.message != "" && test.message+peer.unread() != test.sent {
					t.Errorf("unread %q", peer.unread())
				}
			})
		}
	}
}

// serverMessage is a message of a PostgreSQL server.
func serverMessage(kind byte, body string) string {
	return string(kind) + packet(0, body)[:3] + length(body) + body
}

func length(body string) string { return string([]byte{byte(4 + len(body))}) }

func TestScanner(t *testing.T) {
	secret := "\x00\x00\x12\x34\xde\xad\xbe\xef"
	login := serverMessage('R', "\x00\x00\x00\x0aSCRAM-SHA-256\x00\x00") + serverMessage('R', "\x00\x00\x00\x0br=x") + serverMessage('R', "\x00\x00\x00\x00") +
		serverMessage('S', "server_version\x0015.18\x00") + serverMessage('N', "SNOTICE\x00\x00") + serverMessage('v', "\x00\x00\x00\x00\x00\x00\x00\x00")
	for _, test := range []struct {
		name, sent string
		key        string
		done       bool
		within     int // bytes, of what is sent; 0: all
	}{
		{"a login", login + serverMessage('K', secret) + serverMessage('Z', "I"), secret, true, len(login) + 13},
		{"a key of protocol 3.2", serverMessage('K', secret+strings.Repeat("s", 28)), secret + strings.Repeat("s", 28), true, 0},
		{"not yet", login, "", false, 0},
		{"half a key", login + serverMessage('K', secret)[:12], "", false, 0},
		{"an empty message", serverMessage('S', "") + serverMessage('K', secret), secret, true, 0},
		{"no key", login + serverMessage('Z', "I") + serverMessage('K', secret), "", true, len(login) + 5},
		{"an error", serverMessage('E', "SFATAL\x00\x00") + serverMessage('K', secret), "", true, 5},
		{"another protocol", "HTTP/1.1 400 Bad Request\r\n", "", true, 5},
		{"a length that is none", "S\x00\x00\x00\x03" + serverMessage('K', secret), "", true, 5},
		{"a negative length", "S\xff\xff\xff\xff", "", true, 5},
		{"a short key", serverMessage('K', secret[:7]), "", true, 5},
		{"a key too long", "K\x00\x00\x01\x09" + strings.Repeat("k", 261), "", true, 5},
		{"notices without end", strings.Repeat(serverMessage('N', strings.Repeat("x", 200)), 6000) + serverMessage('K', secret), "", true, mostScanned + 5},
		{"nothing", "", "", false, 0},
	} {
		for _, piece := range []int{1 << 30, 1, 7, 100} {
			t.Run(test.name, func(t *testing.T) {
				var s Scanner
				sent, taken, done := []byte(test.sent), 0, false
				for !done && taken < len(sent) {
					n := min(piece, len(sent)-taken)
					done = s.Scan(sent[taken : taken+n])
					taken += n
				}
				if done != test.done || test.within > 0 && taken >= test.within+piece {
					t.Errorf("done %v after %d bytes", done, taken)
				}
				key, found := s.Key()
				if key.bytes != test.key || found != (test.key != "") {
					t.Errorf("key %q, %v", key.bytes, found)
				}
				if string(sent) != test.sent {
					t.Error("the stream was altered")
				}
				if again := s.Scan([]byte(serverMessage('K', "another one"))); again != test.done && test.done {
					t.Error("it begins again")
				}
				if later, _ := s.Key(); test.done && later != key {
					t.Error("another key")
				}
			})
		}
	}
}

// Once it is known that a message holds no key, it costs nothing to let it pass.
func TestScannerAllocates(t *testing.T) {
	notice := bytes.Repeat([]byte(serverMessage('N', "x")), 100)
	var s Scanner
	if n := testing.AllocsPerRun(10, func() { s.Scan(notice) }); n > 0 {
		t.Errorf("%v allocations", n)
	}
}
