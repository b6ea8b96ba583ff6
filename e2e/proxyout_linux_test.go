package e2e

import (
	"bytes"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// held keeps what is written, from the second flight on, until it is let go.
type held struct {
	*net.TCPConn
	kept    bytes.Buffer
	holding bool
}

func (h *held) Write(b []byte) (int, error) {
	if h.holding {
		return h.kept.Write(b)
	}
	h.holding = true
	return h.TCPConn.Write(b)
}

// segments is how many segments with data a connection has received (TCP_INFO).
func (p *peer) segments(t testing.TB) (n uint32) {
	t.Helper()
	raw := must(p.SyscallConn())
	raw.Control(func(fd uintptr) {
		info, err := unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO)
		if err != nil {
			t.Error(err)
			return
		}
		n = info.Data_segs_in
	})
	return n
}

// The first bytes of a client, where they are there with the end of its handshake, leave in one segment with the header.
func TestProxyOutWithFirstBytes(t *testing.T) {
	t.Parallel()
	for _, version := range []string{"v1", "v2"} {
		w := newWorld(t, "backends: {main: {send_proxy: "+version+"}}")
		got := make(chan uint32, 1)
		w.backend.does(func(p *peer) {
			defer p.Close()
			io.ReadFull(p, make([]byte, 5))
			got <- p.segments(t)
		})
		conn, err := net.Dial("tcp", w.address)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		conn.SetDeadline(time.Now().Add(patience))
		h := &held{TCPConn: conn.(*net.TCPConn)}
		session := tls.Client(h, &tls.Config{ServerName: "a.example", RootCAs: ca().pool, MinVersion: tls.VersionTLS13})
		if err := session.Handshake(); err != nil {
			t.Fatal(err)
		}
		io.WriteString(session, "EHLO\n")
		h.TCPConn.Write(h.kept.Bytes())
		if n := <-got; n != 1 {
			t.Errorf("%s: header and first bytes came in %d segments", version, n)
		}
	}
}

// Inside a network namespace that has a name, the header tells it. The client is openssl in that namespace, the server is
// reached from there by a Unix socket.
func TestProxyOutNamespace(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Skip("only root makes network namespaces")
	}
	ip, openssl := program(t, "ip"), program(t, "openssl")
	name := fmt.Sprintf("hg%d", os.Getpid())
	if got := execute(t, "", ip, "netns", "add", name); got.code != 0 {
		t.Skipf("no network namespace to be had: %s", got.stderr)
	}
	t.Cleanup(func() { execute(t, "", ip, "netns", "del", name) })
	execute(t, "", ip, "netns", "exec", name, ip, "link", "set", "lo", "up")

	folder, certs := shortFolder(t), filepath.Join(shortFolder(t), "certs")
	os.MkdirAll(filepath.Join(certs, "a.example"), 0o700)
	own := ca().issue([]string{"a.example"})
	writeFile(t, filepath.Join(certs, "a.example", "fullchain.pem"), own.certPEM())
	writeFile(t, filepath.Join(certs, "a.example", "privkey.pem"), own.keyPEM())
	listener, err := net.Listen("unix", filepath.Join(folder, "server.sock"))
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	told := make(chan proxyHeader, 1)
	go func() {
		conn, err := listener.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		header, err := readProxyHeader(conn)
		if err != nil {
			t.Error(err)
		}
		told <- header
	}()
	g := configured(t, fmt.Sprintf("stores: [{dir: {path: %q}}]", certs), fmt.Sprintf("backends: {main: {servers: [{address: 'unix:%s/server.sock'}], proxy_tlvs: [netns]}}", folder))
	g.runIn(ip, name)
	client := exec.Command(ip, "netns", "exec", name, openssl, "s_client", "-quiet", "-connect", g.address, "-servername", "a.example")
	if err := client.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { client.Process.Kill(); client.Wait() }()
	select {
	case header := <-told:
		if header.Namespace != name {
			t.Errorf("namespace %q, want %q", header.Namespace, name)
		}
	case <-time.After(patience):
		t.Fatal("no header came")
	}
}

// runIn is run within a namespace of the network. ip becomes the program.
func (g *gate) runIn(ip, namespace string) {
	g.t.Helper()
	g.command = exec.Command(ip, "netns", "exec", namespace, hellogate, "run", "--config", g.config)
	g.command.Env = append(os.Environ(), "HELLOGATE_STORE_TOKEN="+storeToken)
	g.command.Stderr = g.log
	g.command.WaitDelay = patience
	if err := g.command.Start(); err != nil {
		g.t.Fatal(err)
	}
	go func() {
		g.command.Wait()
		close(g.ended)
	}()
	g.t.Cleanup(g.stop)
	g.waitUntilReady()
}
