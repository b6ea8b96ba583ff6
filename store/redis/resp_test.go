package redis

import (
	"bytes"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
)

func TestScanner(t *testing.T) {
	large := "$1048577\r\n" + strings.Repeat("x", maxValue+1) + "\r\n"
	tests := []struct {
		name, in, out string
		values        int64
		refused       bool
	}{
		{"simple string", "+OK\r\n", "+OK\r\n", 1, false},
		{"several", "+OK\r\n:-1\r\n_\r\n#t\r\n,1.5\r\n(12\r\n-ERR x\r\n", "+OK\r\n:-1\r\n_\r\n#t\r\n,1.5\r\n(12\r\n-ERR x\r\n", 7, false},
		{"bulk string", "$3\r\na\r\n\r\n", "$3\r\na\r\n\r\n", 1, false},
		{"empty bulk string", "$0\r\n\r\n", "$0\r\n\r\n", 1, false},
		{"old nulls", "$-1\r\n*-1\r\n", "$-1\r\n*-1\r\n", 2, false},
		{"verbatim and long error", "=5\r\ntxt:a\r\n!3\r\nERR\r\n", "=5\r\ntxt:a\r\n!3\r\nERR\r\n", 2, false},
		{"nested", "*2\r\n*1\r\n:1\r\n%1\r\n+a\r\n~0\r\n", "*2\r\n*1\r\n:1\r\n%1\r\n+a\r\n~0\r\n", 1, false},
		{"incomplete", "*2\r\n:1\r\n", "*2\r\n:1\r\n", 0, false},
		{"push", ">2\r\n$10\r\ninvalidate\r\n_\r\n:1\r\n", ">2\r\n$10\r\ninvalidate\r\n_\r\n:1\r\n", 1, false},
		{"too large", large + ":1\r\n", "-TOOLARGE\r\n:1\r\n", 2, false},
		{"too large in an array", "*2\r\n" + large + ":1\r\n", "*2\r\n-TOOLARGE\r\n:1\r\n", 1, false},

		{"no type", "x\r\n", "", 0, true},
		{"empty line", "\r\n", "", 0, true},
		{"bare line feed", "+OK\n", "", 0, true},
		{"no length", "$\r\n", "", 0, true},
		{"negative length", "$-2\r\n", "", 0, true},
		{"length with a sign", "$+2\r\n", "", 0, true},
		{"length too long", "*99999999999\r\n", "", 0, true},
		{"negative map", "%-1\r\n", "", 0, true},
		{"too many elements", "*131073\r\n", "", 0, true},
		{"too many in a map", "%70000\r\n", "", 0, true},
		{"too many in all", strings.Repeat("*131070\r\n", 2), "*131070\r\n", 0, true},
		{"no number", ":x\r\n", "", 0, true},
		{"stream", "$?\r\n", "", 0, true},
		{"attribute", "|1\r\n", "", 0, true},
		{"push within an array", "*1\r\n>1\r\n", "*1\r\n", 0, true},
		{"empty push", ">0\r\n", "", 0, true},
		{"message", ">2\r\n$7\r\nmessage\r\n", ">2\r\n", 0, true},
		{"push of the same length", ">2\r\n$10\r\nssubscribe\r\n", ">2\r\n$10\r\nssubscribe\r\n", 0, true},
		{"push that begins with a number", ">2\r\n:1\r\n", ">2\r\n", 0, true},
		{"much in all", "*20\r\n" + strings.Repeat("$1000000\r\n"+strings.Repeat("x", 1000000)+"\r\n", 20), "", 0, true},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			for _, piece := range []int{1 << 30, 4096, 3, 1} {
				if piece < 100 && len(test.in) > 1<<16 {
					continue
				}
				out, values, err := scanInPieces(test.in, piece)
				if refused := err != nil; refused != test.refused || refused && !errors.Is(err, errProtocol) {
					t.Fatalf("pieces of %d: error %v", piece, err)
				}
				if !test.refused && (out != test.out || values != test.values) {
					t.Errorf("pieces of %d: %.60q, %d values, want %.60q, %d", piece, out, values, test.out, test.values)
				}
			}
		})
	}
}

func scanInPieces(text string, piece int) (string, int64, error) {
	var s scanner
	var out []byte
	in := []byte(text)
	for len(in) > 0 {
		n := min(piece, len(in))
		var err error
		if out, err = s.scan(in[:n], out); err != nil {
			return string(out), s.values, err
		}
		in = in[n:]
	}
	return string(out), s.values, nil
}

func FuzzScanner(f *testing.F) {
	for _, seed := range []string{
		helloAnswer, "*2\r\n$1\r\na\r\n$-1\r\n", ">2\r\n$10\r\ninvalidate\r\n*1\r\n$4\r\nd2:a\r\n", "$1048577\r\nx", "*?\r\n", "|1\r\n", "-ERR\r\n",
	} {
		f.Add(seed, 3)
	}
	f.Fuzz(func(t *testing.T, text string, piece int) {
		whole, values, err := scanInPieces(text, 1<<30)
		again, valuesAgain, errAgain := scanInPieces(text, max(1, piece%64))
		if whole != again || values != valuesAgain || (err == nil) != (errAgain == nil) {
			t.Errorf("in one piece %q, %d, %v; in several %q, %d, %v", whole, values, err, again, valuesAgain, errAgain)
		}
		if err != nil {
			return
		}
		// What was passed on passes again, and as it is.
		if out, twice, err := scanInPieces(whole, 1<<30); out != whole || twice != values || err != nil {
			t.Errorf("%q a second time: %q, %d values, %v", whole, out, twice, err)
		}
	})
}

func TestGuard(t *testing.T) {
	near, far := net.Pipe()
	defer far.Close()
	g := newGuard(near)
	go func() {
		_, _ = io.CopyN(io.Discard, far, int64(len("*1\r\n$4\r\nPING\r\n")))
		_, _ = far.Write([]byte("+PONG\r\n"))
		_, _ = far.Write([]byte("+PONG\r\n"))
	}()
	if _, err := g.Write([]byte("*1\r\n$4\r\nPING\r\n")); err != nil {
		t.Fatal(err)
	}
	var answer [7]byte
	if _, err := io.ReadFull(g, answer[:]); err != nil || !bytes.Equal(answer[:], []byte("+PONG\r\n")) {
		t.Fatalf("%q, error %v", answer, err)
	}
	if g.hasEnded() {
		t.Error("ended before there was an error")
	}
	if n, err := g.Read(answer[:]); n != 0 || !errors.Is(err, errProtocol) || !g.hasEnded() {
		t.Errorf("%d bytes, error %v for an answer that nobody asked for", n, err)
	}
	for range 2 {
		_ = g.Close()
	}
}
