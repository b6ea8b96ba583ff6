package control

import (
	"context"
	"net"
	"net/http"
	"time"

	"hellogate/control/config"
)

// How long a Client waits before it says that there is no answer. The kernel takes connections, and what is sent on
// them, for a process that is stopped, too.
const (
	answerTimeout = 10 * time.Second // for all but:
	fetchTimeout  = 5 * time.Minute  // for what became of a name, which may be behind others for the store's time
	reloadTimeout = time.Minute      // for a reload, whose configuration may be large
)

// over makes an HTTP client that speaks through the control socket at path. It waits to be taken as long as taken says, for
// the head of an answer as long as head says, then for each part of the body as long as body says.
func over(path string, taken, head, body time.Duration) *http.Client {
	dialer := net.Dialer{Timeout: taken}
	return &http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			if err := config.CheckSocket(path); err != nil {
				return nil, err
			}
			conn, err := dialer.DialContext(ctx, "unix", path)
			if err != nil {
				return nil, err
			}
			return &timedConn{Conn: conn, write: taken, read: max(head, body)}, nil
		},
		ResponseHeaderTimeout: head,
		DisableCompression:    true,
		DisableKeepAlives:     true, // the server may close an idle one just when a request that can't be repeated is sent
	}}
}

// timedConn is a connection of which each read and each write has its time.
type timedConn struct {
	net.Conn
	write, read time.Duration
}

func (c *timedConn) Read(into []byte) (int, error) {
	c.SetReadDeadline(time.Now().Add(c.read))
	return c.Conn.Read(into)
}

// Write puts off the end of the Read that has waited for the answer since before it was asked for.
func (c *timedConn) Write(text []byte) (int, error) {
	now := time.Now()
	c.SetWriteDeadline(now.Add(c.write))
	c.SetReadDeadline(now.Add(c.read))
	return c.Conn.Write(text)
}
