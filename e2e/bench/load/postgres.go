package load

import (
	"fmt"
	"io"

	"hellogate/e2e/bench/backend"
)

// What PostgreSQL's clients say: the request for TLS, and the first message, of version 3.0 and one user.
const (
	sslRequest = "\x00\x00\x00\x08\x04\xd2\x16\x2f"
	startup    = "\x00\x00\x00\x14\x00\x03\x00\x00user\x00bench\x00\x00"
)

// askForTLS is what goes before a ClientHello.
func askForTLS(connection io.ReadWriter) error {
	if _, err := io.WriteString(connection, sslRequest); err != nil {
		return err
	}
	var answer [1]byte
	if _, err := io.ReadFull(connection, answer[:]); err != nil {
		return err
	}
	if answer[0] != 'S' {
		return fmt.Errorf("asked for TLS: answered %q", answer)
	}
	return nil
}

// exchange is what a connection is made for: a message to the backend and one back.
func (d *dialer) exchange(connection io.ReadWriter) error {
	if !d.asks {
		return echoByte(connection)
	}
	if _, err := io.WriteString(connection, startup); err != nil {
		return err
	}
	_, err := io.ReadFull(connection, make([]byte, backend.Answered))
	return err
}
