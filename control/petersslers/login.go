package petersslers

import (
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"
)

// login is who may ask. It holds no password, but a digest by which it knows it.
type login struct {
	username digest
	read     func() (string, error) // gives the password
	log      zerolog.Logger

	mu       sync.Mutex // guards what follows; not held while the password is read
	password digest     // the last that could be read
	said     bool       // that it could not be, since it last could
}

type digest [sha256.Size]byte

func digestOf(text string) digest { return sha256.Sum256([]byte(text)) }

func (d digest) is(text string) int {
	other := digestOf(text)
	return subtle.ConstantTimeCompare(d[:], other[:])
}

// newLogin returns nil when neither is given. read is called at once, and again for each request.
func newLogin(username string, read func() (string, error), log zerolog.Logger) (*login, error) {
	switch {
	case username == "" && read == nil:
		return nil, nil
	case username == "" || read == nil:
		return nil, errors.New("a user name needs a password, and a password a user name")
	case strings.Contains(username, ":"):
		return nil, errors.New("the user name has a colon, which ends it in basic authentication")
	}
	password, err := read()
	if err != nil {
		return nil, fmt.Errorf("password: %w", err)
	}
	if password == "" {
		return nil, errors.New("the password is empty")
	}
	return &login{username: digestOf(username), read: read, log: log, password: digestOf(password)}, nil
}

// admits takes as long for one that is nearly right as for any other.
func (l *login) admits(r *http.Request) bool {
	if l == nil {
		return true
	}
	wanted := l.wanted()
	username, password, given := r.BasicAuth()
	same := l.username.is(username) & wanted.is(password)
	return given && same == 1
}

// wanted is the password as it is now. One that can't be read leaves the last one in force, and is worth one line.
func (l *login) wanted() digest {
	password, err := l.read()
	if err == nil && password == "" {
		err = errors.New("it is empty")
	}
	l.mu.Lock()
	say := err != nil && !l.said
	l.said = err != nil
	if err == nil {
		l.password = digestOf(password)
	}
	wanted := l.password
	l.mu.Unlock()
	if say {
		l.log.Warn().AnErr("reason", err).Msg("peter_sslers: the password can't be read, the last one counts")
	}
	return wanted
}

// refusals keeps whoever guesses from filling the log.
type refusals struct {
	started time.Time
	count   atomic.Uint64
	told    atomic.Int64 // when it was last worth a line, since started; 0: never
}

// add counts one. worth says whether it is worth a line: that is so once a second.
func (r *refusals) add() (count uint64, worth bool) {
	count = r.count.Add(1)
	now, told := int64(time.Since(r.started)), r.told.Load()
	return count, (told == 0 || now-told >= int64(time.Second)) && r.told.CompareAndSwap(told, now)
}
