package preamble

import (
	"encoding/binary"
	"fmt"
	"strings"
	"testing"
)

// The packets, as PostgreSQL's clients send them.
const (
	sslRequest = "\x00\x00\x00\x08\x04\xd2\x16\x2f"
	gssRequest = "\x00\x00\x00\x08\x04\xd2\x16\x30"
	cancel     = "\x00\x00\x00\x10\x04\xd2\x16\x2e\x00\x00\x12\x34\xde\xad\xbe\xef"
	startup    = "\x00\x00\x00\x20\x00\x03\x00\x00user\x00alice\x00database\x00db\x00\x00"
	hello      = "\x16\x03\x01\x00\xa5\x01\x00\x00\xa1\x03\x03"

	noTLS = "E\x00\x00\x00\x83SFATAL\x00VFATAL\x00C28000\x00Mthis server accepts only TLS connections\x00" +
		"HConnect with sslmode=require or, better, sslmode=verify-full.\x00\x00"
)

// packet is a start-up packet.
func packet(code uint32, rest string) string {
	p := binary.BigEndian.AppendUint32(nil, uint32(8+len(rest)))
	return string(binary.BigEndian.AppendUint32(p, code)) + rest
}

func fatal(state, message string) string {
	fields := "SFATAL\x00VFATAL\x00C" + state + "\x00M" + message + "\x00\x00"
	return "E" + string(binary.BigEndian.AppendUint32(nil, uint32(4+len(fields)))) + fields
}

func TestPostgresClients(t *testing.T) {
	negotiate(t, postgres{}, []client{
		{name: "SSLRequest", script: talk{">" + sslRequest, "<S"}},
		{name: "as libpq with Kerberos", script: talk{">" + gssRequest, "<N", ">" + sslRequest, "<S"}},
		{
			name: "hello before S", script: talk{">" + sslRequest + hello, "<" + fatal("08P01", "received unencrypted data after SSL request")},
			segment: true, fault: Injection,
		},
		{
			name: "a byte before S", script: talk{">" + sslRequest + "Q", "<" + fatal("08P01", "received unencrypted data after SSL request")},
			segment: true, fault: Injection,
		},
		{name: "SSLRequest before N", script: talk{
			">" + gssRequest + sslRequest,
			"<" + fatal("08P01", "received unencrypted data after GSSAPI encryption request"),
		}, segment: true, fault: Injection},
		{name: "GSSENCRequest again", script: talk{
			">" + gssRequest, "<N", ">" + gssRequest,
			"<" + fatal("0A000", "unsupported frontend protocol 1234.5680"),
		}, fault: Malformed},
		{name: "hello behind N", script: talk{">" + gssRequest, "<N", ">" + hello}, fault: Malformed},
		{name: "sslmode=disable", script: talk{">" + startup, "<" + noTLS}, fault: Plaintext},
		{name: "gssencmode=prefer and sslmode=disable", script: talk{">" + gssRequest, "<N", ">" + startup, "<" + noTLS}, fault: Plaintext},
		{name: "protocol 3.2", script: talk{">" + packet(3<<16|2, "user\x00a\x00\x00"), "<" + noTLS}, fault: Plaintext},
		{name: "protocol 2.0", script: talk{
			">" + packet(2<<16, strings.Repeat("\x00", 288)),
			"<" + fatal("0A000", "unsupported frontend protocol 2.0"),
		}, fault: Malformed},
		{name: "SSLRequest too long", script: talk{
			">" + packet(codeSSL, "x"),
			"<" + fatal("0A000", "unsupported frontend protocol 1234.5679"),
		}, fault: Malformed},
		{name: "HTTP", script: talk{">GET / HTTP/1.1\r\n\r\n"}, fault: Malformed},
		{name: "a short word", script: talk{">hi"}, fault: Malformed},
		{name: "too long", script: talk{">\x00\x00\x27\x15\x00\x03\x00\x00"}, fault: Malformed},
		{name: "as long as may be", script: talk{">\x00\x00\x27\x14\x00\x03\x00\x00", "<" + noTLS}, fault: Plaintext},
		{name: "too long at the second byte", script: talk{">\x00\x01"}, fault: Malformed},
		{name: "too long at the third byte", script: talk{">\x00\x00\x28"}, fault: Malformed},
		{name: "too short", script: talk{">\x00\x00\x00\x07"}, fault: Malformed},
		{name: "nothing", fault: ClosedEarly},
		{name: "half a request", script: talk{">" + sslRequest[:5]}, fault: ClosedEarly},
		{name: "half a cancel", script: talk{">" + cancel[:13]}, fault: ClosedEarly},
		{name: "cancel without a secret", script: talk{">" + packet(codeCancel, "\x00\x00\x00\x01")}, fault: Malformed},
		{name: "cancel too long", script: talk{">" + packet(codeCancel, strings.Repeat("k", 261))}, fault: Malformed},
	})
}

