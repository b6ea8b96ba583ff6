package e2e

import (
	"crypto/tls"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"testing"
	"time"
)

// hello is a ClientHello that can be altered. What it is made into starts a handshake and cannot end one.
type hello struct {
	fixed      []byte // version and random
	session    []byte
	ciphers    []byte
	methods    []byte
	extensions []extension
}

type extension struct {
	kind uint16
	data []byte
}

const extensionServerName = 0

// newHello is what crypto/tls sends for name.
func newHello(name string) *hello {
	ours, theirs := net.Pipe()
	defer theirs.Close()
	go func() {
		config := &tls.Config{ServerName: name, InsecureSkipVerify: true, CurvePreferences: []tls.CurveID{tls.X25519}}
		tls.Client(ours, config).Handshake()
	}()
	header := make([]byte, 5)
	must(io.ReadFull(theirs, header))
	message := make([]byte, binary.BigEndian.Uint16(header[3:]))
	must(io.ReadFull(theirs, message))
	return parseHello(message)
}

func parseHello(message []byte) *hello {
	rest := message[4:]
	take := func(n int) (b []byte) { b, rest = rest[:n], rest[n:]; return b }
	vector := func(size int) []byte {
		length := 0
		for _, b := range take(size) {
			length = length<<8 | int(b)
		}
		return take(length)
	}
	h := &hello{fixed: take(34), session: vector(1), ciphers: vector(2), methods: vector(1)}
	rest = vector(2)
	for len(rest) > 0 {
		h.extensions = append(h.extensions, extension{binary.BigEndian.Uint16(take(2)), vector(2)})
	}
	return h
}

// set replaces an extension, or adds it at the front.
func (h *hello) set(kind uint16, data []byte) *hello {
	others := slices.DeleteFunc(slices.Clone(h.extensions), func(e extension) bool { return e.kind == kind })
	h.extensions = append([]extension{{kind, data}}, others...)
	return h
}

// setNames makes the server_name extension name these hosts, whatever they are.
func (h *hello) setNames(names ...string) *hello {
	var list []byte
	for _, name := range names {
		list = append(append(list, 0), lengthed(2, []byte(name))...)
	}
	return h.set(extensionServerName, lengthed(2, list))
}

// lengthed puts the length of b, in size bytes, before it.
func lengthed(size int, b []byte) []byte {
	length := binary.BigEndian.AppendUint32(nil, uint32(len(b)))
	return append(length[4-size:], b...)
}

func (h *hello) message() []byte {
	var extensions []byte
	for _, e := range h.extensions {
		extensions = append(append(extensions, byte(e.kind>>8), byte(e.kind)), lengthed(2, e.data)...)
	}
	body := slices.Concat(h.fixed, lengthed(1, h.session), lengthed(2, h.ciphers), lengthed(1, h.methods), lengthed(2, extensions))
	return append([]byte{1}, lengthed(3, body)...)
}

// records is the hello in records of at most size bytes.
func (h *hello) records(size int) []byte { return inRecords(h.message(), size) }

func inRecords(message []byte, size int) (raw []byte) {
	for part := range slices.Chunk(message, size) {
		raw = append(append(raw, recordHandshake, 3, 1), lengthed(2, part)...)
	}
	return raw
}

// recordsOf sends a hello again in records of size bytes.
func recordsOf(size int) option {
	return rewriting(func(w io.Writer, raw []byte) error {
		var message []byte
		for len(raw) > 5 {
			length := int(binary.BigEndian.Uint16(raw[3:]))
			message, raw = append(message, raw[5:5+length]...), raw[5+length:]
		}
		_, err := w.Write(inRecords(message, size))
		return err
	})
}

// segmentsOf sends a hello in writes of size bytes, a little apart.
func segmentsOf(size int, pause time.Duration) option {
	return rewriting(func(w io.Writer, raw []byte) error {
		for part := range slices.Chunk(raw, size) {
			if _, err := w.Write(part); err != nil {
				return err
			}
			time.Sleep(pause)
		}
		return nil
	})
}

