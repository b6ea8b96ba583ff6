package disk

import (
	"bytes"
	"testing"
	"time"
)

func FuzzDecodeContent(f *testing.F) {
	for _, record := range []Record{{Key: "a"}, sample(1), {Value: []byte("v"), Expires: time.Unix(1, 2)}} {
		c := contentOf(&record)
		f.Add(c.encode())
	}
	f.Fuzz(func(t *testing.T, encoded []byte) {
		c, err := decodeContent(encoded)
		if err != nil {
			return
		}
		again, err := decodeContent(c.encode())
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(again.value, c.value) || !again.expires.Equal(c.expires) || len(again.shared) != len(c.shared) || len(again.tags) != len(c.tags) {
			t.Fatalf("got %+v, want %+v", again, c)
		}
	})
}

// A page that was found sound can be used without another look.
func FuzzPage(f *testing.F) {
	leaf := make(page, 4096)
	native.PutUint16(leaf[8:], leafPage)
	native.PutUint16(leaf[10:], 2)
	copy(leaf[pageHeader:], []byte{0, 0, 0, 0, 32, 0, 0, 0, 3, 0, 0, 0, 5, 0, 0, 0, 0, 0, 0, 0, 24, 0, 0, 0, 3, 0, 0, 0, 2, 0, 0, 0})
	f.Add([]byte(leaf), []byte("key"))
	branch := append(page{}, leaf[:100]...)
	native.PutUint16(branch[8:], branchPage)
	f.Add([]byte(branch), []byte("key"))
	f.Fuzz(func(t *testing.T, raw, key []byte) {
		p := page(raw)
		if len(p) >= pageHeader {
			_ = p.checkFreelist(1 << 20)
		}
		if p.sound() != nil {
			return
		}
		ordered := p.ordered(4096) == nil
		if index, exact := p.search(key); exact && !bytes.Equal(p.key(index), key) {
			t.Fatal("found another key")
		}
		for i := range p.count() {
			if index, exact := p.search(p.key(i)); ordered && (!exact || index != i) {
				t.Fatalf("element %d is not found", i)
			}
			if p.isLeaf() {
				p.value(i)
			} else {
				p.child(p.descend(p.key(i)))
			}
		}
	})
}

func FuzzDecodeFormat(f *testing.F) {
	made, err := newFormat(bytes.Repeat([]byte{1}, keySize))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(made.encode())
	f.Add([]byte(formatMagic))
	f.Fuzz(func(t *testing.T, encoded []byte) {
		read, err := decodeFormat(encoded)
		if err == nil && !bytes.Equal(read.encode(), encoded) {
			t.Fatalf("%x was read as %+v", encoded, read)
		}
	})
}

func FuzzParseKey(f *testing.F) {
	f.Add(bytes.Repeat([]byte("ab"), keySize))
	f.Add(bytes.Repeat([]byte{1}, keySize))
	f.Fuzz(func(t *testing.T, content []byte) {
		if key := parseKey(content); key != nil && len(key) != keySize {
			t.Fatalf("a key of %d bytes", len(key))
		}
	})
}
