package proxyproto

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"net/netip"
	"slices"
	"strconv"
)

// ends are the addresses as one family has them, which the protocol demands (2.1, 2.2), and whether that is IPv4. An
// IPv4 address is an IPv6 one when the other end is, and one that a dual-stack socket had as IPv6 is IPv4 again.
func ends(source, destination netip.AddrPort) (from, to netip.Addr, isIPv4, known bool) {
	from, to = source.Addr().Unmap(), destination.Addr().Unmap()
	if !from.IsValid() || !to.IsValid() {
		return from, to, false, false
	}
	if from.Is4() && to.Is4() {
		return from, to, true, true
	}
	return netip.AddrFrom16(from.As16()), netip.AddrFrom16(to.As16()), false, true // without their zones
}

// appendLine appends a line of version 1 (2.1).
func appendLine(dst []byte, source, destination netip.AddrPort) []byte {
	from, to, isIPv4, known := ends(source, destination)
	switch {
	case !known:
		return append(dst, word+" "+lineUnknown+"\r\n"...)
	case isIPv4:
		dst = append(dst, word+" "+lineTCP4+" "...)
	default:
		dst = append(dst, word+" "+lineTCP6+" "...)
	}
	dst = append(from.AppendTo(dst), ' ')
	dst = append(to.AppendTo(dst), ' ')
	dst = append(strconv.AppendUint(dst, uint64(source.Port()), 10), ' ')
	return append(strconv.AppendUint(dst, uint64(destination.Port()), 10), "\r\n"...)
}

// writer appends a header of version 2, which begins at start, to bytes. After err the bytes mean nothing.
type writer struct {
	bytes []byte
	start int
	err   error
}

// usualSize is room for most headers.
const usualSize = 256

// begin writes what stands before the fields. The specification leaves receivers free to refuse a PROXY command of
// unknown addresses (2.2), and HAProxy 2.6 and go-proxyproto do. So LOCAL is sent, as HAProxy and Envoy do: a receiver
// must accept it and use the connection's real ends.
func (w *writer) begin(source, destination netip.AddrPort) {
	w.bytes = append(slices.Grow(w.bytes, usualSize), signature...)
	from, to, isIPv4, known := ends(source, destination)
	switch {
	case !known:
		w.bytes = append(w.bytes, commandLocal, familyUnknown, 0, 0)
		return
	case isIPv4:
		a, b := from.As4(), to.As4()
		w.bytes = append(append(append(w.bytes, commandProxy, familyTCP4, 0, 0), a[:]...), b[:]...)
	default:
		a, b := from.As16(), to.As16()
		w.bytes = append(append(append(w.bytes, commandProxy, familyTCP6, 0, 0), a[:]...), b[:]...)
	}
	w.bytes = binary.BigEndian.AppendUint16(w.bytes, source.Port())
	w.bytes = binary.BigEndian.AppendUint16(w.bytes, destination.Port())
}

// text writes a field when it has a value.
func (w *writer) text(t TLV, value string) {
	if value != "" {
		at := w.open(t)
		w.bytes = append(w.bytes, value...)
		w.close(t, at)
	}
}

func (w *writer) field(t TLV, value []byte) {
	if t == UniqueID && len(value) > maxUniqueID {
		w.fail(t, len(value), maxUniqueID)
	}
	at := w.open(t)
	w.bytes = append(w.bytes, value...)
	w.close(t, at)
}

// open begins a field and returns where its value does.
func (w *writer) open(t TLV) int {
	w.bytes = append(w.bytes, byte(t), 0, 0)
	return len(w.bytes)
}

// close fills in the length of the field whose value began at that place.
func (w *writer) close(t TLV, at int) {
	size := len(w.bytes) - at
	if size > maxLength {
		w.fail(t, size, maxLength)
	}
	binary.BigEndian.PutUint16(w.bytes[at-2:], uint16(size))
}

func (w *writer) fail(t TLV, size, limit int) {
	if w.err == nil {
		w.err = fmt.Errorf("TLV %v of %d bytes: at most %d", t, size, limit)
	}
}

// finish fills in the header's length, and its checksum, which is its last field, when it has one.
func (w *writer) finish(summed bool) {
	header := w.bytes[w.start:]
	size := len(header) - fixedSize
	if size > maxLength && w.err == nil {
		w.err = fmt.Errorf("%d bytes after the first %d: at most %d", size, fixedSize, maxLength)
	}
	if w.err != nil {
		return
	}
	binary.BigEndian.PutUint16(header[lengthOffset:], uint16(size))
	if summed {
		binary.BigEndian.PutUint32(header[len(header)-crc32.Size:], crc32.Checksum(header, castagnoli))
	}
}