func rewriting(rewrite func(io.Writer, []byte) error) option {
	return func(_ *tls.Config, w *wire) { w.rewrite = rewrite }
}

// However the hello is cut into records and segments, the name in it is found and served.
func TestSplitHello(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for name, split := range map[string]option{
		"records of 1":  recordsOf(1),
		"records of 2":  recordsOf(2),
		"records of 40": recordsOf(40),
		"segments of 1": segmentsOf(1, 0),
		"segments of 7": segmentsOf(7, time.Millisecond),
	} {
		c := w.dial("split.example", split)
		c.wantEcho(t, name)
		if got := w.backend.next(t).header.Authority; got != "split.example" {
			t.Errorf("%s: the backend was told %q", name, got)
		}
		c.Close()
	}
	w.store.wantRequests(t, "split.example", 1)
}

// Hellos above 16 KB, more than one record holds, are served.
func TestLargeHello(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for _, size := range []int{17_000, 33_000, 60_000} {
		var offers []string
		for i := range size / 200 {
			offers = append(offers, fmt.Sprintf("%0199d", i))
		}
		w.visit("large.example", protocols(offers...))
	}
}

// A hello longer than hello_bytes is refused, and the log says why.
func TestTooLargeHello(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "limits: {hello_bytes: 4k}")
	w.visit("a.example")
	raw := newHello("a.example").set(0xfe00, make([]byte, 8000)).records(16384)
	if got, _ := exchange(t, w.address, raw); plainAlert(got) == 0 {
		t.Errorf("got %x, want an alert", got)
	}
	w.access("reason", "too_big")
}

// GREASE and ECH GREASE, in every place where they may stand, are passed over.
func TestGREASE(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	h := newHello("grease.example")
	h.ciphers = append([]byte{0x5a, 0x5a}, h.ciphers...)
	h.set(0x3a3a, nil).set(0xfe0d, append([]byte{0, 0, 1, 0, 1, 7, 0, 32}, make([]byte, 32+2+16)...))
	h.extensions = append(h.extensions, extension{0x4a4a, []byte{0}})
	conn, err := net.Dial("tcp", w.address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(patience))
	conn.Write(h.records(16384))
	answer := make([]byte, 6)
	if _, err := io.ReadFull(conn, answer); err != nil || answer[0] != recordHandshake || answer[5] != 2 {
		t.Errorf("got % x (%v), want a ServerHello", answer, err)
	}
}

// What is not TLS is closed without a byte in answer.
func TestNotTLS(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for name, raw := range map[string]string{
		"HTTP":     "GET / HTTP/1.1\r\nHost: a.example\r\n\r\n",
		"SSH":      "SSH-2.0-OpenSSH_9.2\r\n",
		"zeros":    strings.Repeat("\x00", 100),
		"PROXY v1": string(goodHeaders["v1"]),
		"PROXY v2": string(goodHeaders["v2"]),
	} {
		if got, _ := exchange(t, w.address, []byte(raw)); len(got) != 0 {
			t.Errorf("%s was answered %q", name, got)
		}
	}
	w.access("reason", "not_tls")
	w.backend.wantNone(t)
}

