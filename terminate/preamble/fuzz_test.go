package preamble

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
)

// The bounds that nothing may pass: of what is read, and of what is written.
const (
	mostRead    = 96 << 10
	mostWritten = 8 << 10
)

func FuzzPostgres(f *testing.F) {
	fuzzClient(f, postgres{}, sslRequest, gssRequest, cancel, startup, hello)
}

func FuzzAuto(f *testing.F) { fuzzClient(f, auto{}, sslRequest, gssRequest, cancel, startup, hello) }

func FuzzSMTP(f *testing.F) {
	fuzzClient(f, smtp{}, "EHLO me\r\nSTARTTLS\r\n", "NOOP\r\nMAIL\r\nQUIT\r\n", "HELO x\n\n\n\n", hello)
}

func FuzzIMAP(f *testing.F) {
	fuzzClient(f, imap{}, "a CAPABILITY\r\nb STARTTLS\r\n", "a LOGIN {5+}\r\n", ". NOOP\r\n+ X\r\na LOGOUT\r\n", hello)
}

func FuzzPOP3(f *testing.F) {
	fuzzClient(f, pop3{}, "CAPA\r\nSTLS\r\n", "USER x\r\nQUIT\r\n", "\r\n\r\n\r\n", hello)
}

func FuzzLDAP(f *testing.F) {
	fuzzClient(f, ldap{}, starttls, ldapMessage("\x01", "\x60\x00", "")+starttls, ldapMessage("\x01", ldapExtended(oidStartTLS, "\x81\x01x"), ""),
		ldapMessage("\x01", ldapExtended(oidStartTLS, ""), "\xa0\x080\x06\x04\x011\x01\x01\xff"), "0\x84\x00\x00\x00\x05\x02\x01\x01\x42\x00", hello)
}

// fuzzClient holds what a preamble comes to when it is read byte by byte to what it comes to in a segment.
func fuzzClient(f *testing.F, p Protocol, seeds ...string) {
	for _, seed := range seeds {
		f.Add([]byte(seed))
		f.Add([]byte(seed + seed))
	}
	f.Fuzz(func(t *testing.T, sent []byte) {
		whole, pieces := &wire{sent: sent, piece: len(sent)}, &wire{sent: sent, piece: 1}
		opening, err := p.Negotiate(whole, "mx.example")
		again, errAgain := p.Negotiate(pieces, "mx.example")
		whole.check(t)
		pieces.check(t)
		f, fAgain := faultOf(t, err), faultOf(t, errAgain)
		switch {
		case fAgain == Injection:
			t.Fatal("injection without a segment")
		case f == Injection:
			if fAgain == "" && len(pieces.sent) == 0 && !strings.HasPrefix(string(sent), gssRequest) {
				t.Fatal("injection without bytes")
			}
			return
		case f != fAgain, !bytes.Equal(whole.got.Bytes(), pieces.got.Bytes()):
			t.Fatalf("in a segment %q (%v), byte by byte %q (%v)", whole.got.Bytes(), err, pieces.got.Bytes(), errAgain)
		case opening.Direct != again.Direct, opening.ALPN != again.ALPN, (opening.Cancel == nil) != (again.Cancel == nil):
			t.Fatalf("in a segment %+v, byte by byte %+v", opening, again)
		case opening.Cancel != nil && *opening.Cancel != *again.Cancel:
			t.Fatal("two keys")
		case err == nil && opening.Cancel == nil && !bytes.Equal(append(opening.Unread, whole.sent...), append(again.Unread, pieces.sent...)):
			t.Fatal("two hellos")
		case err != nil && !isZero(opening):
			t.Fatalf("%+v with %v", opening, err)
		case opening.Direct && !bytes.Equal(append(opening.Unread, whole.sent...), sent):
			t.Fatal("not what was sent")
		}
	})
}

func isZero(o Opening) bool { return !o.Direct && o.Unread == nil && o.Cancel == nil && o.ALPN == "" }

