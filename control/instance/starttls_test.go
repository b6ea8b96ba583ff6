package instance

import (
	"io"
	"net"
	"testing"
	"time"

	"hellogate/control/config"
)

// What a listener's clients say before TLS, and what servers are asked, is as the file has it, after a reload, too; health
// checks ask as connections do.
func TestStartTLS(t *testing.T) {
	request := []byte{0, 0, 0, 8, 4, 210, 22, 47}
	server, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	asked := make(chan []byte, 100)
	done := make(chan struct{})
	t.Cleanup(func() { server.Close(); <-done })
	go func() {
		defer close(done)
		for {
			conn, err := server.Accept()
			if err != nil {
				return
			}
			got := make([]byte, len(request))
			_ = conn.SetDeadline(time.Now().Add(time.Second))
			_, _ = io.ReadFull(conn, got)
			conn.Close()
			asked <- got
		}
	}()
	loaded := configuration(t, `listeners: [{address: "127.0.0.1:0", starttls: postgres}]`)
	mail := loaded.Backends["mail"]
	mail.Servers = []config.Server{{Address: server.Addr().String(), Weight: 1}}
	mail.SendProxy, mail.StartTLS, mail.TLS = config.SendProxyOff, config.StartTLSPostgres, &config.BackendTLS{ServerName: config.ClientName}
	mail.Health = &config.Health{Interval: 50 * time.Millisecond, Timeout: time.Second, Rise: 1, Fall: 1}
	loaded.Backends["mail"] = mail
	balancer, next := reloading(t, loaded)
	if backend := balancer.plane.Load().plan.Backends["mail"]; backend.StartTLS.String() != "postgres" {
		t.Errorf("backend asks for TLS in %q", backend.StartTLS)
	}
	select {
	case got := <-asked:
		if string(got) != string(request) {
			t.Errorf("a check begins with %x", got)
		}
	case <-time.After(5 * time.Second):
		t.Error("no check")
	}
	if got := answerTo(t, balancer, request); got != "S" {
		t.Errorf("answered %q", got)
	}
	next.Store(changed(loaded, func(c *config.Config) {
		c.Listeners = []config.Listener{c.Listeners[0]}
		c.Listeners[0].StartTLS = ""
	}))
	if _, err := balancer.Reload(); err != nil {
		t.Fatal(err)
	}
	if got := answerTo(t, balancer, request); got != "" {
		t.Errorf("answered %q where nothing is asked for", got)
	}
}

// answerTo is what comes back on a connection, of which this was sent.
func answerTo(t *testing.T, balancer *Instance, sent []byte) string {
	t.Helper()
	conn, err := net.Dial("tcp", balancer.Addresses()[0].String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(5 * time.Second))
	if _, err := conn.Write(sent); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, 1)
	n, _ := conn.Read(got)
	return string(got[:n])
}
