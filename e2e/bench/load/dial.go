package load

import (
	"bytes"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"hellogate/e2e/bench/backend"
)

const (
	suite = tls.TLS_AES_128_GCM_SHA256 // the only one that counts: a proxy that negotiates another is set up wrongly

	// patience is how long a connection may take for what it does in one round.
	patience = 2 * time.Minute

	alertHandshakeFailure = 40
	alertUnrecognizedName = 112
	alertIllegalParameter = 47
	alertMissingExtension = 109
)

// dialer makes TLS connections to the proxy as the plan wants them.
type dialer struct {
	address string
	plain   bool
	asks    bool // for TLS, in PostgreSQL's words
	config  *tls.Config
}

func newDialer(plan Plan) (*dialer, error) {
	groups := map[string]tls.CurveID{"": tls.X25519, "X25519": tls.X25519, "X25519MLKEM768": tls.X25519MLKEM768}
	group, found := groups[plan.Group]
	if !found {
		return nil, fmt.Errorf("unknown group %q", plan.Group)
	}
	return &dialer{address: plan.Address, plain: plan.Plain, asks: plan.Postgres, config: &tls.Config{
		MinVersion: tls.VersionTLS13, CurvePreferences: []tls.CurveID{group},
		InsecureSkipVerify: true, // verifying a chain would cost the client time, and the proxy none
		VerifyConnection:   checkConnection,
	}}, nil
}

// checkConnection makes sure that what is measured is what was meant.
func checkConnection(state tls.ConnectionState) error {
	if state.CipherSuite != suite {
		return fmt.Errorf("negotiated %s", tls.CipherSuiteName(state.CipherSuite))
	}
	return state.PeerCertificates[0].VerifyHostname(state.ServerName)
}

// dial makes a connection, which may take part in the sessions of cache.
func (d *dialer) dial(name string, cache tls.ClientSessionCache) (*tls.Conn, error) {
	raw, err := net.DialTimeout("tcp", d.address, patience)
	if err != nil {
		return nil, err
	}
	config := d.config.Clone()
	config.ServerName, config.ClientSessionCache = name, cache
	connection := tls.Client(raw, config)
	err = raw.SetDeadline(time.Now().Add(patience))
	if err == nil && d.asks {
		err = askForTLS(raw)
	}
	if err == nil {
		err = connection.Handshake()
	}
	if err != nil {
		raw.Close()
		return nil, err
	}
	return connection, nil
}

// stream makes a connection that is to carry data: over TLS, or behind a ClientHello as it is.
func (d *dialer) stream(name string) (net.Conn, error) {
	if !d.plain {
		return d.dial(name, nil)
	}
	connection, err := net.DialTimeout("tcp", d.address, patience)
	if err != nil {
		return nil, err
	}
	err = connection.SetDeadline(time.Now().Add(patience))
	if err == nil {
		_, err = connection.Write(d.hello(name))
	}
	if err != nil {
		connection.Close()
		return nil, err
	}
	return connection, nil
}

// hello is what a client would send first.
func (d *dialer) hello(name string) []byte {
	config, written := d.config.Clone(), &recorder{}
	config.ServerName = name
	_ = tls.Client(written, config).Handshake() // ends when it reads
	return written.first
}

// recorder is a connection to nobody, which keeps what is written first.
type recorder struct {
	net.Conn
	first []byte
}

func (r *recorder) Write(p []byte) (int, error) {
	if r.first == nil {
		r.first = bytes.Clone(p)
	}
	return len(p), nil
}

func (r *recorder) Read([]byte) (int, error)         { return 0, io.EOF }
func (r *recorder) SetWriteDeadline(time.Time) error { return nil } // for an alert

// probePlain makes one connection that is not encrypted.
func (d *dialer) probePlain(name string) Opened {
	connection, err := d.stream(name)
	if err != nil {
		return Opened{Error: err.Error()}
	}
	defer connection.Close()
	if err := echoByte(connection); err != nil {
		return Opened{Error: fmt.Sprintf("echo: %v", err)}
	}
	return Opened{}
}

// probe makes one connection and tells what it negotiated.
func (d *dialer) probe(name string) Opened {
	if d.plain {
		return d.probePlain(name)
	}
	connection, err := d.dial(name, nil)
	if err != nil {
		return Opened{Error: err.Error(), Unsupported: alerted(err, alertHandshakeFailure, alertIllegalParameter, alertMissingExtension)}
	}
	defer connection.Close()
	if err := d.exchange(connection); err != nil {
		return Opened{Error: fmt.Sprintf("echo: %v", err)}
	}
	state := connection.ConnectionState()
	return Opened{
		Suite: tls.CipherSuiteName(state.CipherSuite), Group: state.CurveID.String(),
		Key: state.PeerCertificates[0].PublicKeyAlgorithm.String(),
	}
}

// alerted tells whether err is one of the alerts, received from the other side.
func alerted(err error, alerts ...uint8) bool {
	var remote *net.OpError
	if !errors.As(err, &remote) || remote.Op != "remote error" {
		return false
	}
	for _, alert := range alerts {
		if remote.Err.Error() == tls.AlertError(alert).Error() { // crypto/tls exports no better way to tell
			return true
		}
	}
	return false
}

// echoByte puts the backend into echoing, and gets the first byte back.
func echoByte(connection io.ReadWriter) error {
	message := []byte{backend.Echo}
	if _, err := connection.Write(message); err != nil {
		return err
	}
	_, err := io.ReadFull(connection, message)
	return err
}

// command is what tells the backend to send or receive bytes.
func command(what byte, bytes int64) []byte {
	return binary.BigEndian.AppendUint64([]byte{what}, uint64(bytes))
}

// receive has the backend send bytes, and reads them through buffer.
func receive(connection io.ReadWriter, bytes int64, buffer []byte) error {
	if _, err := connection.Write(command(backend.Send, bytes)); err != nil {
		return err
	}
	for bytes > 0 {
		n, err := connection.Read(buffer[:min(bytes, int64(len(buffer)))])
		bytes -= int64(n)
		if err != nil && bytes > 0 {
			return err
		}
	}
	return nil
}

// send sends bytes out of buffer, and waits until the backend has them all.
func send(connection io.ReadWriter, bytes int64, buffer []byte) error {
	if _, err := connection.Write(command(backend.Receive, bytes)); err != nil {
		return err
	}
	for bytes > 0 {
		n, err := connection.Write(buffer[:min(bytes, int64(len(buffer)))])
		if err != nil {
			return err
		}
		bytes -= int64(n)
	}
	var answer [1]byte
	_, err := io.ReadFull(connection, answer[:])
	return err
}
