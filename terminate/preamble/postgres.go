package preamble

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// postgres is PostgreSQL: SSLRequest, or TLS at once. What it does with each packet is what PostgreSQL's own
// ProcessStartupPacket does, but that there is no session without TLS.
type postgres struct{}

// The start-up packets: a length, which counts itself, and a code, which is a version or one of these.
const (
	startupHeader  = 8
	longestStartup = 4 + 10000
	codeCancel     = 1234<<16 | 5678
	codeSSL        = 1234<<16 | 5679
	codeGSS        = 1234<<16 | 5680
	directALPN     = "postgresql"
	postgresInbox  = 512 // holds the longest CancelRequest
)

func (postgres) Negotiate(conn io.ReadWriter, _ string) (Opening, error) {
	opening, err := negotiatePostgres(conn)
	if opening.Direct {
		opening.ALPN = directALPN // what has none may be another protocol's, sent here by a man in the middle
	}
	return opening, err
}

// auto is TLS of any protocol, or postgres.
type auto struct{ postgres }

func (auto) Negotiate(conn io.ReadWriter, _ string) (Opening, error) { return negotiatePostgres(conn) }

func negotiatePostgres(conn io.ReadWriter) (Opening, error) {
	in := newInbox(conn, postgresInbox)
	if err := in.more(); err != nil {
		return Opening{}, early(err)
	}
	if in.held[0] == handshakeRecord {
		return Opening{Unread: in.held, Direct: true}, nil
	}
	for encrypted := false; ; encrypted = true { // GSSAPI encryption is asked for once, then there is TLS, or nothing
		code, length, err := in.startup()
		switch {
		case err != nil:
			return Opening{}, err
		case code == codeSSL && length == startupHeader:
			return Opening{}, in.reply1(conn, 'S', "SSL")
		case code == codeGSS && length == startupHeader && !encrypted:
			if err := in.reply1(conn, 'N', "GSSAPI encryption"); err != nil {
				return Opening{}, err
			}
		case code == codeCancel:
			key, err := in.cancel(length)
			return Opening{Cancel: key}, err
		default:
			return Opening{}, refuseStartup(conn, code)
		}
	}
}

// startup reads the header of a start-up packet, each of whose bytes is judged as it comes: what speaks another protocol may have no
// more to say until it is answered.
func (b *inbox) startup() (code uint32, length int, err error) {
	for {
		if err := judgeStartup(b.held); err != nil {
			return 0, 0, err
		}
		if len(b.held) >= startupHeader {
			length = int(binary.BigEndian.Uint32(b.held))
			return binary.BigEndian.Uint32(b.held[4:]), length, nil
		}
		if err := b.more(); err != nil {
			return 0, 0, early(err)
		}
	}
}

// judgeStartup judges what there is of the length. PostgreSQL does not answer a bad one.
func judgeStartup(p []byte) error {
	var length [4]byte
	given := copy(length[:], p)
	most := binary.BigEndian.Uint32(length[:])
	if given == len(length) && most < startupHeader || most > longestStartup {
		return &Error{Malformed, errNotPostgres}
	}
	return nil
}

var errNotPostgres = errors.New("not a PostgreSQL start-up packet")

// reply1 answers a request for encryption by one byte, behind which the client goes on; not before.
func (b *inbox) reply1(conn io.Writer, answer byte, asked string) error {
	b.drop(startupHeader)
	if len(b.held) > 0 {
		_, _ = conn.Write(errorResponse("08P01", "received unencrypted data after "+asked+" request", ""))
		return fault(Injection, "bytes behind the request for %s", asked)
	}
	_, err := conn.Write([]byte{answer})
	return err
}

// cancel reads the rest of a CancelRequest. What may come behind it is nobody's.
func (b *inbox) cancel(length int) (*Key, error) {
	if !isKey(length - startupHeader) {
		return nil, fault(Malformed, "a CancelRequest of %d bytes", length)
	}
	for len(b.held) < length {
		if err := b.more(); err != nil {
			return nil, early(err)
		}
	}
	return &Key{string(b.held[startupHeader:length])}, nil
}

// refuseStartup answers what is no request for encryption where there has to be one.
func refuseStartup(conn io.Writer, code uint32) error {
	major, minor := code>>16, code&0xffff
	if major == 3 {
		_, _ = conn.Write(errorResponse("28000", "this server accepts only TLS connections",
			"Connect with sslmode=require or, better, sslmode=verify-full."))
		return fault(Plaintext, "a start-up without TLS")
	}
	_, _ = conn.Write(errorResponse("0A000", fmt.Sprintf("unsupported frontend protocol %d.%d", major, minor), ""))
	return fault(Malformed, "a start-up packet for protocol %d.%d", major, minor)
}

// errorResponse is a fatal error as PostgreSQL reports it.
func errorResponse(state, message, hint string) []byte {
	p := []byte("E\x00\x00\x00\x00SFATAL\x00VFATAL\x00C" + state + "\x00M" + message + "\x00")
	if hint != "" {
		p = append(p, "H"+hint+"\x00"...)
	}
	p = append(p, 0)
	binary.BigEndian.PutUint32(p[1:], uint32(len(p)-1))
	return p
}

func (postgres) Request(conn io.ReadWriter, _ string) error {
	request := binary.BigEndian.AppendUint32(nil, startupHeader)
	if _, err := conn.Write(binary.BigEndian.AppendUint32(request, codeSSL)); err != nil {
		return err
	}
	in := newInbox(conn, longestReply)
	if err := in.more(); err != nil {
		return early(err)
	}
	switch in.held[0] {
	case 'S':
		in.drop(1)
		return in.last(nil)
	case 'N':
		return &Error{Plaintext, errNoTLS}
	case 'E':
		return fault(Plaintext, "SSLRequest: %.200q", in.errorText())
	}
	return fault(Malformed, "SSLRequest: not a PostgreSQL server's answer")
}

// errorText is the text of an error. It may have been sent by anybody, and is for the log.
func (b *inbox) errorText() string {
	for {
		text, whole := errorMessage(b.held[1:])
		if whole || b.more() != nil {
			return text
		}
	}
}

func (postgres) Swallow(io.Reader) (Greeting, error) { return Greeting{}, nil }
func (postgres) Farewell(string) []byte              { return nil }
