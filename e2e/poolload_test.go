package e2e

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// serverRole is the variable that tells one of the test's own processes that it is a server, and where.
const serverRole = "HELLOGATE_E2E_SERVER"

// serverProcess is a server in a process of its own, which can be killed as no goroutine can.
type serverProcess struct {
	t       testing.TB
	address string
	command *exec.Cmd
}

func newServerProcess(t testing.TB) *serverProcess {
	t.Helper()
	s := &serverProcess{t: t, address: freeAddress(t)}
	s.start()
	t.Cleanup(s.kill)
	return s
}

// start returns when it listens.
func (s *serverProcess) start() {
	s.t.Helper()
	s.command = exec.Command(must(os.Executable()), "-test.run=^TestServerProcess$")
	s.command.Env = append(os.Environ(), serverRole+"="+s.address, "HELLOGATE_BINARY="+hellogate)
	output := must(s.command.StdoutPipe())
	if err := s.command.Start(); err != nil {
		s.t.Fatal(err)
	}
	if line, err := bufio.NewReader(output).ReadString('\n'); err != nil || line != "listening\n" {
		s.t.Fatalf("a server process said %q: %v", line, err)
	}
}

// kill ends it as kill -9 does.
func (s *serverProcess) kill() {
	s.command.Process.Signal(syscall.SIGKILL)
	s.command.Wait()
}

// TestServerProcess is no test: it is the server, of the tests that start it.
func TestServerProcess(t *testing.T) {
	address := os.Getenv(serverRole)
	if address == "" {
		t.Skip("this is a part of other tests")
	}
	listener, err := net.Listen("tcp", address)
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	fmt.Println("listening")
	for {
		conn, err := listener.Accept()
		if err != nil {
			os.Exit(1)
		}
		go func() {
			defer conn.Close()
			conn.SetDeadline(time.Now().Add(patience))
			if _, err := readProxyHeader(conn); err == nil {
				fmt.Fprintln(conn, conn.LocalAddr())
				io.Copy(conn, conn)
			}
		}()
	}
}

// crowdOf is clients that come and go all the time.
type crowdOf struct {
	group  sync.WaitGroup
	ended  atomic.Bool
	mutex  sync.Mutex
	served map[string]int   // visits, by server
	failed map[string]error // by the client's address
}

// visiting starts n clients, each of which makes one connection after another, with an echo in each.
func visiting(g *gate, n int) *crowdOf {
	c := &crowdOf{served: map[string]int{}, failed: map[string]error{}}
	for range n {
		c.group.Go(func() {
			for !c.ended.Load() {
				c.visit(g)
			}
		})
	}
	return c
}

func (c *crowdOf) visit(g *gate) {
	client, server, err := echoOnce(g)
	c.mutex.Lock()
	defer c.mutex.Unlock()
	if err != nil {
		c.failed[client] = err
	} else {
		c.served[server]++
	}
}

func echoOnce(g *gate) (source, server string, err error) {
	c, err := handshake(g.address, "a.example")
	if c == nil {
		return "", "", err
	}
	defer c.wire.Close()
	source = c.wire.LocalAddr().String()
	if err != nil {
		return source, "", err
	}
	if server, err = c.told(); err != nil {
		return source, server, err
	}
	if _, err = io.WriteString(c, "hello"); err == nil {
		_, err = io.ReadFull(c, make([]byte, 5))
	}
	c.Close()
	return source, server, err
}

func (c *crowdOf) visits(server string) int {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	return c.served[server]
}

// leave ends the visits.
func (c *crowdOf) leave() { c.ended.Store(true); c.group.Wait() }

// A server is killed under load and comes back: who was connected to it is cut off, and nobody else notices. It gets its
// share again. Nothing but the connections themselves tells that it is gone.
func TestPoolServerKilledUnderLoad(t *testing.T) {
	t.Parallel()
	servers := []*serverProcess{newServerProcess(t), newServerProcess(t), newServerProcess(t)}
	victim := servers[1]
	g := start(t, usesStore(newStore(t)), usesBackend(servers[0].address, victim.address, servers[2].address),
		inMain("ejection: {failures: 5, time: 1s}"))
	g.visitPlain()
	const clients = 12
	crowd := visiting(g, clients)
	g.eventually("it is busy", func() bool { return crowd.visits(victim.address) > 20 })
	victim.kill()
	g.awaitState("ejected", victim.address)
	before := crowd.visits(victim.address)
	victim.start()
	g.eventually("it is busy again", func() bool { return crowd.visits(victim.address) > before+20 })
	crowd.leave()
	if len(crowd.failed) > clients {
		t.Errorf("%d visits failed, of %d clients", len(crowd.failed), clients)
	}
	for client, err := range crowd.failed {
		if e := g.access("client", client); e.text("stage") != "splice" || e.text("server") != victim.address {
			t.Errorf("a visit failed that could have been saved: %v; logged %v", err, e)
		}
	}
	if n := g.refusals("no_backend"); n != 0 {
		t.Errorf("%d found no server", n)
	}
}

// visitPlain makes one connection, so that the certificate is there.
func (g *gate) visitPlain() {
	g.t.Helper()
	if _, _, err := echoOnce(g); err != nil {
		g.t.Fatal(err)
	}
}

// Every server is killed and started again, in turn, under load, with checks that take out what is down: no connection
// fails but those that a killed server had.
func TestPoolRollingRestart(t *testing.T) {
	t.Parallel()
	servers := []*serverProcess{newServerProcess(t), newServerProcess(t)}
	g := start(t, usesStore(newStore(t)), usesBackend(servers[0].address, servers[1].address), checked)
	g.visitPlain()
	const clients = 8
	crowd := visiting(g, clients)
	for _, s := range servers {
		g.awaitState("up", servers[0].address, servers[1].address)
		s.kill()
		g.awaitState("down", s.address)
		s.start()
	}
	g.awaitState("up", servers[0].address, servers[1].address)
	crowd.leave()
	if len(crowd.failed) > 2*clients {
		t.Errorf("%d visits failed, of %d clients", len(crowd.failed), clients)
	}
	for client, err := range crowd.failed {
		if e := g.access("client", client); e.text("stage") != "splice" {
			t.Errorf("a visit failed that could have been saved: %v; logged %v", err, e)
		}
	}
}
