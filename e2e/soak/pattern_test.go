package soak

import (
	"bytes"
	"fmt"
	"math/rand/v2"
)

// noise is what all patterns are cut from. Its length is a prime, so that no loss or repetition of whole buffers or
// records goes unseen.
var noise = func() []byte {
	const prime = 1_048_573
	source := rand.NewChaCha8([32]byte{'n', 'o', 'i', 's', 'e'})
	block := make([]byte, prime)
	source.Read(block)
	return block
}()

// pattern is the stream of bytes that one side of one connection sends. Each connection's begins elsewhere in the noise.
type pattern struct {
	start  int
	offset int64 // of the next byte
}

func newPattern(key uint64) *pattern { return &pattern{start: int(key * 7919 % uint64(len(noise)))} }

// next is up to n bytes of the stream, not yet taken.
func (p *pattern) next(n int) []byte {
	at := int((int64(p.start) + p.offset) % int64(len(noise)))
	return noise[at:min(at+n, len(noise))]
}

func (p *pattern) take(n int) { p.offset += int64(n) }

// corruption is a byte that is not what was sent. Nothing excuses it.
type corruption struct {
	offset    int64
	got, want byte
}

func (c *corruption) Error() string {
	return fmt.Sprintf("byte %d is 0x%02x, was sent as 0x%02x", c.offset, c.got, c.want)
}

// check takes what came off the stream, up to the first byte that is wrong.
func (p *pattern) check(got []byte) error {
	for len(got) > 0 {
		want := p.next(len(got))
		if !bytes.Equal(got[:len(want)], want) {
			return p.compare(got, want)
		}
		p.take(len(want))
		got = got[len(want):]
	}
	return nil
}

func (p *pattern) compare(got, want []byte) error {
	i := 0
	for got[i] == want[i] {
		i++
	}
	p.take(i)
	return &corruption{offset: p.offset, got: got[i], want: want[i]}
}
