package demo

import (
	"fmt"
	"strconv"
	"strings"

	upstream "github.com/pires/go-proxyproto"
	"github.com/pires/go-proxyproto/tlvparse"
)

// describe writes a PROXY header for people, one field a line.
func describe(header *upstream.Header) string {
	var text strings.Builder
	fmt.Fprintf(&text, "PROXY v%d\n", header.Version)
	fmt.Fprintf(&text, "  source       %s\n", header.SourceAddr)
	fmt.Fprintf(&text, "  destination  %s\n", header.DestinationAddr)
	fields, err := header.TLVs()
	if err != nil {
		fmt.Fprintf(&text, "  broken TLVs: %v\n", err)
	}
	for _, field := range fields {
		text.WriteString(describeField(field))
	}
	return text.String()
}

func describeField(field upstream.TLV) string {
	switch field.Type {
	case upstream.PP2_TYPE_AUTHORITY:
		return line("authority", strconv.QuoteToASCII(string(field.Value)))
	case upstream.PP2_TYPE_ALPN:
		return line("alpn", strconv.QuoteToASCII(string(field.Value)))
	case upstream.PP2_TYPE_UNIQUE_ID:
		return line("unique_id", strconv.QuoteToASCII(string(field.Value)))
	case upstream.PP2_TYPE_CRC32C:
		return line("crc32c", fmt.Sprintf("%x", field.Value))
	case upstream.PP2_TYPE_SSL:
		return describeSSL(field)
	}
	return line(fmt.Sprintf("0x%02x", byte(field.Type)), fmt.Sprintf("%x", field.Value))
}

func describeSSL(field upstream.TLV) string {
	ssl, err := tlvparse.SSL(field)
	if err != nil {
		return line("ssl", err.Error())
	}
	version, _ := ssl.SSLVersion()
	cipher, _ := ssl.SSLCipher()
	return line("ssl", fmt.Sprintf("version %q, cipher %q, client 0x%02x, verify %d", version, cipher, ssl.Client, ssl.Verify))
}

func line(key, value string) string { return fmt.Sprintf("  %-11s  %s\n", key, value) }
