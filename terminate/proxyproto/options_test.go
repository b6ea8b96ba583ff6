package proxyproto

import (
	"strings"
	"testing"
)

func TestNewSenderRefuses(t *testing.T) {
	big := make([]byte, maxLength/2)
	tests := []struct {
		name    string
		options Options
		want    string
	}{
		{"a version", Options{Version: 3}, "version 3"},
		{"custom fields in version 1", Options{Version: V1, Custom: []Field{{0xe0, nil}}}, "no place"},
		{"passing on in version 1", Options{Version: V1, PassOn: []TLV{0xe0}}, "no place"},
		{"passing on in none", Options{PassOn: []TLV{0xe0}}, "no place"},
		{"a custom field below the range", Options{Version: V2, Custom: []Field{{0xdf, nil}}}, "0xdf is not a custom one"},
		{"a custom field above the range", Options{Version: V2, Custom: []Field{{0xf0, nil}}}, "0xf0 is not a custom one"},
		{"a custom field twice", Options{Version: V2, Custom: []Field{{0xe0, nil}, {0xe0, nil}}}, "two values"},
		{"a custom field too long", Options{Version: V2, Custom: []Field{{0xe0, make([]byte, maxLength+1)}}}, "of 65536 bytes"},
		{"custom fields too long", Options{Version: V2, Custom: []Field{{0xe0, big}, {0xe1, big}, {0xe2, big}}}, "bytes after"},
		{"a field without a value", Options{Version: V2, TLVs: []TLV{0xe0}}, "no value"},
		{"padding", Options{Version: V2, TLVs: []TLV{NoOp}}, "no value"},
		{"a checksum passed on", Options{Version: V2, PassOn: []TLV{CRC32C}}, "cannot be passed on"},
		{"padding passed on", Options{Version: V2, PassOn: []TLV{NoOp}}, "cannot be passed on"},
		{"a part of SSL passed on", Options{Version: V2, PassOn: []TLV{SSLCommonName}}, "passed on with ssl"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if _, err := NewSender(test.options); err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("%v, want %q", err, test.want)
			}
		})
	}
}

func TestSenderKeepsItsOwnValues(t *testing.T) {
	value := []byte("fixed")
	s := sender(t, Options{Version: V2, Custom: []Field{{0xe0, value}}})
	value[0] = 'X'
	if got, _ := Find(fieldsOf(t, header(t, s, everything())), 0xe0); string(got) != "fixed" {
		t.Errorf("%q", got)
	}
}

func TestParseNames(t *testing.T) {
	for _, known := range tlvs {
		if got, err := ParseTLV(known.tlv.String()); err != nil || got != known.tlv {
			t.Errorf("%v: %v, %v", known.tlv, got, err)
		}
	}
	for text, want := range map[string]TLV{"0xea": 0xea, "0xEA": 0xea, "0x02": Authority} {
		if got, err := ParseTLV(text); err != nil || got != want {
			t.Errorf("%s: %v, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "sni", "0x", "0x100", "234", "0x-1", "ALPN"} {
		if got, err := ParseTLV(text); err == nil {
			t.Errorf("%q: %v", text, got)
		}
	}
	for v, name := range versions {
		if got, err := ParseVersion(name); err != nil || got != Version(v) {
			t.Errorf("%s: %v, %v", name, got, err)
		}
	}
	if got, err := ParseVersion("v3"); err == nil {
		t.Errorf("v3: %v", got)
	}
}
