package petersslers

import (
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"net/http"
	"strings"
	"sync/atomic"
	"time"
)

// login is who may ask. It holds no password, but a digest by which it knows it.
type login struct{ username, password [sha256.Size]byte }

// newLogin returns nil when neither is given.
func newLogin(username, password string) (*login, error) {
	switch {
	case username == "" && password == "":
		return nil, nil
	case username == "" || password == "":
		return nil, errors.New("a user name needs a password, and a password a user name")
	case strings.Contains(username, ":"):
		return nil, errors.New("the user name has a colon, which ends it in basic authentication")
	}
	return &login{username: sha256.Sum256([]byte(username)), password: sha256.Sum256([]byte(password))}, nil
}

// admits takes as long for one that is nearly right as for any other.
func (l *login) admits(r *http.Request) bool {
	if l == nil {
		return true
	}
	username, password, given := r.BasicAuth()
	name, word := sha256.Sum256([]byte(username)), sha256.Sum256([]byte(password))
	same := subtle.ConstantTimeCompare(name[:], l.username[:]) & subtle.ConstantTimeCompare(word[:], l.password[:])
	return given && same == 1
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
