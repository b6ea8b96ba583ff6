package config

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"path"
	"strconv"
	"strings"

	"hellogate/sni"
)

// checkListenAddress says what is wrong with an address to listen on.
func checkListenAddress(address string) error {
	host, _, err := splitAddress(address)
	if err == nil && host != "" && !isHost(host) {
		err = fmt.Errorf("%s is neither a host name nor an IP address; leave it out for every address", quote(host))
	}
	return err
}

const (
	socketPrefix  = "unix:"
	servicePrefix = "srv://"
)

// isSocket reports whether the address to connect to is that of a Unix socket.
func isSocket(address string) bool { return strings.HasPrefix(address, socketPrefix) }

// checkServerAddress says what is wrong with an address to connect to.
func checkServerAddress(address string) error {
	if socket, ok := strings.CutPrefix(address, socketPrefix); ok {
		if !path.IsAbs(socket) {
			return fmt.Errorf("%s: want the whole path of the socket, as in unix:/run/imap.sock", quote(address))
		}
		return CheckSocket(socket)
	}
	if service, ok := strings.CutPrefix(address, servicePrefix); ok {
		return checkService(address, service)
	}
	return checkHostAddress(address)
}

// checkService says what is wrong with the name of a SRV record (RFC 2782).
func checkService(address, service string) error {
	labels := strings.SplitN(service, ".", 3)
	if len(labels) < 3 || len(labels[0]) < 2 || labels[0][0] != '_' || labels[1] != "_tcp" {
		return fmt.Errorf("%s does not name a service, as in srv://_imap._tcp.example.com", quote(address))
	}
	for _, name := range []string{labels[0][1:] + ".example", labels[2]} {
		if _, err := sni.Normalize(name); err != nil {
			return fmt.Errorf("%s does not name a service: %w", quote(address), err)
		}
	}
	return nil
}

// checkHostAddress says what is wrong with the host and port of an address to
// connect to.
func checkHostAddress(address string) error {
	host, port, err := splitAddress(address)
	switch {
	case err != nil:
		return err
	case host == "":
		return fmt.Errorf("%s has no host, as in 127.0.0.1%s", quote(address), quoteBare(address))
	case !isHost(host):
		return fmt.Errorf("%s is neither a host name nor an IP address", quote(host))
	case port == 0:
		return fmt.Errorf("%s: nothing can be reached on port 0", quote(address))
	}
	return nil
}

func splitAddress(address string) (host string, port uint16, err error) {
	host, text, err := net.SplitHostPort(address)
	if err != nil {
		return "", 0, fmt.Errorf("%s is not host:port, as in \":443\", \"127.0.0.1:9000\" or \"[::1]:443\"", quote(address))
	}
	number, err := strconv.ParseUint(text, 10, 16)
	if err != nil {
		return "", 0, fmt.Errorf("%s: the port must be a number up to 65535", quote(address))
	}
	return host, uint16(number), nil
}

// takesFreePort reports whether an address to listen on leaves the port to the
// system, so that several of them differ.
func takesFreePort(address string) bool {
	_, port, err := splitAddress(address)
	return err == nil && port == 0
}

func isIP(text string) bool {
	_, err := netip.ParseAddr(text)
	return err == nil
}

func isLoopback(host string) bool {
	address, err := netip.ParseAddr(host)
	return strings.EqualFold(host, "localhost") || err == nil && address.Unmap().IsLoopback()
}

var (
	errNotURL = errors.New("not a URL, as in https://127.0.0.1:8888/certs")
	errScheme = errors.New("must begin with https://, http:// or unix://")
)

// parseHTTPURL reads the URL of a service that is asked over HTTP; errScheme is
// that of one asked otherwise. Its errors never repeat the text, which may hold
// a password where none belongs.
func parseHTTPURL(text string) (*url.URL, error) {
	address, err := url.Parse(text)
	if err != nil {
		return nil, errNotURL
	}
	switch address.Scheme {
	case "https", "http":
		err = checkHostPart(address, errNotURL)
	case "unix":
		err = checkSocketPart(address, "unix:///run/certs.sock")
	case "":
		err = errNotURL
	default:
		err = errScheme
	}
	if err == nil && address.User != nil {
		err = errors.New("a user name or password has no place in it")
	}
	if err == nil && address.Fragment != "" {
		err = errors.New("a # has no place in it")
	}
	return address, err
}

// checkHostPart returns malformed for an address without a host.
func checkHostPart(address *url.URL, malformed error) error {
	if address.Opaque != "" || !isHost(address.Hostname()) {
		return malformed
	}
	if port := address.Port(); port != "" {
		if number, err := strconv.ParseUint(port, 10, 16); err != nil || number == 0 {
			return errors.New("the port must be a number from 1 to 65535")
		}
	}
	return nil
}

func checkSocketPart(address *url.URL, example string) error {
	if address.Host != "" || !path.IsAbs(address.Path) {
		return fmt.Errorf("want the whole path of the socket, as in %s", example)
	}
	return nil
}

// withoutQuery returns the part of a URL that may be shown.
func withoutQuery(text string) string {
	before, _, _ := strings.Cut(text, "?")
	return before
}