// Malformed hellos are refused with an alert and ask no store.
func TestMalformedHello(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	twice := newHello("a.example")
	twice.extensions = append(twice.extensions, twice.extensions[0], twice.extensions[0])
	cut := newHello("a.example").message()
	cut[len(cut)-40] ^= 0xff
	for name, raw := range map[string][]byte{
		"no names":            newHello("a.example").set(extensionServerName, []byte{0, 0}).records(16384),
		"empty name":          newHello("a.example").setNames("").records(16384),
		"two names":           newHello("a.example").setNames("a.example", "b.example").records(16384),
		"list length":         newHello("a.example").set(extensionServerName, []byte{0, 99, 0, 0, 1, 'a'}).records(16384),
		"extension twice":     twice.records(16384),
		"message of 16 MB":    {recordHandshake, 3, 1, 0, 4, 1, 0xff, 0xff, 0xff},
		"record of 16385":     {recordHandshake, 3, 1, 0x48, 0x01, 1},
		"not a hello":         {recordHandshake, 3, 1, 0, 4, 2, 0, 0, 0},
		"empty records only":  []byte(strings.Repeat("\x16\x03\x01\x00\x00", 20_000)),
		"TLS 1.1 at the most": downgraded(0x02),
	} {
		t.Run(name, func(t *testing.T) {
			if got, _ := exchange(t, w.address, raw); plainAlert(got) == 0 {
				t.Errorf("got % .32x, want an alert", got)
			}
		})
	}
	if got := w.store.allRequests(); len(got) != 0 {
		t.Errorf("the store was asked %v", got)
	}
}

// downgraded is a hello of TLS 1.minor-1, without supported_versions.
func downgraded(minor byte) []byte {
	h := newHello("a.example")
	h.fixed[1] = minor
	h.extensions = slices.DeleteFunc(h.extensions, func(e extension) bool { return e.kind == 43 })
	return h.records(16384)
}

// Neither silence, nor a byte now and then, keeps a connection without a hello beyond hello_timeout.
func TestTrickledHello(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "limits: {hello_timeout: 700ms}")
	raw := newHello("a.example").records(16384)
	for name, pause := range map[string]time.Duration{"a byte each 50 ms": 50 * time.Millisecond, "silence": time.Hour} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			conn, err := net.Dial("tcp", w.address)
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			began := time.Now()
			go func() {
				for _, b := range raw {
					if _, err := conn.Write([]byte{b}); err != nil {
						return
					}
					time.Sleep(pause)
				}
			}()
			conn.SetReadDeadline(began.Add(patience))
			if _, err := io.ReadAll(conn); isTimeout(err) {
				t.Fatal("the connection is still open")
			}
			if took := time.Since(began); took < 500*time.Millisecond || took > 3*time.Second {
				t.Errorf("closed after %v, want about 700ms", took)
			}
		})
	}
	t.Cleanup(func() { w.access("reason", "timeout") })
}

// What is no host name is refused before it reaches a store, and the log shows it escaped, cut to a bearable length.
func TestBadNames(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for _, name := range []string{
		"a.test\x00.evil.test", "../../../../etc/passwd", "a/b.example", "a.example\r\nforged: line", "\x1b[31mred.example",
		"\u202egnp.example", "münchen.example", "192.0.2.1", "2001:db8::1", "[::1]", "*", "*.example", "a..example", ".example",
		"a.example.", "-a.example", "a-.example", "a._b.example", "a b.example", "a%2e.example", "a@b.example", "a:443", "0x7f000001",
		"a.123", strings.Repeat("a", 64) + ".example", strings.Repeat("a.", 127) + "example", strings.Repeat("a", 60_000),
	} {
		got, _ := exchange(t, w.address, newHello("a.example").setNames(name).records(16384))
		if alert := plainAlert(got); alert != alertUnrecognizedName && alert != alertDecodeError && alert != alertIllegalParameter {
			t.Errorf("%.60q: got % .20x, want an alert that refuses the name", name, got)
		}
	}
	if got := w.store.allRequests(); len(got) != 0 {
		t.Errorf("the store was asked %v", got)
	}
	w.backend.wantNone(t)
	w.access("reason", "bad_sni")
	entries, _ := w.log.all()
	for _, e := range entries {
		if len(fmt.Sprint(e)) > 4000 {
			t.Errorf("a log line of %d bytes: %.200v", len(fmt.Sprint(e)), e)
		}
	}
}

// Names that look odd and are names are served.
func TestOddNames(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	long := strings.Repeat("a.", 122) + "example.x"
	for _, name := range []string{"localhost", "_dmarc.example", "xn--mnchen-3ya.example", "1.a", "status", "flush", "all", long} {
		w.visit(name)
		w.store.wantRequests(t, name, 1)
	}
}
