package main

import (
	"encoding/pem"
	"strings"
	"testing"
)

// What a file holds is said of it when it is given in the other's place.
func TestWhatFilesHold(t *testing.T) {
	block := func(kind string) string {
		return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: []byte("marker")}))
	}
	chain, key, ec := block("CERTIFICATE"), block("PRIVATE KEY"), block("EC PARAMETERS")+block("EC PRIVATE KEY")
	for _, test := range []struct {
		name, text string
		asChain    string // "": no error
		asKey      string
	}{
		{"a certificate", chain, "", "file.pem holds 1 certificate: one private key expected"},
		{"a chain", chain + chain, "", "file.pem holds 2 certificates: one private key expected"},
		{"a key", key, "file.pem holds 1 private key: certificates alone expected", ""},
		{"a key behind its parameters", ec, "file.pem holds 1 private key: certificates alone expected", ""},
		{"both", chain + key, "file.pem holds 1 certificate and 1 private key: certificates alone expected", "file.pem holds 1 certificate and 1 private key: one private key expected"},
		{"two keys", key + key, "file.pem holds 2 private keys: certificates alone expected", "file.pem holds 2 private keys: one private key expected"},
		{"a public key", block("PUBLIC KEY"), "file.pem holds 1 block that is neither: certificates alone expected", "file.pem holds 1 block that is neither: one private key expected"},
		{"no PEM", "marker", "file.pem holds nothing in PEM: certificates alone expected", "file.pem holds nothing in PEM: one private key expected"},
		{
			"a chain cut short", chain + chain[:40], "file.pem holds 1 certificate and 1 block that is malformed or cut short: certificates alone expected",
			"file.pem holds 1 certificate and 1 block that is malformed or cut short: one private key expected",
		},
		{"nothing", "", "file.pem holds nothing in PEM: certificates alone expected", "file.pem holds nothing in PEM: one private key expected"},
	} {
		for _, check := range []struct {
			as   string
			err  error
			want string
		}{
			{"chain", holdsChain("file.pem", []byte(test.text)), test.asChain},
			{"key", holdsKey("file.pem", []byte(test.text)), test.asKey},
		} {
			got := ""
			if check.err != nil {
				got = check.err.Error()
			}
			if got != check.want || strings.Contains(got, "marker") {
				t.Errorf("%s as a %s: %q, want %q", test.name, check.as, got, check.want)
			}
		}
	}
}
