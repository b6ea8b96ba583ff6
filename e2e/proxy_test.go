package e2e

import (
	"crypto/tls"
	"encoding/hex"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

const allTLVs = "backends: {main: {send_proxy: v2, proxy_tlvs: [authority, alpn, ssl, unique_id, crc32c]}}"

// wantAddresses checks that a header names the client's and the listener's addresses.
func wantAddresses(t testing.TB, got proxyHeader, c *client) {
	t.Helper()
	source := c.LocalAddr().(*net.TCPAddr).AddrPort()
	destination := c.RemoteAddr().(*net.TCPAddr).AddrPort()
	if got.Source != unmapped(source) || got.Destination != unmapped(destination) {
		t.Errorf("header from %v to %v, want from %v to %v", got.Source, got.Destination, source, destination)
	}
}

func unmapped(a netip.AddrPort) netip.AddrPort { return netip.AddrPortFrom(a.Addr().Unmap(), a.Port()) }

// The header of version 2, with every TLV, says what is true of the connection. Verify is not 0 without a client certificate.
func TestProxyV2(t *testing.T) {
	t.Parallel()
	w := newWorld(t, allTLVs, "tls: {alpn: [imap]}")
	ids := map[string]bool{}
	for version, name := range map[uint16]string{tls.VersionTLS12: "TLSv1.2", tls.VersionTLS13: "TLSv1.3"} {
		c := w.dial("a.example", maxVersion(version), protocols("imap"))
		got := w.backend.next(t).header
		wantAddresses(t, got, c)
		if got.Version != 2 || got.Authority != "a.example" || got.ALPN != "imap" || !got.Checked || len(got.UniqueID) == 0 {
			t.Errorf("header %+v", got)
		}
		if got.SSL == nil || got.SSL.Client != 1 || got.SSL.Verify == 0 || got.SSL.Version != name || got.SSL.Cipher == "" {
			t.Errorf("TLS in the header: %+v", got.SSL)
		}
		if ids[string(got.UniqueID)] {
			t.Errorf("unique id %x was used before", got.UniqueID)
		}
		ids[string(got.UniqueID)] = true
		c.wantEcho(t, "behind the header")
		c.Close()
	}
}

// Only the TLVs that are configured are sent.
func TestProxyV2Plain(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "backends: {main: {send_proxy: v2, proxy_tlvs: []}}")
	c := w.dial("a.example")
	if got := w.backend.next(t).header; len(got.Raw) != 16+12 {
		t.Errorf("header with TLVs: %+v", got)
	}
	c.wantEcho(t, "hello")
}

// The header of version 1 is one line with the addresses.
func TestProxyV1(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "backends: {main: {send_proxy: v1}}")
	c := w.dial("a.example")
	got := w.backend.next(t).header
	wantAddresses(t, got, c)
	if got.Version != 1 {
		t.Errorf("version %d", got.Version)
	}
	c.wantEcho(t, "hello")
}

// With send_proxy off the backend gets the bytes and nothing before them.
func TestProxyOff(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "backends: {main: {send_proxy: off}}")
	w.backend.expectsNoHeader()
	c := w.dial("a.example")
	c.wantEcho(t, "first bytes")
}

// An IPv6 client is told as such, in both versions; an IPv4 client of a dual-stack listener as IPv4.
func TestProxyFamilies(t *testing.T) {
	t.Parallel()
	for _, version := range []string{"v1", "v2"} {
		address := freeAddressOn(t, "::")
		w := newWorld(t, fmt.Sprintf("listeners: [{address: %q}]", address), "backends: {main: {send_proxy: "+version+"}}")
		_, port, _ := net.SplitHostPort(address)
		for _, host := range []string{"::1", "127.0.0.1"} {
			w.address = net.JoinHostPort(host, port)
			c := w.dial("a.example")
			got := w.backend.next(t).header
			wantAddresses(t, got, c)
			if got.Source.Addr() != netip.MustParseAddr(host) {
				t.Errorf("%s client is told as %v", host, got.Source)
			}
			c.wantEcho(t, "hello")
		}
	}
}

