package health

import (
	"context"
	"fmt"
	"net"
	"testing"
	"time"

	"hellogate/terminate/pool"
)

// A server that dies gets no more connections, and gets them again when it is back.
func TestThePoolHearsOfIt(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := listener.Addr().String()
	go drain(listener)
	other := listen(t, "tcp", "127.0.0.1:0", func(net.Conn) bool { return true })
	told := make(chan string, 10)
	p, err := pool.New(pool.Options{
		Name: "mail", Servers: []pool.ServerOptions{{Address: address, Weight: 1}, {Address: other.endpoint, Weight: 1}},
		OnDown: func(s *pool.Server) { told <- s.Endpoint() },
	})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		Run(ctx, Options{Interval: 10 * time.Millisecond, Timeout: 5 * time.Second}, p.Watch)
	}()
	defer func() {
		cancel()
		<-ended
	}()
	await(t, p, "up up")
	_ = listener.Close()
	await(t, p, "down up")
	expect(t, "told", <-told, address)
	if listener, err = net.Listen("tcp", address); err != nil {
		t.Skip("the port is taken: ", err)
	}
	defer listener.Close()
	go drain(listener)
	await(t, p, "up up")
}

func drain(listener net.Listener) {
	for {
		conn, err := listener.Accept()
		if err != nil {
			return
		}
		_ = conn.Close()
	}
}

// await waits until the servers have these states.
func await(t *testing.T, p *pool.Pool, want string) {
	t.Helper()
	var got string
	for end := time.Now().Add(5 * time.Second); time.Now().Before(end); time.Sleep(time.Millisecond) {
		servers := p.Status().Servers
		got = fmt.Sprint(servers[0].State, " ", servers[1].State)
		if got == want && !servers[1].CheckedAt.IsZero() {
			return
		}
	}
	t.Errorf("states are %s, want %s", got, want)
}
