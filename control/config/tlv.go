package config

import (
	"cmp"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// Bytes is text as it was written, or what it stands for in hexadecimal behind
// "hex:", as in hex:00ff.
type Bytes string

func parseBytes(text string) (Bytes, error) {
	digits, found := strings.CutPrefix(text, "hex:")
	if !found {
		return Bytes(text), nil
	}
	octets, err := hex.DecodeString(digits)
	if err != nil {
		return "", fmt.Errorf("%s is not hexadecimal behind hex:, as in hex:00ff", quote(text))
	}
	return Bytes(octets), nil
}

// TLVType is the number of a field in a PROXY header of version 2.
type TLVType uint8

// AllTLVs stands for every field but those that hold for one hop alone, the
// checksum and padding. It is no field's number.
const AllTLVs TLVType = 0

const (
	firstCustomTLV = 0xE0
	lastCustomTLV  = 0xEF
)

// passedTLVs are the fields that can be passed on, as a file writes them. Custom
// ones are written as numbers.
var passedTLVs = map[string]TLVType{
	"all": AllTLVs, "alpn": 0x01, "authority": 0x02, "unique_id": 0x05, "ssl": 0x20, "netns": 0x30,
}

// String returns t as a file writes it.
func (t TLVType) String() string {
	for name, number := range passedTLVs {
		if number == t {
			return name
		}
	}
	return fmt.Sprintf("0x%02X", uint8(t))
}

func parseTLVType(text string) (TLVType, error) {
	if number, ok := passedTLVs[text]; ok {
		return number, nil
	}
	if number, err := parseCustomTLV(text); err == nil {
		return number, nil
	}
	known := slices.Sorted(maps.Keys(passedTLVs))
	return 0, fmt.Errorf("%s is not one of %s, nor a number from 0xE0 to 0xEF%s", quote(text), strings.Join(known, ", "), didYouMean(text, known))
}

func parseCustomTLV(text string) (TLVType, error) {
	if len(text) == len("0xE0") && strings.HasPrefix(text, "0x") {
		number, err := strconv.ParseUint(text[len("0x"):], 16, 8)
		if err == nil && number >= firstCustomTLV && number <= lastCustomTLV {
			return TLVType(number), nil
		}
	}
	return 0, fmt.Errorf("%s is not a number from 0xE0 to 0xEF", quote(text))
}

// CustomField is a field of one's own in a PROXY header.
type CustomField struct {
	Type  TLVType // 0xE0 to 0xEF
	Value []byte
}

// CustomFields returns the fields of CustomTLVs in the order of their types.
func (b Backend) CustomFields() []CustomField {
	fields := make([]CustomField, 0, len(b.CustomTLVs))
	for text, value := range b.CustomTLVs {
		if number, err := parseCustomTLV(text); err == nil {
			fields = append(fields, CustomField{number, []byte(value)})
		}
	}
	slices.SortFunc(fields, func(a, b CustomField) int { return cmp.Compare(a.Type, b.Type) })
	return fields
}
