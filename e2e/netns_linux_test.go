package e2e

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// network is a network namespace: addresses, ports and a packet filter of its own. Nothing but an open file holds it, so
// that it goes with the test, however that ends.
type network struct {
	t        testing.TB
	file     *os.File
	resolver string // what programs in it have for /etc/resolv.conf; empty: the machine's
}

// newNetwork makes one, with a loopback interface that is up. It takes root, ip and nft.
func newNetwork(t testing.TB) *network {
	t.Helper()
	program(t, "ip")
	program(t, "nft")
	n := &network{t: t}
	err := onThread(func() error {
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			return err
		}
		var err error
		n.file, err = os.Open("/proc/thread-self/ns/net")
		return err
	})
	if errors.Is(err, unix.EPERM) && os.Getenv("HELLOGATE_REQUIRE_PEERS") != "1" {
		t.Skip("a network namespace takes root: not tested")
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { n.file.Close() })
	n.ip("link set lo up")
	return n
}

// onThread runs do on a thread that ends with it, and takes its namespaces with it.
func onThread(do func() error) error {
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // and never unlocks it
		done <- do()
	}()
	return <-done
}

// in runs do in the namespace: the sockets that it makes, and the programs that it starts, stay there.
func (n *network) in(do func() error) error {
	return onThread(func() error {
		if err := unix.Setns(int(n.file.Fd()), unix.CLONE_NEWNET); err != nil {
			return err
		}
		return do()
	})
}

// launch starts a program in the namespace.
func (n *network) launch(command *exec.Cmd) error {
	return n.in(func() error {
		if n.resolver != "" {
			if err := mountOver(n.resolver, "/etc/resolv.conf"); err != nil {
				return err
			}
		}
		return command.Start()
	})
}

// mountOver puts one file over another, for this thread and what it starts.
func mountOver(file, path string) error {
	if err := unix.Unshare(unix.CLONE_NEWNS); err != nil {
		return err
	}
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return err
	}
	return unix.Mount(file, path, "", unix.MS_BIND, "")
}

// ip runs ip in the namespace.
func (n *network) ip(arguments string) {
	n.t.Helper()
	n.execute("", "ip", strings.Fields(arguments)...)
}

// filter replaces the rules of the packet filter by these, of packets that come in.
func (n *network) filter(rules ...string) {
	n.t.Helper()
	chain := "chain incoming {\n type filter hook input priority 0\n" + strings.Join(rules, "\n") + "\n}\n"
	n.execute("flush ruleset\ntable inet e2e {\n"+chain+"}\n", "nft", "-f", "-")
}

func (n *network) execute(input, name string, arguments ...string) {
	n.t.Helper()
	command := exec.Command(program(n.t, name), arguments...)
	var output strings.Builder
	command.Stdin, command.Stdout, command.Stderr = strings.NewReader(input), &output, &output
	err := n.in(command.Start)
	if err == nil {
		err = command.Wait()
	}
	if err != nil {
		n.t.Fatalf("%v: %v\n%s%s", command, err, input, &output)
	}
}

// listen listens in the namespace.
func (n *network) listen(address string) (listener net.Listener, err error) {
	err = n.in(func() (err error) { listener, err = net.Listen("tcp", address); return err })
	return listener, err
}

// dial connects in the namespace, from an address.
func (n *network) dial(source, address string) (conn *net.TCPConn, err error) {
	from, err := net.ResolveTCPAddr("tcp", net.JoinHostPort(source, "0"))
	if err != nil {
		return nil, err
	}
	to, err := net.ResolveTCPAddr("tcp", address)
	if err != nil {
		return nil, err
	}
	err = n.in(func() (err error) { conn, err = net.DialTCP("tcp", from, to); return err })
	return conn, err
}

// start is start in the namespace. A store in the namespace has a certificate for every name.
func (n *network) start(overrides ...string) *gate {
	n.t.Helper()
	folder := shortFolder(n.t)
	for _, name := range []string{"a.example", "b.example"} {
		ca().issue([]string{name}).write(n.t, folder, name)
	}
	g := configured(n.t, append([]string{fmt.Sprintf("stores: [{dir: {path: %q}}]", folder)}, overrides...)...)
	g.launch = n.launch
	g.run("run", "--config", g.config)
	return g
}

// client is dialFrom in the namespace.
func (n *network) client(source, address, name string) (*client, error) {
	conn, err := n.dial(source, address)
	if err != nil {
		return nil, err
	}
	return overConn(conn, name)
}

// echoes starts servers in the namespace that tell themselves and echo, at the addresses.
func (n *network) echoes(addresses ...string) {
	n.t.Helper()
	for _, address := range addresses {
		listener, err := n.listen(address)
		if err != nil {
			n.t.Fatal(err)
		}
		b := &backend{t: n.t, address: address, do: tellsItself, accepted: make(chan *peer, 1<<14)}
		b.running.Go(func() { b.accept(listener.(*net.TCPListener)) })
		n.t.Cleanup(func() {
			listener.Close()
			for len(b.accepted) > 0 {
				(<-b.accepted).Close() // what ended it may have been dropped
			}
			b.running.Wait()
		})
	}
}

// reached makes a connection for a.example in the namespace and gives the server that it got to, and how long it took.
func (n *network) reached(g *gate) (server string, took time.Duration) {
	n.t.Helper()
	began := time.Now()
	c, err := n.client("127.0.0.1", g.address, "a.example")
	if err != nil {
		n.t.Fatal(err)
	}
	defer c.wire.Close()
	server = c.wantTold(n.t)
	c.wantEcho(n.t, "hello")
	c.Close()
	return server, time.Since(began)
}

// resolvesBy has programs in the namespace ask the name server at 127.0.0.1.
func (n *network) resolvesBy(options string) {
	n.t.Helper()
	n.resolver = filepath.Join(shortFolder(n.t), "resolv.conf")
	writeFile(n.t, n.resolver, "nameserver 127.0.0.1\noptions "+options+"\n")
}
