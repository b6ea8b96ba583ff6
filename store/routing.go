package store

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"regexp"
	"strconv"
	"strings"

	"hellogate/sni"
)

// BackendHeader names a backend in the header of an answer whose body can't: one that is PEM, 304, or JSON without a
// member for it.
const BackendHeader = "X-Hellogate-Backend"

// routingText is what the members of an answer say of routing; nil is one that was not there.
type routingText struct {
	backend *string
	servers []string
}

// setServers reads the array of addresses. Then servers is not nil.
func (t *routingText) setServers(decoder *json.Decoder) error {
	if t.servers != nil {
		return errors.New("servers is there twice")
	}
	if err := expect(decoder, '['); err != nil {
		return fmt.Errorf("servers: %w", err)
	}
	t.servers = []string{}
	for decoder.More() {
		if len(t.servers) == MaxServers {
			return fmt.Errorf("more than %d servers", MaxServers)
		}
		token, err := next(decoder)
		if err != nil {
			return fmt.Errorf("servers: %w", err)
		}
		address, ok := token.(string)
		if !ok {
			return fmt.Errorf("servers[%d] is no string", len(t.servers))
		}
		t.servers = append(t.servers, address)
	}
	return expect(decoder, ']')
}

// decode returns nil for members that were not there.
func (t routingText) decode() (*Routing, error) {
	switch {
	case t.backend != nil && t.servers != nil:
		return nil, errors.New("both backend and servers")
	case t.backend != nil:
		return toBackend(*t.backend)
	case t.servers != nil:
		return toServers(t.servers)
	}
	return nil, nil
}

// backendName is what a configuration takes for one.
var backendName = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}$`)

// toBackend does not quote what it refuses, as nothing that reads an answer does.
func toBackend(name string) (*Routing, error) {
	if !backendName.MatchString(name) {
		return nil, errors.New("backend is no name of up to 64 letters, digits, hyphens, underscores and dots")
	}
	return &Routing{Backend: name}, nil
}

func toServers(addresses []string) (*Routing, error) {
	if len(addresses) == 0 {
		return nil, errors.New("servers is empty")
	}
	servers := make([]string, len(addresses))
	for i, address := range addresses {
		server, err := serverAddress(address)
		if err != nil {
			return nil, fmt.Errorf("servers[%d]: %w", i, err)
		}
		servers[i] = server
	}
	return &Routing{Servers: servers}, nil
}

// serverAddress returns host:port in one spelling: IP addresses as netip writes them, names in lower case.
func serverAddress(address string) (string, error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return "", errors.New("not host:port")
	}
	number, err := strconv.ParseUint(port, 10, 16)
	if err != nil || number == 0 {
		return "", errors.New("the port is no number from 1 to 65535")
	}
	if host, err = serverHost(host); err != nil {
		return "", err
	}
	return net.JoinHostPort(host, strconv.FormatUint(number, 10)), nil
}

func serverHost(host string) (string, error) {
	ip, err := netip.ParseAddr(host)
	if err != nil {
		if _, err := sni.Normalize(strings.TrimSuffix(host, ".")); err != nil {
			return "", errors.New("the host is neither an IP address nor a name")
		}
		return strings.ToLower(host), nil
	}
	// An interface of this machine is not the store's to choose, and the unspecified address is dialled as loopback.
	if ip = ip.Unmap(); ip.Zone() != "" || ip.IsUnspecified() {
		return "", errors.New("the IP address has a zone or is unspecified")
	}
	return ip.String(), nil
}

// routed returns what the header of an answer and the members of its body say together.
func routed(header http.Header, members *Routing) (*Routing, error) {
	names := header.Values(BackendHeader)
	switch len(names) {
	case 0:
		return members, nil
	case 1:
	default:
		return nil, fmt.Errorf("header %s is there %d times", BackendHeader, len(names))
	}
	routing, err := toBackend(names[0])
	if err != nil {
		return nil, fmt.Errorf("header %s: %w", BackendHeader, err)
	}
	if members != nil && members.Backend != routing.Backend {
		return nil, fmt.Errorf("header %s and the body route to different places", BackendHeader)
	}
	return routing, nil
}
