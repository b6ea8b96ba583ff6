package proxyproto

import (
	"bytes"
	"encoding/binary"
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// FuzzParse holds what Parse says of any bytes to what it says of more and of fewer of them, and a header that it accepts
// to what go-proxyproto makes of it.
func FuzzParse(f *testing.F) {
	for _, test := range accepted {
		f.Add([]byte(test.text))
	}
	for _, test := range refused {
		f.Add([]byte(test.text))
	}
	f.Add([]byte("\x16\x03\x01"))
	f.Fuzz(func(t *testing.T, p []byte) {
		const limit = 512
		h, n, err := Parse(p, limit)
		switch {
		case errors.Is(err, ErrShort):
			if len(p) >= limit {
				t.Fatalf("more than %d bytes wanted", limit)
			}
			return
		case err != nil:
			if _, _, again := Parse(append(bytes.Clone(p), "\r\n\x00\x00"...), limit); again == nil || errors.Is(again, ErrShort) {
				t.Fatalf("%v, with more bytes %v", err, again)
			}
			return
		case n > len(p) || n > limit:
			t.Fatalf("%d of %d bytes", n, len(p))
		}
		again, _, err := Parse(p[:n], limit)
		if err != nil || !cmp.Equal(h, again, compareHeaders) {
			t.Fatalf("%v alone %v, %v", h, again, err)
		}
		if _, _, err := Parse(p[:n-1], limit); !errors.Is(err, ErrShort) {
			t.Fatalf("one byte less: %v", err)
		}
		compareWithUpstream(t, p[:n], h)
	})
}

// compareWithUpstream leaves out what go-proxyproto refuses or reads though the specification has it otherwise: unknown
// addresses, and what comes with LOCAL.
func compareWithUpstream(t *testing.T, text []byte, h Header) {
	if h.Local || h.Version == V2 && !h.Source.IsValid() {
		return
	}
	got := independent(t, text)
	got.Version = h.Version
	if diff := cmp.Diff(got, h, compareHeaders); diff != "" {
		t.Fatalf("-go-proxyproto +ours\n%s", diff)
	}
}

func FuzzDecodeSSL(f *testing.F) {
	f.Add([]byte("\x07\x00\x00\x00\x00\x21\x00\x07TLSv1.3\x22\x00\x01a"))
	f.Add([]byte("\x01\x00\x00\x00\x01\x21\xff\xff"))
	f.Fuzz(func(t *testing.T, value []byte) {
		ssl, err := DecodeSSL(value)
		if err != nil {
			return
		}
		w := writer{bytes: binary.BigEndian.AppendUint32([]byte{ssl.Client}, ssl.Verify)}
		for _, field := range ssl.Fields {
			at := w.open(field.Type)
			w.bytes = append(w.bytes, field.Value...)
			w.close(field.Type, at)
		}
		if !bytes.Equal(w.bytes, value) {
			t.Fatalf("%q written again is %q", value, w.bytes)
		}
	})
}