func TestPostgresDirect(t *testing.T) {
	for _, test := range []struct {
		protocol Protocol
		alpn     string
	}{
		{postgres{}, "postgresql"},
		{auto{}, ""},
	} {
		for _, piece := range []int{0, 1} {
			peer := newPeer(t, talk{">" + hello}, piece)
			opening, err := test.protocol.Negotiate(peer, "")
			if err != nil || !opening.Direct || opening.ALPN != test.alpn || opening.Cancel != nil {
				t.Errorf("%T: %+v, %v", test.protocol, opening, err)
			}
			if got := string(opening.Unread) + peer.unread(); got != hello {
				t.Errorf("%T: the hello is %q", test.protocol, got)
			}
			peer.listen()
		}
	}
}

func TestAutoIsPostgres(t *testing.T) {
	peer := newPeer(t, talk{">" + sslRequest, "<S", ">" + hello}, 0)
	opening, err := auto{}.Negotiate(peer, "")
	if err != nil || opening.Direct || opening.ALPN != "" || peer.unread() != hello {
		t.Errorf("%+v, %v; unread %q", opening, err, peer.unread())
	}
}

func TestPostgresCancel(t *testing.T) {
	for _, test := range []struct{ name, before, packet string }{
		{"protocol 3.0", "", cancel},
		{"protocol 3.2", "", packet(codeCancel, "\x00\x00\x12\x34"+strings.Repeat("s", 32))},
		{"the longest", "", packet(codeCancel, "\x00\x00\x12\x34"+strings.Repeat("s", 256))},
		{"behind GSSENCRequest", gssRequest, cancel},
	} {
		for _, piece := range []int{0, 1} {
			t.Run(test.name, func(t *testing.T) {
				script := talk{">" + test.packet}
				if test.before != "" {
					script = talk{">" + test.before, "<N", ">" + test.packet}
				}
				peer := newPeer(t, script, piece)
				opening, err := postgres{}.Negotiate(peer, "")
				if err != nil || opening.Cancel == nil {
					t.Fatalf("%+v, %v", opening, err)
				}
				if got := string(opening.Cancel.Request()); got != test.packet {
					t.Errorf("passed on as %q", got)
				}
				peer.listen() // it is told nothing
			})
		}
	}
}

func TestKeyIsNotPrinted(t *testing.T) {
	key := Key{"\x00\x00\x00\x07topsecret"}
	for _, format := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
		for _, v := range []any{key, &key, Opening{Cancel: &key}, Startup{Cancel: &key}} {
			text := fmt.Sprintf(format, v)
			if strings.Contains(text, "topsecret") || strings.Contains(text, fmt.Sprintf("%x", "topsecret")) {
				t.Errorf("%s of %T: %s", format, v, text)
			}
		}
	}
}

func TestPostgresServers(t *testing.T) {
	request(t, postgres{}, []server{
		{name: "S", script: talk{"<" + sslRequest, ">S"}},
		{name: "N", script: talk{"<" + sslRequest, ">N"}, fault: Plaintext, says: "the server offers no TLS"},
		{name: "more behind S", script: talk{"<" + sslRequest, ">S" + fatal("28000", "no")}, segment: true, fault: Injection},
		{
			name: "an error", script: talk{"<" + sslRequest, ">" + fatal("53300", "sorry, too many clients already")}, fault: Plaintext,
			says: `"sorry, too many clients already"`,
		},
		{name: "an old error", script: talk{"<" + sslRequest, ">Ecould not fork\n\x00"}, fault: Plaintext, says: `"could not fork"`},
		{name: "half an error", script: talk{"<" + sslRequest, ">" + fatal("53300", "sorry")[:20]}, fault: Plaintext, says: `""`},
		{name: "SSH", script: talk{"<" + sslRequest, ">OpenSSH"}, fault: Malformed},
		{name: "TLS", script: talk{"<" + sslRequest, ">\x15\x03\x01\x00\x02\x02\x0a"}, fault: Malformed},
		{name: "nothing", script: talk{"<" + sslRequest}, fault: ClosedEarly},
	})
}
