package terminate

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"crypto/tls"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"io"
	"net"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// forger seals a client's records by itself, from the secrets that crypto/tls logs: crypto/tls sends no KeyUpdate.
type forger struct {
	secret []byte
	aead   cipher.AEAD
	iv     [12]byte
	count  uint64
}

// newForger takes over the sending side of a TLS 1.3 client that has not sent anything yet.
func newForger(t *testing.T, client *tls.Conn, keyLog string) *forger {
	t.Helper()
	if suite := client.ConnectionState().CipherSuite; suite != tls.TLS_AES_128_GCM_SHA256 {
		t.Skipf("%s was negotiated", tls.CipherSuiteName(suite))
	}
	for line := range strings.Lines(keyLog) {
		if fields := strings.Fields(line); len(fields) == 3 && fields[0] == "CLIENT_TRAFFIC_SECRET_0" {
			secret, _ := hex.DecodeString(fields[2])
			f := &forger{}
			f.use(secret)
			return f
		}
	}
	t.Fatal("no secret was logged")
	return nil
}

// expand is HKDF-Expand-Label (RFC 8446, section 7.1) without a context.
func (f *forger) expand(label string, size int) []byte {
	info := binary.BigEndian.AppendUint16(nil, uint16(size))
	info = append(append(append(info, byte(len("tls13 ")+len(label))), "tls13 "+label...), 0)
	key, err := hkdf.Expand(sha256.New, f.secret, string(info), size)
	if err != nil {
		panic(err)
	}
	return key
}

func (f *forger) use(secret []byte) {
	f.secret, f.count = secret, 0
	block, _ := aes.NewCipher(f.expand("key", 16))
	f.aead, _ = cipher.NewGCM(block)
	copy(f.iv[:], f.expand("iv", 12))
}

// seal appends a record of a type that holds p.
func (f *forger) seal(to []byte, kind byte, p ...byte) []byte {
	header := []byte{23, 3, 3, 0, 0}
	binary.BigEndian.PutUint16(header[3:], uint16(len(p)+1+f.aead.Overhead()))
	nonce := f.iv
	binary.BigEndian.PutUint64(nonce[4:], binary.BigEndian.Uint64(nonce[4:])^f.count)
	f.count++
	return f.aead.Seal(append(to, header...), nonce[:], append(p, kind), header)
}

// keyUpdate appends a KeyUpdate that asks for one in return.
func (f *forger) keyUpdate(to []byte) []byte {
	to = f.seal(to, 22, 24, 0, 0, 1, 1)
	f.use(f.expand("traffic upd", sha256.Size))
	return to
}

// floodPatience is how long a flood may take, on a machine that has other things to do.
const floodPatience = time.Minute

// flooder makes a client that is about to send, by itself, what crypto/tls would not. buffers are options of the server's
// socket, and what they are set to.
func flooder(t *testing.T, buffers ...int) (*bench, *tls.Conn, *forger) {
	t.Helper()
	return flooderIn(t, "", (*bench).raw, buffers...)
}

// flooderIn is the same in a protocol in which TLS has to be asked for.
func flooderIn(t *testing.T, protocol string, ask func(*bench) *net.TCPConn, buffers ...int) (*bench, *tls.Conn, *forger) {
	t.Helper()
	b := startServer(t, func(o *setup) {
		o.Listeners[0].StartTLS = startTLS(t, protocol)
		for pair := range slices.Chunk(buffers, 2) {
			setBuffer(t, o.Listeners[0].Socket.(*net.TCPListener), pair[0], pair[1])
		}
	})
	var keyLog bytes.Buffer
	raw := ask(b)
	_ = raw.SetDeadline(time.Now().Add(floodPatience))
	client, err := b.handshake(&wire{TCPConn: raw}, &tls.Config{
		ServerName: "a.test", KeyLogWriter: &keyLog, CurvePreferences: []tls.CurveID{tls.X25519}, MinVersion: tls.VersionTLS13,
	})
	if err != nil {
		t.Fatal(err)
	}
	return b, client, newForger(t, client, keyLog.String())
}

// mostUpdates is how many KeyUpdates crypto/tls takes behind each record of data.
const mostUpdates = 16

// flood is data in records of one byte, with as many KeyUpdates behind each as are taken.
func (f *forger) flood(data []byte) (records []byte) {
	for _, one := range data {
		records = f.seal(records, 23, one)
		for range mostUpdates {
			records = f.keyUpdate(records)
		}
	}
	return records
}

