package clientauth

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"sync/atomic"

	"hellogate/terminate/seen"
)

// The most that the files may hold. A list of 32 MB has a million entries.
const (
	maxCAFile  = 4 << 20
	maxCRLFile = 32 << 20
)

// files names those that trust comes from.
type files struct{ ca, crl string }

// source is what such files hold.
type source struct {
	files
	trust atomic.Pointer[Trust]

	// Of whoever watches.
	seen seen.Files // as they were read; nil: they are to be read
	said string     // what is wrong with them, as it was last said
}

// look reads the files again if they have changed. It returns an error once.
func (s *source) look() (changed bool, err error) {
	changed, err = s.reread()
	if err == nil || err.Error() == s.said {
		return changed, nil
	}
	s.said = err.Error()
	return false, fmt.Errorf("%w: what was read before stays in use", err)
}

// reread reads the files unless they are as they were, and reports whether it did.
func (s *source) reread() (changed bool, err error) {
	now, err := seen.Look(s.ca, s.crl)
	if err != nil {
		s.seen = nil
		return false, fmt.Errorf("client certificates: %w", err)
	}
	if s.seen.Same(now) {
		return false, nil
	}
	s.seen = now
	made, err := s.load()
	if err != nil {
		if _, unread := errors.AsType[*fs.PathError](err); unread {
			s.seen = nil // what could not be read may be readable the next time, though nothing changed
		}
		return false, fmt.Errorf("client certificates: %w", err)
	}
	s.said = ""
	s.trust.Store(made)
	return true, nil
}

func (s *source) load() (*Trust, error) {
	text, err := read(s.ca, maxCAFile)
	if err != nil {
		return nil, err
	}
	authorities, err := parseAuthorities(text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", s.ca, err)
	}
	if s.crl == "" {
		return newTrust(authorities, nil), nil
	}
	if text, err = read(s.crl, maxCRLFile); err != nil {
		return nil, err
	}
	revoked, err := parseRevocations(text, authorities)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", s.crl, err)
	}
	return newTrust(authorities, revoked), nil
}

func read(path string, most int64) ([]byte, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	if info, err := file.Stat(); err == nil && !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is not a regular file", path)
	}
	text, err := io.ReadAll(io.LimitReader(file, most+1))
	if err == nil && int64(len(text)) > most {
		err = fmt.Errorf("%s is larger than %d bytes", path, most)
	}
	return text, err
}
