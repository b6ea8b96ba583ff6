package main

import (
	"bytes"
	"encoding/pem"
	"fmt"
	"strings"

	"hellogate/control"
)

// contents are how many blocks of PEM a text holds, by what is in them.
type contents struct{ certificates, keys, others, broken int }

// contentsOf counts what text holds, by the types of its blocks alone.
func contentsOf(text []byte) (found contents) {
	// pem.Decode passes over what it can't read.
	found.broken = bytes.Count(text, []byte("-----BEGIN "))
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		found.broken--
		switch {
		case block.Type == "CERTIFICATE":
			found.certificates++
		case strings.HasSuffix(block.Type, "PRIVATE KEY"):
			found.keys++
		case block.Type != "EC PARAMETERS": // which openssl puts before a key
			found.others++
		}
	}
	return found
}

// String says in words what there is.
func (c contents) String() string {
	var parts []string
	if c.certificates > 0 {
		parts = append(parts, control.Numbered(c.certificates, "certificate", "certificates"))
	}
	if c.keys > 0 {
		parts = append(parts, control.Numbered(c.keys, "private key", "private keys"))
	}
	if c.others > 0 {
		parts = append(parts, control.Numbered(c.others, "block that is neither", "blocks that are neither"))
	}
	if c.broken > 0 {
		parts = append(parts, control.Numbered(c.broken, "block that is malformed or cut short", "blocks that are malformed or cut short"))
	}
	if len(parts) == 0 {
		return "nothing in PEM"
	}
	return strings.Join(parts, " and ")
}

// holdsChain says what a file holds that is no chain of certificates. Whether they can be used is for the server to say.
func holdsChain(path string, text []byte) error {
	if found := contentsOf(text); found.certificates == 0 || found.keys+found.others+found.broken > 0 {
		return fmt.Errorf("%s holds %s: certificates alone expected", path, found)
	}
	return nil
}

// holdsKey says what a file holds that is no private key.
func holdsKey(path string, text []byte) error {
	if found := contentsOf(text); found.keys != 1 || found.certificates+found.others+found.broken > 0 {
		return fmt.Errorf("%s holds %s: one private key expected", path, found)
	}
	return nil
}
