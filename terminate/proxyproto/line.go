package proxyproto

import (
	"bytes"
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
)

// parseLine reads a line of version 1 (2.1).
func parseLine(p []byte) (Header, int, error) {
	if len(p) > len(word) && p[len(word)] != ' ' {
		return Header{}, 0, fmt.Errorf("proxy header: %q after %s", p[len(word)], word)
	}
	size, err := lineSize(p)
	if err != nil {
		return Header{}, 0, err
	}
	line := string(p[:size-len("\r\n")])
	source, destination, err := lineEnds(strings.Split(line, " ")[1:])
	if err != nil {
		return Header{}, 0, fmt.Errorf("proxy header %q: %w", line, err)
	}
	return Header{Version: V1, Source: source, Destination: destination}, size, nil
}

// lineSize is the size of the line with its CR LF. A CR or LF alone does not end it and must not be in it.
func lineSize(p []byte) (int, error) {
	p = p[:min(len(p), maxLine)]
	at := bytes.IndexAny(p, "\r\n")
	switch {
	case at < 0 && len(p) == maxLine, at == maxLine-1:
		return 0, fmt.Errorf("proxy header: a line of more than %d bytes", maxLine)
	case at < 0, at == len(p)-1 && p[at] == '\r':
		return 0, ErrShort
	case p[at] == '\n' || p[at+1] != '\n':
		return 0, errors.New("proxy header: a line that does not end in CR LF")
	}
	return at + len("\r\n"), nil
}

// lineEnds reads the words after the first. What follows UNKNOWN is ignored.
func lineEnds(words []string) (source, destination netip.AddrPort, err error) {
	if len(words) > 0 && words[0] == lineUnknown {
		return source, destination, nil
	}
	if len(words) != 5 || words[0] != lineTCP4 && words[0] != lineTCP6 {
		return source, destination, errors.New("not a family, two addresses and two ports")
	}
	if source, err = lineEnd(words[0], words[1], words[3]); err != nil {
		return source, destination, err
	}
	destination, err = lineEnd(words[0], words[2], words[4])
	return source, destination, err
}

// lineEnd reads an address of that family, and a port.
func lineEnd(family, address, port string) (netip.AddrPort, error) {
	ip, err := netip.ParseAddr(address)
	if err != nil || ip.Zone() != "" || ip.Is4() != (family == lineTCP4) {
		return netip.AddrPort{}, fmt.Errorf("%s address %q", family, address)
	}
	number, err := strconv.ParseUint(port, 10, 16)
	if err != nil || port[0] == '0' && port != "0" {
		return netip.AddrPort{}, fmt.Errorf("port %q", port)
	}
	return netip.AddrPortFrom(ip.Unmap(), uint16(number)), nil
}
