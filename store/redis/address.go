package redis

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"hellogate/store"
)

// place is where the server is, or the servers that know where it is.
type place struct {
	addresses []string // host:port, or the path of a socket
	socket    bool
	tls       bool
	user      string
	database  int
	// shown is the place for people.
	shown string
}

const expected = "redis://host:port/database, rediss:// or unix:///path/to/socket?db=0 expected"

func parsePlace(options Options) (place, error) {
	text := options.URL
	if text == "" && len(options.Addresses) > 0 {
		text = "redis:"
	}
	// The parser's own error is left out: it quotes what may be a password.
	base, err := url.Parse(text)
	if err != nil {
		return place{}, errors.New("the store's url is malformed: " + expected)
	}
	if _, found := base.User.Password(); found {
		return place{}, errors.New("the store's url holds a password: give a password_file instead")
	}
	result := place{user: base.User.Username()}
	base.User = nil
	if base.Fragment != "" || base.Opaque != "" {
		return place{}, errors.New("the store's url is malformed: " + expected)
	}
	switch base.Scheme {
	case "unix":
		err = result.useSocket(base)
	case "redis", "rediss":
		result.tls = base.Scheme == "rediss"
		err = result.useHosts(base, options)
	default:
		err = fmt.Errorf("store url %q: scheme %q: redis, rediss or unix expected", base.String(), base.Scheme)
	}
	if err != nil {
		return place{}, err
	}
	return result, result.check(options)
}

func (p *place) useSocket(base *url.URL) (err error) {
	p.shown, p.socket, p.addresses = base.String(), true, []string{base.Path}
	query, err := url.ParseQuery(base.RawQuery)
	if err != nil || base.Host != "" || !strings.HasPrefix(base.Path, "/") {
		return errors.New("the store's url is malformed: unix:///path/to/socket expected, with three slashes")
	}
	for key, values := range query {
		if key != "db" || len(values) != 1 {
			return errors.New("the store's url is malformed: its query may hold db alone, once")
		}
		p.database, err = parseDatabase(values[0])
	}
	return err
}

func (p *place) useHosts(base *url.URL, options Options) (err error) {
	if base.RawQuery != "" || base.ForceQuery {
		return errors.New("the store's url is malformed: it has a query: " + expected)
	}
	if path := strings.TrimPrefix(base.Path, "/"); path != "" {
		if p.database, err = parseDatabase(path); err != nil {
			return err
		}
	}
	hosts := options.Addresses
	switch {
	case base.Host != "" && len(hosts) > 0:
		return errors.New("both a host in the store's url and addresses")
	case base.Host != "":
		hosts = []string{base.Host}
	case len(hosts) == 0:
		return fmt.Errorf("store url %q has no host", base.String())
	}
	port := "6379"
	if options.SentinelMaster != "" {
		port = "26379"
	}
	for _, host := range hosts {
		address, err := withPort(host, port)
		if err != nil {
			return err
		}
		p.addresses = append(p.addresses, address)
	}
	p.shown = base.String()
	if base.Host == "" {
		p.shown = base.Scheme + "://" + strings.Join(p.addresses, ",") + base.Path
	}
	return nil
}

func parseDatabase(text string) (int, error) {
	database, err := strconv.ParseUint(text, 10, 31)
	if err != nil {
		return 0, fmt.Errorf("database %q of the store's url: a number expected", text)
	}
	return int(database), nil
}

// withPort returns host as host:port.
func withPort(host, port string) (string, error) {
	if name, given, err := net.SplitHostPort(host); err == nil {
		number, err := strconv.ParseUint(given, 10, 16)
		if err != nil || number == 0 || name == "" {
			return "", fmt.Errorf("address %q: host:port expected", host)
		}
		return host, nil
	}
	bare := strings.TrimSuffix(strings.TrimPrefix(host, "["), "]")
	if bare == "" || strings.ContainsAny(bare, "/@[] ") || strings.Contains(host, ":") && bare == host && net.ParseIP(host) == nil {
		return "", fmt.Errorf("address %q: host:port expected", host)
	}
	return net.JoinHostPort(bare, port), nil
}

// check refuses what does not go together.
func (p *place) check(options Options) error {
	several := options.Cluster || options.SentinelMaster != ""
	switch {
	case options.Cluster && options.SentinelMaster != "":
		return errors.New("both a cluster and a sentinel's master")
	case p.socket && (several || len(options.Addresses) > 0):
		return fmt.Errorf("store url %q: a socket with addresses, a cluster or a sentinel's master", p.shown)
	case options.Cluster && p.database != 0:
		return fmt.Errorf("database %d: a cluster has only database 0", p.database)
	case !several && len(p.addresses) > 1:
		return errors.New("several addresses, but neither a cluster nor a sentinel's master")
	case !p.tls && (options.CAFile != "" || options.CertFile != "" || options.KeyFile != "" || options.InsecureSkipVerify):
		return fmt.Errorf("store url %q: settings of TLS without rediss", p.shown)
	case p.user != "" && options.Username != "" && p.user != options.Username:
		return errors.New("a user in the store's url and another one beside it")
	case options.Password != "" && options.PasswordFile != "":
		return errors.New("both a password and a password file")
	}
	if slices.ContainsFunc(p.addresses, func(address string) bool { return !p.allowed(address, options.Plaintext) }) {
		return fmt.Errorf("store url %q: %w", p.shown, errPlaintext)
	}
	return nil
}

var errPlaintext = errors.New("private keys would cross the network in plain text: use rediss, or allow it with plaintext")

// allowed reports whether the address may be connected to. A sentinel and a cluster name others than those configured.
func (p *place) allowed(address string, plaintext bool) bool {
	host, _, err := net.SplitHostPort(address)
	return p.socket || p.tls || plaintext || err == nil && store.Loopback(host)
}
