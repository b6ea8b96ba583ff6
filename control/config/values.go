package config

import (
	"crypto/sha256"
	"crypto/tls"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"net/netip"
	"strconv"
	"strings"
	"time"
)

// Size is a number of bytes. In a file it is written as a number, or as one
// with k, m or g behind it (1024, 1024² and 1024³).
type Size int64

// String returns s as it is written in a file, in the largest unit that fits.
func (s Size) String() string {
	units := []struct {
		suffix string
		shift  uint
	}{{"g", 30}, {"m", 20}, {"k", 10}}
	for _, unit := range units {
		if s != 0 && s%(1<<unit.shift) == 0 {
			return strconv.FormatInt(int64(s>>unit.shift), 10) + unit.suffix
		}
	}
	return strconv.FormatInt(int64(s), 10)
}

// ParseSize reads a size as files and flags write it: 65536, 64k, 512m, 32g.
func ParseSize(text string) (Size, error) {
	digits, shift := text, 0
	for suffix, bits := range map[string]int{"k": 10, "m": 20, "g": 30} {
		if before, ok := strings.CutSuffix(strings.ToLower(text), suffix); ok {
			digits, shift = before, bits
		}
	}
	if !isDigits(digits) {
		return 0, fmt.Errorf("%s is not a size: write it in bytes, or with k, m or g, as in 64k", quote(text))
	}
	count, err := strconv.ParseInt(digits, 10, 64)
	if err != nil || count > math.MaxInt64>>shift {
		return 0, fmt.Errorf("%s is larger than any memory", quote(text))
	}
	return Size(count << shift), nil
}

const day = 24 * time.Hour

// ParseDuration reads a duration as files and flags write it: as
// time.ParseDuration does, and with d for 24 hours before the other units, as
// in 1d12h. Negative ones are refused.
func ParseDuration(text string) (time.Duration, error) {
	days, rest, found := strings.Cut(text, "d")
	if !found {
		days, rest = "0", text
	}
	if isDigits(text) && strings.Trim(text, "0") != "" {
		return 0, fmt.Errorf("%s needs a unit, as in %ss or %sm", quote(text), quoteBare(text), quoteBare(text))
	}
	whole, err := parseDays(days)
	if err == nil && rest != "" {
		var more time.Duration
		more, err = time.ParseDuration(rest)
		whole, err = addDurations(whole, more, err)
	}
	switch {
	case errors.Is(err, errTooLong):
		return 0, fmt.Errorf("%s is longer than 290 years", quote(text))
	case strings.HasPrefix(text, "-"):
		return 0, fmt.Errorf("%s is negative", quote(text))
	case err != nil, text == "", found && strings.ContainsAny(rest, "+-"):
		return 0, fmt.Errorf("%s is not a duration: write it as 500ms, 30s, 1h30m or 7d", quote(text))
	}
	return whole, nil
}

var errTooLong = errors.New("too long")

func parseDays(text string) (time.Duration, error) {
	if strings.Trim(text, "0123456789.") != "" || text == "" {
		return 0, strconv.ErrSyntax
	}
	days, err := strconv.ParseFloat(text, 64)
	if err != nil {
		return 0, err
	}
	if days > float64(math.MaxInt64/int64(day)) {
		return 0, errTooLong
	}
	return time.Duration(days * float64(day)), nil
}

func addDurations(a, b time.Duration, err error) (time.Duration, error) {
	if err == nil && b > math.MaxInt64-a {
		return 0, errTooLong
	}
	return a + b, err
}

// Percent is a share, 0 to 100. In a file it is written as 50% or 50.
type Percent int

// String returns p as it is written in a file.
func (p Percent) String() string { return strconv.Itoa(int(p)) + "%" }

func parsePercent(text string) (Percent, error) {
	digits := strings.TrimSuffix(text, "%")
	share, err := strconv.ParseUint(digits, 10, 32)
	if err != nil || !isDigits(digits) || share > 100 {
		return 0, fmt.Errorf("%s is not a share from 0%% to 100%%", quote(text))
	}
	return Percent(share), nil
}

// Hash is a SHA-256 hash.
type Hash [sha256.Size]byte

// String returns h in hexadecimal.
func (h Hash) String() string { return hex.EncodeToString(h[:]) }