// HAProxy as the backend understands the header, TLVs included, and is a judge: it refuses one with a wrong CRC32C.
func TestHAProxyJudges(t *testing.T) {
	t.Parallel()
	address := startHAProxy(t)
	w := newWorld(t, allTLVs, usesBackend(address))
	c := w.dial("a.example")
	fmt.Fprint(c, "GET / HTTP/1.0\r\n\r\n")
	page, err := io.ReadAll(c)
	if err != nil {
		t.Fatal(err)
	}
	source, destination := c.LocalAddr().(*net.TCPAddr), c.RemoteAddr().(*net.TCPAddr)
	want := fmt.Sprintf("from %s %d to %s %d authority a.example id ", source.IP, source.Port, destination.IP, destination.Port)
	_, got, _ := strings.Cut(string(page), "\r\n\r\n")
	if id, found := strings.CutPrefix(strings.TrimSpace(got), want); !found || len(id) < 2 {
		t.Errorf("HAProxy saw %q, want %q and an id", got, want)
	}

	right := summed(binaryHeader(0x21, 0x11, addresses4+tlv(tlvAuthority, "a.example")+blankSum))
	wrong := append([]byte{}, right...)
	wrong[len(wrong)-1] ^= 1
	request := []byte("GET / HTTP/1.0\r\n\r\n")
	if got, _ := exchange(t, address, append(right, request...)); !strings.Contains(string(got), "authority a.example") {
		t.Errorf("HAProxy answered %q to a right sum", got)
	}
	if got, _ := exchange(t, address, append(wrong, request...)); len(got) != 0 {
		t.Errorf("HAProxy answered %q to a wrong sum: no judge", got)
	}
}

func startHAProxy(t testing.TB) string {
	t.Helper()
	path, address, folder := program(t, "haproxy"), freeAddress(t), shortFolder(t)
	config := filepath.Join(folder, "haproxy.cfg")
	writeFile(t, config, fmt.Sprintf(`
global
    maxconn 100
defaults
    mode http
    timeout client 10s
    timeout server 10s
    timeout connect 1s
frontend judge
    bind %s accept-proxy
    http-request return status 200 content-type text/plain lf-string "from %%[src] %%[src_port] to %%[dst] %%[dst_port] authority %%[fc_pp_authority] id %%[fc_pp_unique_id,hex]\n"
`, address))
	startPeer(t, address, path, "-db", "-f", config)
	return address
}

// nginx as the backend understands both versions of the header.
func TestNginxJudges(t *testing.T) {
	t.Parallel()
	address := startNginx(t)
	for _, version := range []string{"v1", "v2"} {
		w := newWorld(t, allTLVs, "backends: {main: {send_proxy: "+version+"}}", usesBackend(address))
		c := w.dial("a.example")
		fmt.Fprint(c, "GET / HTTP/1.0\r\n\r\n")
		page, err := io.ReadAll(c)
		if err != nil {
			t.Fatal(err)
		}
		source, destination := c.LocalAddr().(*net.TCPAddr), c.RemoteAddr().(*net.TCPAddr)
		want := fmt.Sprintf("from %s %d to %s %d", source.IP, source.Port, destination.IP, destination.Port)
		if _, got, _ := strings.Cut(string(page), "\r\n\r\n"); strings.TrimSpace(got) != want {
			t.Errorf("%s: nginx saw %q, want %q", version, got, want)
		}
	}
}

func startNginx(t testing.TB) string {
	t.Helper()
	path, address, folder := program(t, "nginx"), freeAddress(t), shortFolder(t)
	config := filepath.Join(folder, "nginx.conf")
	writeFile(t, config, fmt.Sprintf(`
daemon off;
master_process off;
pid %[2]s/nginx.pid;
error_log stderr warn;
events {}
http {
    access_log off;
    client_body_temp_path %[2]s/1; proxy_temp_path %[2]s/2; fastcgi_temp_path %[2]s/3; uwsgi_temp_path %[2]s/4; scgi_temp_path %[2]s/5;
    server {
        listen %[1]s proxy_protocol;
        return 200 "from $proxy_protocol_addr $proxy_protocol_port to $proxy_protocol_server_addr $proxy_protocol_server_port\n";
    }
}
`, address, folder))
	startPeer(t, address, path, "-p", folder, "-c", config)
	return address
}

// startPeer runs a program until the test's end and waits until it listens at address.
func startPeer(t testing.TB, address, path string, arguments ...string) {
	t.Helper()
	command := exec.Command(path, arguments...)
	command.Stderr = t.Output()
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		command.Process.Signal(syscall.SIGTERM)
		timer := time.AfterFunc(patience, func() { command.Process.Kill() })
		command.Wait()
		timer.Stop()
	})
	for deadline := time.Now().Add(patience); ; time.Sleep(10 * time.Millisecond) {
		if conn, err := net.Dial("tcp", address); err == nil {
			conn.Close()
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s does not listen at %s", path, address)
		}
	}
}

// The header says of a client what the access log says, so that the two can be laid side by side.
func TestUniqueIDIsInTheLog(t *testing.T) {
	t.Parallel()
	w := newWorld(t, allTLVs)
	c := w.dial("a.example")
	id := w.backend.next(t).header.UniqueID
	c.Close()
	logged := w.accessOf(c).text("conn")
	if logged != string(id) && logged != hex.EncodeToString(id) {
		t.Errorf("unique id %x, in the log %q", id, logged)
	}
}
