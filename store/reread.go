package store

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"sync/atomic"
	"syscall"
)

// maxToken bounds a token file: servers refuse header lines of more than about 8 KB.
const maxToken = 8 << 10

// reread holds a value that is made of files, and makes it anew when one of them has changed.
type reread[T any] struct {
	paths []string
	load  func() (T, error)
	held  atomic.Pointer[version[T]]
}

type version[T any] struct {
	stamp string
	value T
}

func (r *reread[T]) get() (T, error) {
	var none T
	// The files are looked at before they are read: one that changes in between is read again the next time.
	var stamps strings.Builder
	for _, path := range r.paths {
		info, err := os.Stat(path)
		if err != nil {
			return none, err
		}
		stamps.WriteString(stamp(info))
	}
	if held := r.held.Load(); held != nil && held.stamp == stamps.String() {
		return held.value, nil
	}
	value, err := r.load()
	if err != nil {
		return none, err
	}
	r.held.Store(&version[T]{stamp: stamps.String(), value: value})
	return value, nil
}

// stamp tells one version of a file from another: by its time, its size and which file it is.
func stamp(info fs.FileInfo) string {
	var inode uint64
	if status, ok := info.Sys().(*syscall.Stat_t); ok {
		inode = status.Ino
	}
	return fmt.Sprintf("%x-%x-%x.", info.ModTime().UnixNano(), info.Size(), inode)
}

func tokenFile(path string) *reread[string] {
	return &reread[string]{paths: []string{path}, load: func() (string, error) {
		text, err := readBounded(path, maxToken)
		if err != nil {
			return "", err
		}
		token := strings.TrimRight(string(text), " \t\r\n")
		if err := checkToken(token); err != nil {
			return "", fmt.Errorf("%s: %w", path, err)
		}
		return token, nil
	}}
}

// checkToken refuses what can't stand in a header (RFC 6750, 2.1, but wider: any visible ASCII). It never says the token.
func checkToken(token string) error {
	if token == "" {
		return errors.New("the token is empty")
	}
	for i := range len(token) {
		if token[i] <= ' ' || token[i] > '~' {
			return fmt.Errorf("the token has a space, a control character or one that is not ASCII at byte %d", i+1)
		}
	}
	return nil
}

func certificateFiles(certFile, keyFile string) *reread[*tls.Certificate] {
	return &reread[*tls.Certificate]{paths: []string{certFile, keyFile}, load: func() (*tls.Certificate, error) {
		certificate, err := tls.LoadX509KeyPair(certFile, keyFile)
		if err != nil {
			return nil, fmt.Errorf("client certificate %s, %s: %w", certFile, keyFile, err)
		}
		return &certificate, nil
	}}
}

func readBounded(path string, most int64) ([]byte, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	return readFile(file, path, most)
}

func readFile(file io.Reader, path string, most int64) ([]byte, error) {
	text, err := io.ReadAll(io.LimitReader(file, most+1))
	if err != nil {
		return nil, err
	}
	if int64(len(text)) > most {
		return nil, fmt.Errorf("%s: larger than %d bytes", path, most)
	}
	return text, nil
}