// parseHash reads a SHA-256 hash in hexadecimal, with or without colons, or in
// base64, which is how curl and browsers pin keys.
func parseHash(text string) (hash Hash, err error) {
	octets, err := hex.DecodeString(strings.ReplaceAll(text, ":", ""))
	if err != nil {
		octets, err = base64.StdEncoding.DecodeString(strings.TrimPrefix(text, "sha256//"))
	}
	if err != nil || len(octets) != len(hash) {
		return hash, fmt.Errorf("%s is not a SHA-256 hash: want 64 hexadecimal digits, or base64", quote(text))
	}
	return Hash(octets), nil
}

// Switch is something that is on or off, or, before Config is complete, neither.
// In a file it is written as true or false.
type Switch uint8

// SwitchUnset is of no meaning outside of this package: a complete Config has
// none.
const (
	SwitchUnset Switch = iota
	SwitchOff
	SwitchOn
)

// TLSVersion is a protocol version as crypto/tls numbers them.
type TLSVersion uint16

// String returns the version as a file writes it.
func (v TLSVersion) String() string {
	return strings.TrimPrefix(tls.VersionName(uint16(v)), "TLS ")
}

func parseTLSVersion(text string) (TLSVersion, error) {
	switch text {
	case "1.2":
		return tls.VersionTLS12, nil
	case "1.3":
		return tls.VersionTLS13, nil
	}
	return 0, fmt.Errorf("%s is not one of 1.2, 1.3", quote(text))
}

// parseMode reads a file mode from octal text. YAML makes a number of an
// unquoted 0600, so it must be given the text and never that number.
func parseMode(text string) (fs.FileMode, error) {
	mode, err := strconv.ParseUint(strings.TrimPrefix(text, "0o"), 8, 32)
	if err != nil || mode > 0o777 {
		return 0, fmt.Errorf("%s is not a file mode: write it in octal, as in %q", quote(text), "0600")
	}
	if mode&0o600 != 0o600 {
		return 0, fmt.Errorf("%s keeps the owner out: 0600 is the least", quote(text))
	}
	return fs.FileMode(mode), nil
}

// parseCount reads a decimal number. A leading zero is refused: YAML 1.1 reads
// such a number as octal, people do not.
func parseCount(text string) (int, error) {
	count, err := strconv.ParseInt(text, 10, 32)
	digits := strings.TrimPrefix(text, "-")
	switch {
	case errors.Is(err, strconv.ErrRange):
		return 0, fmt.Errorf("%s is out of range", quote(text))
	case err != nil, !isDigits(digits), len(digits) > 1 && digits[0] == '0':
		return 0, fmt.Errorf("want a whole number, got %s", quote(text))
	case count < 0:
		return 0, fmt.Errorf("%s is negative", quote(text))
	}
	return int(count), nil
}

// parsePrefix reads a range of addresses, or one address, which is the range of
// itself alone. What is written in several ways comes out in one.
func parsePrefix(text string) (netip.Prefix, error) {
	prefix, err := netip.ParsePrefix(text)
	if err != nil {
		address, err := netip.ParseAddr(text)
		if err != nil || address.Zone() != "" {
			return netip.Prefix{}, fmt.Errorf("%s is not a range of addresses, as in 10.0.0.0/8, nor one address", quote(text))
		}
		prefix = netip.PrefixFrom(address, address.BitLen())
	}
	const mapped = 96 // bits before the IPv4 address in an IPv6 one
	if prefix.Addr().Is4In6() && prefix.Bits() >= mapped {
		prefix = netip.PrefixFrom(prefix.Addr().Unmap(), prefix.Bits()-mapped)
	}
	return prefix.Masked(), nil
}

func isDigits(text string) bool {
	return text != "" && strings.Trim(text, "0123456789") == ""
}

// quote makes text from outside safe to print, and short.
func quote(text string) string {
	return `"` + quoteBare(text) + `"`
}

func quoteBare(text string) string {
	const most = 64
	cut := ""
	if len(text) > most {
		text, cut = text[:most], "..."
	}
	quoted := strconv.QuoteToASCII(text)
	return quoted[1:len(quoted)-1] + cut
}
