package preamble

import "io"

// Startup is a PostgreSQL client's first message within TLS.
type Startup struct {
	// Message is to be sent to the server before all else. Nil: it is a Cancel.
	Message []byte
	// Cancel is as in Opening.
	Cancel *Key
}

// ReadStartup reads that message, and not a byte more. An *Error says that it is none; the client has been told. Any other
// error is the connection's.
func ReadStartup(conn io.ReadWriter) (Startup, error) {
	in := newInbox(conn, startupHeader)
	code, length, err := in.startup()
	if err != nil {
		return Startup{}, err
	}
	switch {
	case code == codeCancel && isKey(length-startupHeader):
	case code>>16 == 3:
	default:
		return Startup{}, refuseStartup(conn, code) // of SSLRequest, too: there is TLS already
	}
	message := make([]byte, length)
	copy(message, in.held)
	if _, err := io.ReadFull(conn, message[startupHeader:]); err != nil {
		return Startup{}, early(err)
	}
	if code == codeCancel {
		return Startup{Cancel: &Key{string(message[startupHeader:])}}, nil
	}
	return Startup{Message: message}, nil
}
