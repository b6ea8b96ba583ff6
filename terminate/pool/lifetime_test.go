package pool

import (
	"net"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

// reply is an answer with records that live for so many seconds each.
func reply(t testing.TB, seconds ...uint32) []byte {
	t.Helper()
	name := dnsmessage.MustNewName("db.internal.")
	message := dnsmessage.Message{
		Header:    dnsmessage.Header{Response: true},
		Questions: []dnsmessage.Question{{Name: name, Type: dnsmessage.TypeA, Class: dnsmessage.ClassINET}},
	}
	for _, life := range seconds {
		header := dnsmessage.ResourceHeader{Name: name, Class: dnsmessage.ClassINET, TTL: life}
		message.Answers = append(message.Answers, dnsmessage.Resource{Header: header, Body: &dnsmessage.AResource{A: [4]byte{10, 0, 0, 1}}})
	}
	packed, err := message.Pack()
	if err != nil {
		t.Fatal(err)
	}
	return packed
}

func TestAnAnswerLivesAsLongAsItsShortestRecord(t *testing.T) {
	for name, test := range map[string]struct {
		seconds []uint32
		want    time.Duration
	}{
		"one":         {[]uint32{30}, 30 * time.Second},
		"the least":   {[]uint32{300, 20, 60}, 20 * time.Second},
		"no time":     {[]uint32{0}, shortestLife},
		"for days":    {[]uint32{1 << 31}, longestLife},
		"none at all": {nil, 7 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			var l lifetime
			l.note(reply(t, test.seconds...))
			expect(t, "lifetime", l.take(7*time.Second), test.want)
			expect(t, "lifetime, once taken", l.take(7*time.Second), 7*time.Second)
		})
	}
}

// What the name server sends is read along, and all of it comes through.
func TestAnswersAreReadAlong(t *testing.T) {
	server, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	var l lifetime
	conn, err := l.resolver().Dial(t.Context(), "udp", server.LocalAddr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, ok := conn.(net.PacketConn); !ok {
		t.Error("a resolver takes it for a stream")
	}
	sent := reply(t, 40)
	if _, err := server.WriteTo(sent, conn.LocalAddr()); err != nil {
		t.Fatal(err)
	}
	_ = conn.SetDeadline(time.Now().Add(5 * time.Second))
	got := make([]byte, 512)
	n, err := conn.Read(got)
	if err != nil || string(got[:n]) != string(sent) {
		t.Errorf("read %q, %v", got[:n], err)
	}
	expect(t, "lifetime", l.take(0), 40*time.Second)
}

func FuzzLifetime(f *testing.F) {
	f.Add(reply(f, 1, 2))
	f.Add(reply(f)[:11])
	f.Fuzz(func(t *testing.T, message []byte) {
		var l lifetime
		l.note(message)
		if life := l.take(shortestLife); life < shortestLife || life > longestLife {
			t.Errorf("an answer lives for %v", life)
		}
	})
}
