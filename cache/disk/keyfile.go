package disk

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"io"
	"os"
)

const keySize = 32

// maxKeyFile is more than any of the ways to write a key takes.
const maxKeyFile = 128

// readKey reads a key file. It may be a symbolic link, as those of mounted secrets are; the mode is that of what it leads to.
func readKey(path string) ([]byte, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("read the disk tier's key: %w", err)
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return nil, fmt.Errorf("read the disk tier's key: %w", err)
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("read the disk tier's key: %s is not a regular file", path)
	}
	if info.Mode().Perm()&0o077 != 0 {
		return nil, fmt.Errorf("read the disk tier's key: %s has mode %04o, others can read it: chmod 600 it", path, info.Mode().Perm())
	}
	content, err := io.ReadAll(io.LimitReader(file, maxKeyFile))
	if err != nil {
		return nil, fmt.Errorf("read the disk tier's key: %w", err)
	}
	key := parseKey(content)
	if key == nil {
		return nil, fmt.Errorf("read the disk tier's key: %s is neither 32 bytes nor 64 hex digits nor 32 bytes in base64", path)
	}
	return key, nil
}

// parseKey returns the key that content holds, nil if it holds none.
func parseKey(content []byte) []byte {
	if len(content) == keySize {
		return content
	}
	line := bytes.TrimSuffix(bytes.TrimSuffix(content, []byte("\n")), []byte("\r"))
	for _, decode := range []func(string) ([]byte, error){
		func(s string) ([]byte, error) { return []byte(s), nil },
		hex.DecodeString,
		base64.StdEncoding.DecodeString,
		base64.RawStdEncoding.DecodeString,
		base64.URLEncoding.DecodeString,
		base64.RawURLEncoding.DecodeString,
	} {
		if key, err := decode(string(line)); err == nil && len(key) == keySize {
			return key
		}
	}
	return nil
}
