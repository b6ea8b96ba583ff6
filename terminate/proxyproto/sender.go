package proxyproto

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"net/netip"
)

// Options say what the headers for a backend have in common.
type Options struct {
	Version Version
	// TLVs is what a header of version 2 tells where there is something to tell; the order does not matter. A field within
	// the SSL field brings that along. Version 1 has no fields.
	TLVs []TLV
	// Custom has fields of fixed values, of types from FirstCustom to LastCustom, each at most once.
	Custom []Field
	// PassOn has the types of a received header's fields that are sent on as they came. They take the place of our own of
	// the same type.
	PassOn []TLV
}

// Sender makes the headers for a backend. It is safe for concurrent use. The zero value's headers are empty.
type Sender struct {
	version Version
	tlvs    set
	passOn  set
	custom  []Field
}

// Connection is what a header tells of a client's connection. What is empty is left out.
type Connection struct {
	// Source and Destination are the connection's two ends. When one is not valid, as of a Unix socket, the header says that
	// they are unknown. A zone is left out: it says nothing on another host.
	Source, Destination netip.AddrPort
	Authority           string
	Protocol            string // as negotiated by ALPN
	UniqueID            []byte // at most 128 bytes
	Namespace           string // of the network that the client connected in
	TLS                 *TLS   // nil: the client's TLS is not known, or is none
	// Received has the fields of the header that came before the connection's bytes.
	Received []Field
}

// NewSender returns a sender of such headers. An error says what in options the protocol has no place for.
func NewSender(options Options) (*Sender, error) {
	s := &Sender{version: options.Version}
	if int(s.version) >= len(versions) {
		return nil, fmt.Errorf("PROXY protocol version %d", s.version)
	}
	if s.version != V2 && len(options.Custom)+len(options.PassOn) > 0 {
		return nil, fmt.Errorf("PROXY protocol %v has no place for fields", s.version)
	}
	if err := errors.Join(s.tell(options.TLVs), s.add(options.Custom), s.pass(options.PassOn)); err != nil {
		return nil, err
	}
	return s, nil
}

func (s *Sender) tell(types []TLV) error {
	for _, t := range types {
		switch {
		case t.ofSSL():
			s.tlvs.add(SSL)
		case t == ALPN, t == Authority, t == CRC32C, t == UniqueID, t == SSL, t == NetworkNamespace:
		default:
			return fmt.Errorf("TLV %v has no value of its own", t)
		}
		s.tlvs.add(t)
	}
	return nil
}

func (s *Sender) add(custom []Field) error {
	var seen set
	for _, field := range custom {
		if !field.Type.custom() {
			return fmt.Errorf("TLV %v is not a custom one: %v to %v are", field.Type, FirstCustom, LastCustom)
		}
		if seen.has(field.Type) {
			return fmt.Errorf("TLV %v has two values", field.Type)
		}
		seen.add(field.Type)
		s.custom = append(s.custom, Field{Type: field.Type, Value: bytes.Clone(field.Value)})
	}
	_, err := s.Append(nil, Connection{})
	return err
}

func (s *Sender) pass(types []TLV) error {
	for _, t := range types {
		switch {
		case t == CRC32C, t == NoOp:
			return fmt.Errorf("TLV %v is about the header it came in and cannot be passed on", t)
		case t.ofSSL():
			return fmt.Errorf("TLV %v is passed on with %v", t, SSL)
		}
		s.passOn.add(t)
	}
	return nil
}

// Version is that of the headers.
func (s *Sender) Version() Version { return s.version }

// Append appends c's header to dst, in one piece: it is to be sent whole, before anything else (2.1, 2.2). An error
// means that what there is to tell does not fit into a header: nothing is left out to make it fit, and dst comes back as
// it was.
func (s *Sender) Append(dst []byte, c Connection) ([]byte, error) {
	switch s.version {
	case V1:
		return appendLine(dst, c.Source, c.Destination), nil
	case V2:
		w := writer{bytes: dst, start: len(dst)}
		w.begin(c.Source, c.Destination)
		s.fields(&w, &c)
		if w.finish(s.tlvs.has(CRC32C)); w.err != nil {
			return dst, fmt.Errorf("proxy header: %w", w.err)
		}
		return w.bytes, nil
	default:
		return dst, nil
	}
}

// fields writes the fields; a checksum comes last, so that it covers what is then there.
func (s *Sender) fields(w *writer, c *Connection) {
	passed := s.passed(c.Received)
	own := func(t TLV) bool { return s.tlvs.has(t) && !passed.has(t) }
	if own(ALPN) {
		w.text(ALPN, c.Protocol)
	}
	if own(Authority) {
		w.text(Authority, c.Authority)
	}
	if own(UniqueID) && len(c.UniqueID) > 0 {
		w.field(UniqueID, c.UniqueID)
	}
	if own(SSL) && c.TLS != nil {
		s.ssl(w, c.TLS)
	}
	if own(NetworkNamespace) {
		w.text(NetworkNamespace, c.Namespace)
	}
	for _, field := range s.custom {
		if !passed.has(field.Type) {
			w.field(field.Type, field.Value)
		}
	}
	for _, field := range c.Received {
		if passed.has(field.Type) {
			w.field(field.Type, field.Value)
		}
	}
	if s.tlvs.has(CRC32C) {
		w.field(CRC32C, noChecksum)
	}
}

// passed has the types that received has and that are passed on.
func (s *Sender) passed(received []Field) (types set) {
	for _, field := range received {
		if s.passOn.has(field.Type) {
			types.add(field.Type)
		}
	}
	return types
}

// LocalHeader is the header of a connection of our own, such as a health check. Of version 2 it is the LOCAL command
// (2.2). Version 1 has none, so it tells the connection's own ends, as the specification recommends because some
// receivers refuse UNKNOWN (2.1); that is sent when an end is not valid. For Off it is empty.
func LocalHeader(version Version, source, destination netip.AddrPort) []byte {
	switch version {
	case V1:
		return appendLine(nil, source, destination)
	case V2:
		return append([]byte(signature), commandLocal, familyUnknown, 0, 0)
	default:
		return nil
	}
}

// AddrPort is the IP address and port of a socket's end, not valid when it has none.
func AddrPort(end net.Addr) netip.AddrPort {
	if ip, ok := end.(interface{ AddrPort() netip.AddrPort }); ok {
		return ip.AddrPort()
	}
	return netip.AddrPort{}
}
