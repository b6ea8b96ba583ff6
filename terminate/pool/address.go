package pool

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"path"
	"strconv"
	"strings"
)

// Address is where a server is to be found.
type Address struct {
	text    string
	network string // tcp or unix
	literal netip.AddrPort
	path    string // of a Unix socket
	host    string // a name, of a host or of SRV records; empty: an IP address or a Unix socket
	port    uint16 // of the host
	srv     bool
}

// ParseAddress reads the address of a server: host:port with a name or an IP address, an IPv6 one in brackets;
// unix:/path or unix:@name, a Unix socket, the latter in Linux's abstract namespace; or srv://_service._tcp.domain, which
// stands for the hosts and ports in the SRV records of that name: those of the lowest priority are used, the others are
// backups, and their weights take the place of the configured one unless that is 0.
func ParseAddress(text string) (Address, error) {
	a := Address{text: text, network: "tcp"}
	if name, ok := strings.CutPrefix(text, "srv://"); ok {
		a.host, a.srv = name, true
		if !isName(name) {
			return Address{}, errors.New("want srv:// and a name, as in srv://_imap._tcp.example.com")
		}
		return a, nil
	}
	if name, ok := strings.CutPrefix(text, "unix:"); ok {
		a.network, a.path = "unix", name
		if !isSocket(name) {
			return Address{}, errors.New("want the whole path of the socket, as in unix:/run/app.sock, or unix:@name")
		}
		return a, nil
	}
	err := a.parseHost()
	return a, err
}

// maxSocketPath is what fits a sockaddr_un everywhere, its zero byte left out.
const maxSocketPath = 103

func isSocket(name string) bool {
	return len(name) > 1 && len(name) <= maxSocketPath && !strings.ContainsRune(name, 0) && (path.IsAbs(name) || name[0] == '@')
}

// parseHost reads host:port.
func (a *Address) parseHost() error {
	host, port, err := net.SplitHostPort(a.text)
	if err != nil {
		return errors.New("it is not host:port, as in 127.0.0.1:9000 or [::1]:9000")
	}
	number, err := strconv.ParseUint(port, 10, 16)
	if err != nil || number == 0 {
		return errors.New("the port must be a number from 1 to 65535")
	}
	a.port = uint16(number)
	if ip, err := netip.ParseAddr(host); err == nil {
		a.literal = netip.AddrPortFrom(ip.Unmap(), a.port)
		return nil
	}
	if a.host = host; !isName(host) {
		return fmt.Errorf("%q is neither a host name nor an IP address", host)
	}
	return nil
}

// isName reports whether text could be a name in DNS, or in the hosts file. An IP address that is none, such as
// 10.0.0.256, is not looked up.
func isName(text string) bool {
	text = strings.TrimSuffix(text, ".")
	if len(text) == 0 || len(text) > 253 {
		return false
	}
	labels := strings.Split(text, ".")
	for _, label := range labels {
		if len(label) == 0 || len(label) > 63 || strings.IndexFunc(label, notOfName) >= 0 {
			return false
		}
	}
	_, err := strconv.ParseUint(labels[len(labels)-1], 10, 64)
	return err != nil
}

func notOfName(r rune) bool {
	return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && r != '-' && r != '_'
}

// String returns the address as configured.
func (a Address) String() string { return a.text }

func (a Address) isName() bool { return a.host != "" }

// endpoint is what an address stands for that is no name.
func (a Address) endpoint() endpoint {
	if a.network == "unix" {
		return endpoint{network: a.network, address: a.path}
	}
	return tcpEndpoint(a.literal)
}

// endpoint is a place to connect to.
type endpoint struct {
	network string
	address string // as net.Dial takes it
	literal netip.AddrPort
	weight  int // from an SRV record; 0: as configured
	backup  bool
}

func tcpEndpoint(at netip.AddrPort) endpoint {
	return endpoint{network: "tcp", address: at.String(), literal: at}
}
