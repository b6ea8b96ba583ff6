package health

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"time"
)

// maxAnswer is how much of an answer is read.
const maxAnswer = 64 << 10

// check connects to a server once, and returns what is wrong with it.
//
// It ends the connection in order, with a FIN, also where it has only connected: a reset would spare this side the
// TIME_WAIT, of which there are as many as checks in a minute, and have many a server log an error for each check. Where
// the server has sent what was not read the kernel resets it all the same.
func (o Options) check(ctx context.Context, network, address string) error {
	ctx, cancel := context.WithTimeout(ctx, o.Timeout)
	defer cancel()
	conn, err := o.Dial(ctx, network, address)
	if err != nil {
		return err
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })()
	return o.converse(ctx, conn)
}

// converse says and hears what there is to say and hear on a connection.
func (o Options) converse(ctx context.Context, conn net.Conn) error {
	if err := o.sendHeader(conn); err != nil {
		return fmt.Errorf("send PROXY header: %w", err)
	}
	config := o.TLS
	if o.CurrentTLS != nil {
		config = o.CurrentTLS()
	}
	if config == nil {
		return o.ask(conn)
	}
	if o.StartTLS != nil {
		if err := o.StartTLS(conn); err != nil {
			return fmt.Errorf("ask for TLS: %w", err)
		}
	}
	session := tls.Client(conn, config)
	if err := session.HandshakeContext(ctx); err != nil {
		return fmt.Errorf("TLS handshake: %w", err)
	}
	if err := o.ask(session); err != nil {
		return err
	}
	_ = session.CloseWrite() // close_notify; nothing more is known of the server if it does not take it
	return nil
}

func (o Options) sendHeader(conn net.Conn) error {
	if o.Header == nil {
		return nil
	}
	header, err := o.Header()
	if err != nil {
		return err
	}
	_, err = conn.Write(header)
	return err
}

// ask sends the question and awaits the answer.
func (o Options) ask(conn net.Conn) error {
	if len(o.Send) > 0 {
		if _, err := conn.Write(o.Send); err != nil {
			return fmt.Errorf("send: %w", err)
		}
	}
	if len(o.Expect) == 0 {
		return nil
	}
	answer, err := o.await(conn)
	if err != nil {
		return fmt.Errorf("expect %s: %w after %s", quote(o.Expect), err, quote(answer))
	}
	return nil
}

var (
	errOther = errors.New("the answer is another")
	errLong  = fmt.Errorf("not in the answer's first %d bytes", maxAnswer)
)

// await reads until what is expected has come, or can't any more, and returns what was read.
func (o Options) await(conn io.Reader) ([]byte, error) {
	answer := make([]byte, 0, 512)
	for {
		if len(answer) == cap(answer) {
			answer = append(answer, 0)[:len(answer)]
		}
		n, err := conn.Read(answer[len(answer):min(cap(answer), maxAnswer)])
		searched := max(0, len(answer)-len(o.Expect))
		answer = answer[:len(answer)+n]
		switch {
		case o.AtStart && !bytes.HasPrefix(o.Expect, answer[:min(len(answer), len(o.Expect))]):
			return answer, errOther
		case o.AtStart && len(answer) >= len(o.Expect):
			return answer, nil
		case bytes.Contains(answer[searched:], o.Expect):
			return answer, nil
		case err != nil:
			return answer, err
		case len(answer) >= maxAnswer:
			return answer, errLong
		}
	}
}

// quoted is how much of a text an error has of it.
const quoted = 64

// quote makes bytes safe to print.
func quote(text []byte) string {
	if len(text) == 0 {
		return "nothing"
	}
	if len(text) > quoted {
		return fmt.Sprintf("%q...", text[:quoted])
	}
	return fmt.Sprintf("%q", text)
}
