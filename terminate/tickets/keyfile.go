package tickets

import (
	"bytes"
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
)

const (
	// maxFile is more than the most keys take in hex, with some room for remarks.
	maxFile = 16 << 10
	// maxKeys bounds what a ticket that no key opens costs: an HMAC a key.
	maxKeys = 16
)

// readKeys reads a key file. It may be a symbolic link, as those of mounted secrets are; the mode is that of what it
// leads to.
func readKeys(path string) ([]key, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("read the session ticket keys: %w", err)
	}
	defer file.Close()
	info, err := file.Stat()
	switch {
	case err != nil:
		return nil, fmt.Errorf("read the session ticket keys: %w", err)
	case !info.Mode().IsRegular():
		return nil, fmt.Errorf("read the session ticket keys: %s is not a regular file", path)
	case info.Mode().Perm()&0o077 != 0:
		return nil, fmt.Errorf("read the session ticket keys: %s has mode %04o, others can read it: chmod 600 it", path, info.Mode().Perm())
	}
	text, err := io.ReadAll(io.LimitReader(file, maxFile+1))
	if err != nil {
		return nil, fmt.Errorf("read the session ticket keys: %w", err)
	}
	keys, err := parseKeys(text)
	if err != nil {
		return nil, fmt.Errorf("read the session ticket keys: %s: %w", path, err)
	}
	return keys, nil
}

// parseKeys takes a key file apart. Its errors say which line, and nothing of what is in it.
func parseKeys(text []byte) ([]key, error) {
	if len(text) > maxFile {
		return nil, fmt.Errorf("it is larger than %d bytes", maxFile)
	}
	var keys []key
	number := 0
	for line := range bytes.Lines(text) {
		number++
		if line = bytes.TrimSpace(line); len(line) == 0 || line[0] == '#' {
			continue
		}
		if len(keys) == maxKeys {
			return nil, fmt.Errorf("it has more than %d keys", maxKeys)
		}
		secret, err := parseLine(string(line))
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", number, err)
		}
		keys = append(keys, key{secret: secret})
	}
	if len(keys) == 0 {
		return nil, errors.New("it holds no key")
	}
	return keys, nil
}

// The sizes that keys have in the files of others. A key of 32 bytes is none of them, which is good: what
// openssl rand -base64 80 prints is two lines of 48 and 32 bytes.
const (
	smallKey = 48
	largeKey = 80
)

// parseLine returns the key of crypto/tls for a line of a key file. Hex comes first: in base64 text of the same length
// would have a key of it, too, where it is one of 32 bytes.
func parseLine(line string) (secret [keySize]byte, err error) {
	for _, decode := range []func(string) ([]byte, error){hex.DecodeString, base64.StdEncoding.DecodeString} {
		long, err := decode(line)
		if err != nil {
			continue
		}
		if len(long) != smallKey && len(long) != largeKey {
			return secret, fmt.Errorf("the key has %d bytes, not %d or %d", len(long), smallKey, largeKey)
		}
		return derive(long)
	}
	return secret, fmt.Errorf("neither %d nor %d bytes in base64 or hex", smallKey, largeKey)
}

// derive is the same in all versions: machines with the same file may run different ones.
func derive(long []byte) (secret [keySize]byte, err error) {
	made, err := hkdf.Key(sha256.New, long, nil, "hellogate session ticket key", keySize)
	copy(secret[:], made)
	return secret, err
}
