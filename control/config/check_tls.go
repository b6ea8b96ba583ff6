package config

import (
	"fmt"
	"net/url"
	"slices"
	"time"
)

func (c *checker) checkTLS() {
	c.checkProtocols("tls.alpn", c.TLS.ALPN)
	c.checkClientAuth("tls.client_auth", c.TLS.ClientAuth)
	c.checkTickets("session_tickets", c.SessionTickets)
}

// checkRouteTLS checks what a route says of TLS itself. What it inherits is
// checked where it was written.
func (c *checker) checkRouteTLS(path string, route Route) {
	if c.wrote(path + ".tls.alpn") {
		c.checkProtocols(path+".tls.alpn", route.TLS.ALPN)
	}
	if c.wrote(path + ".tls.client_auth") {
		c.checkClientAuth(path+".tls.client_auth", route.TLS.ClientAuth)
	}
	if c.wrote(path + ".session_tickets") {
		c.checkTickets(path+".session_tickets", route.SessionTickets)
	}
}

func (c *checker) checkClientAuth(path string, auth ClientAuth) {
	if auth.Mode != ClientAuthOff && auth.CAFile == "" {
		c.problem(path+".ca_file", "missing: it says whose certificates are good")
	}
	if c.wrote(path + ".allow") {
		checkList(c, path+".allow.cn", auth.Allow.CN, nil)
		checkList(c, path+".allow.dns", auth.Allow.DNS, nil)
		checkList(c, path+".allow.uri", auth.Allow.URI, checkURI)
		checkList(c, path+".allow.spki_sha256", auth.Allow.SPKISHA256, nil)
	}
}

// checkList checks that no item of a list is empty or in it twice, and each by
// itself.
func checkList[T comparable](c *checker, path string, list []T, check func(T) error) {
	var zero T
	for i, item := range list {
		at := fmt.Sprintf("%s[%d]", path, i)
		if item == zero {
			c.problem(at, "empty")
		} else if slices.Index(list, item) < i {
			c.problem(at, "%s is in the list twice", quote(fmt.Sprint(item)))
		} else if check != nil {
			if err := check(item); err != nil {
				c.problem(at, "%v", err)
			}
		}
	}
}

func checkURI(text string) error {
	if address, err := url.Parse(text); err != nil || !address.IsAbs() {
		return fmt.Errorf("%s is not a URI, as in spiffe://example.org/service", quote(text))
	}
	return nil
}

func (c *checker) checkTickets(path string, tickets SessionTickets) {
	// No ticket is taken for longer (RFC 8446, section 4.6.1).
	const longest = 7 * day
	if !c.wrote(path + ".rotate") {
		return
	}
	c.notShorter(path+".rotate", tickets.Rotate, time.Minute)
	c.notLonger(path+".rotate", tickets.Rotate, longest)
	if tickets.KeyFile != "" && tickets.Rotate != defaultRotate {
		c.warn(path+".rotate", "not used with key_file: the keys change when that does")
	}
}