// FuzzServers holds what a server's answers come to when they are read byte by byte to what they come to in a segment: the same,
// or bytes too many.
func FuzzServers(f *testing.F) {
	names := []string{"postgres", "smtp", "imap", "pop3", "ldap"}
	for i, seed := range []string{
		"S", "220 x\r\n250-x\r\n250 STARTTLS\r\n220 x\r\n", "* OK x\r\n* x\r\na OK x\r\n", "+OK\r\n+OK\r\n",
		"0\x0c\x02\x01\x01x\x07\x0a\x01\x00\x04\x00\x04\x00",
	} {
		f.Add(uint8(i), []byte(seed))
	}
	f.Add(uint8(0), []byte(fatal("53300", "sorry")))
	f.Add(uint8(0), []byte("Ecould not fork\x00"))
	f.Add(uint8(1), []byte("554-x\r\n554 x\r\n"))
	f.Fuzz(func(t *testing.T, which uint8, sent []byte) {
		p := protocols[names[int(which)%len(names)]]
		whole, pieces := &wire{sent: sent, piece: len(sent)}, &wire{sent: sent, piece: 1}
		a, b := faultOf(t, p.Request(whole, "lb.example")), faultOf(t, p.Request(pieces, "lb.example"))
		whole.check(t)
		pieces.check(t)
		if a != b && a != Injection {
			t.Fatalf("in a segment %q, byte by byte %q", a, b)
		}
		whole, pieces = &wire{sent: sent, piece: len(sent)}, &wire{sent: sent, piece: 1}
		greeting, err := p.Swallow(whole)
		again, errAgain := p.Swallow(pieces)
		if faultOf(t, err) != faultOf(t, errAgain) || (greeting.Refusal == nil) != (again.Refusal == nil) {
			t.Fatalf("in a segment %+v, byte by byte %+v", greeting, again)
		}
		if err == nil && greeting.Refusal == nil && !bytes.Equal(append(greeting.Unread, whole.sent...), append(again.Unread, pieces.sent...)) {
			t.Fatal("two sessions")
		}
	})
}

func FuzzStartup(f *testing.F) {
	for _, seed := range []string{startup, cancel, sslRequest, startup + startup} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, sent []byte) {
		w := &wire{sent: sent, piece: len(sent)}
		got, err := ReadStartup(w)
		w.check(t)
		if _ = faultOf(t, err); err != nil {
			return
		}
		message := got.Message
		if got.Cancel != nil {
			message = got.Cancel.Request()
		}
		if len(message) > longestStartup || !bytes.Equal(append(bytes.Clone(message), w.sent...), sent) {
			t.Fatalf("message %q, unread %q", message, w.sent)
		}
	})
}

// FuzzScanner holds a scanner that is fed a stream in pieces to one that is fed it whole.
func FuzzScanner(f *testing.F) {
	f.Add([]byte(serverMessage('R', "\x00\x00\x00\x00")+serverMessage('K', "12345678")+serverMessage('Z', "I")), 3)
	f.Add([]byte(serverMessage('E', "x")), 1)
	f.Add([]byte(serverMessage('S', "")+serverMessage('v', "x")+"K\x00\x00\x01\x08"+strings.Repeat("k", 260)), 100)
	f.Fuzz(func(t *testing.T, sent []byte, piece int) {
		piece = 1 + piece&0xff
		var whole, pieces Scanner
		done, doneInPieces := whole.Scan(bytes.Clone(sent)), false
		for rest := sent; len(rest) > 0 && !doneInPieces; {
			n := min(piece, len(rest))
			doneInPieces = pieces.Scan(rest[:n])
			rest = rest[n:]
		}
		key, found := whole.Key()
		keyInPieces, foundInPieces := pieces.Key()
		if done != doneInPieces || key != keyInPieces || found != foundInPieces {
			t.Fatalf("whole %v, %v; in pieces %v, %v", done, found, doneInPieces, foundInPieces)
		}
		if found && (!isKey(len(key.bytes)) || !bytes.Contains(sent, []byte(key.bytes))) {
			t.Fatalf("a key of %d bytes", len(key.bytes))
		}
	})
}

// wire sends what it has, a piece a read, and notes what it is sent.
type wire struct {
	sent  []byte
	piece int
	read  int
	got   bytes.Buffer
}

func (w *wire) Write(p []byte) (int, error) { return w.got.Write(p) }

func (w *wire) Read(p []byte) (int, error) {
	if len(w.sent) == 0 {
		return 0, io.EOF
	}
	n := copy(p[:min(len(p), w.piece)], w.sent)
	w.sent = w.sent[n:]
	w.read += n
	return n, nil
}

func (w *wire) check(t *testing.T) {
	t.Helper()
	if w.read > mostRead || w.got.Len() > mostWritten {
		t.Fatalf("%d bytes read, %d written", w.read, w.got.Len())
	}
}

// faultOf is the fault of an error, which has to be one.
func faultOf(t *testing.T, err error) Fault {
	t.Helper()
	if err == nil {
		return ""
	}
	failed, ok := errors.AsType[*Error](err)
	if !ok || failed.Err == nil {
		t.Fatalf("error %v", err)
	}
	return failed.Fault
}