// A client that asks for answers which it takes late gets them then, and everything it sent arrives: nothing waits for an
// event that does not come.
func TestKeyUpdatesTakenLate(t *testing.T) {
	for _, test := range []struct{ sendBuffer, size int }{{4096, 1000}, {300_000, 4000}} {
		t.Run(fmt.Sprint(test.sendBuffer), func(t *testing.T) {
			b, client, forged := flooder(t, syscall.SO_SNDBUF, test.sendBuffer)
			backend := b.accept()
			data := filled(test.size)
			flood := forged.flood(data)
			sent := make(chan error, 1)
			go func() {
				_, err := client.NetConn().Write(flood)
				sent <- err
			}()
			time.Sleep(500 * time.Millisecond) // nothing moves any more
			go func() { _, _ = io.Copy(io.Discard, tcp(client)) }()
			got := make([]byte, len(data))
			for n := 0; n < len(got); {
				_ = backend.SetDeadline(time.Now().Add(quietAfter - 2*time.Second)) // before the splice looks by itself
				k, err := backend.Read(got[n:])
				if n += k; err != nil {
					t.Fatalf("the backend got %d bytes of %d: %v", n, len(data), err)
				}
			}
			if !bytes.Equal(got, data) {
				t.Error("other bytes came than were sent")
			}
			if err := <-sent; err != nil {
				t.Error(err)
			}
		})
	}
}

// What a client makes crypto/tls answer and does not take is bounded, also when all of its asking is there at once.
func TestKeyUpdatesNeverTaken(t *testing.T) {
	const bulk = 6 << 20 // enough to hold the client back, until its asking has gathered
	b, client, forged := flooder(t, syscall.SO_RCVBUF, 4<<20, syscall.SO_SNDBUF, 4096)
	_ = tcp(client).SetReadBuffer(4096)
	backend := b.accept()
	var records []byte
	for range bulk / fullRecord {
		records = forged.seal(records, 23, make([]byte, fullRecord)...)
	}
	records = append(records, forged.flood(make([]byte, 5_000))...)
	go func() { _, _ = client.NetConn().Write(records) }()
	time.Sleep(500 * time.Millisecond)
	before := heap()
	if _, err := io.CopyN(io.Discard, backend, bulk); err != nil {
		t.Fatal(err)
	}
	time.Sleep(500 * time.Millisecond)
	grown := heap() - before
	for deadline := time.Now().Add(5 * time.Second); grown > 1<<20 && time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
		grown = heap() - before // what it works on is no more than that for a moment
	}
	if grown > 1<<20 {
		t.Errorf("%d bytes are held for a client that does not read", grown)
	}
	runtime.KeepAlive(records)
}

// The same holds before a server is picked, while the client's first message is read.
func TestKeyUpdatesBeforeStartup(t *testing.T) {
	b, client, forged := flooderIn(t, "postgres", (*bench).asked, syscall.SO_RCVBUF, 4<<20, syscall.SO_SNDBUF, 4096)
	_ = tcp(client).SetReadBuffer(4096)
	message := append(message("", make([]byte, 9_000)...)[:4], 0, 3, 0, 0)
	records := forged.flood(append(message, make([]byte, 3_000)...))
	before := heap()
	go func() { _, _ = client.NetConn().Write(records) }()
	b.wantStage(stageStartup)
	time.Sleep(time.Second)
	grown := heap() - before
	for deadline := time.Now().Add(2 * time.Second); grown > 1<<19 && time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
		grown = heap() - before // what it works on is no more than that for a moment
	}
	if grown > 1<<19 {
		t.Errorf("%d bytes are held for a client that does not read", grown)
	}
	runtime.KeepAlive(records)
}

// heap is what is in use.
func heap() int64 {
	var stats runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&stats)
	return int64(stats.HeapAlloc)
}

// setBuffer sets the size of a buffer of a listener's connections.
func setBuffer(t *testing.T, l *net.TCPListener, option, size int) {
	t.Helper()
	setOption(t, l, syscall.SOL_SOCKET, option, size)
}

// setOption sets an option that a listener's connections inherit.
func setOption(t *testing.T, l *net.TCPListener, level, option, value int) {
	t.Helper()
	raw, err := l.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	_ = raw.Control(func(fd uintptr) { err = syscall.SetsockoptInt(int(fd), level, option, value) })
	if err != nil {
		t.Fatal(err)
	}
}
