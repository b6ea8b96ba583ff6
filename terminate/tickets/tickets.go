// Package tickets keeps the keys that TLS session tickets are encrypted with: keys of this process alone, rotated, or
// those of a file that several machines share.
//
// It guards the rule that a ticket is good for a bounded time: whoever gets hold of a key can read the TLS 1.2 sessions
// that it made resumable (RFC 5077, section 5.5; not those of TLS 1.3, whose resumption has a key exchange of its own),
// so old keys are forgotten. Whatever the keys, crypto/tls takes no session for longer than seven days.
package tickets

import (
	"crypto/rand"
	"crypto/tls"
	"fmt"
	"io"
	"slices"
	"sync"
	"time"

	"hellogate/terminate/seen"
)

// Options says where keys come from.
type Options struct {
	// File is a key file (see [New]). Empty: keys are made here and rotated.
	File string
	// Rotate is how long a key that is made here encrypts. It opens tickets for twice that time more. 0: 12 hours; at
	// least a minute. It has no meaning with File.
	Rotate time.Duration
	// Inherited is what Export returned, in this process or in the one before it; nil: nothing. Keys that were made
	// elsewhere go on being used only where File is the same: a key file, when it can't be used itself.
	Inherited []byte
	// Report is told by New of something inherited that is of no use, or that is used because File can't be; and by Run,
	// once, that File can't be used, so that the keys stay what they are, and with nil that it can be again or holds new
	// keys, which are used from now on. nil: nobody is told. No error says anything of a key.
	Report func(error)
}

const (
	defaultRotate  = 12 * time.Hour
	shortestRotate = time.Minute
	// lifetimes is how many times Rotate a key is kept.
	lifetimes = 3
)

const keySize = 32

// key is one of crypto/tls's.
type key struct {
	created time.Time // zero for one of a file
	secret  [keySize]byte
}

// Keys are the keys in use. All methods may be called by anyone at any time, Run once.
type Keys struct {
	file   string
	rotate time.Duration
	report func(error)
	config tls.Config // holds the keys for crypto/tls

	mutex sync.Mutex
	keys  []key // the first encrypts

	// Of New, then of Run.
	seen seen.Files // the file, as it was read; nil: it is to be read
	said string     // what was last reported of it
}

// New returns keys that are ready.
//
// A key file has a key a line, 48 or 80 random bytes in base64 or hex, as those of HAProxy have; empty lines and what
// begins with # are passed over. At most 16 keys. The first key encrypts, all of them open tickets (in HAProxy's the last
// but one encrypts). To change keys on several machines: add the new one as the second line everywhere, then move it to
// the top everywhere, then remove the old one when its tickets may end. Nobody but its owner may be allowed to read the file.
// crypto/tls makes the tickets, with AES-128-CTR and HMAC-SHA256; its keys are derived from a line's by HKDF-SHA256, so
// that tickets can't be shared with another server that has the same file.
//
// The error says that the options make no sense, or that the file can't be used and no keys of it were inherited.
func New(o Options) (*Keys, error) {
	if o.Rotate == 0 {
		o.Rotate = defaultRotate
	}
	if o.Rotate < shortestRotate && o.File == "" {
		return nil, fmt.Errorf("session ticket keys can't be rotated every %v: %v is the shortest time", o.Rotate, shortestRotate)
	}
	if o.Report == nil {
		o.Report = func(error) {}
	}
	k := &Keys{file: o.File, rotate: o.Rotate, report: o.Report}
	inherited, err := k.inherit(o.Inherited, time.Now())
	if err != nil {
		o.Report(fmt.Errorf("session ticket keys of the process before: %w", err))
	}
	return k, k.begin(inherited)
}

// begin takes the first keys.
func (k *Keys) begin(inherited []key) error {
	if k.file == "" {
		k.use(inherited)
		k.turn(time.Now())
		return nil
	}
	_, err := k.reread()
	if err == nil {
		return nil
	}
	if len(inherited) == 0 {
		return err
	}
	k.use(inherited)
	k.say(err)
	return nil
}

// EncryptTicket is [tls.Config.EncryptTicket] with the first key.
func (k *Keys) EncryptTicket(state tls.ConnectionState, session *tls.SessionState) ([]byte, error) {
	return k.config.EncryptTicket(state, session)
}

// DecryptTicket is [tls.Config.DecryptTicket] with all keys: it returns nil, nil for a ticket that none of them opens.
func (k *Keys) DecryptTicket(ticket []byte, state tls.ConnectionState) (*tls.SessionState, error) {
	return k.config.DecryptTicket(ticket, state)
}

// use has crypto/tls use keys from now on, if there are any.
func (k *Keys) use(keys []key) {
	if len(keys) == 0 {
		return
	}
	secrets := make([][keySize]byte, len(keys))
	for i := range keys {
		secrets[i] = keys[i].secret
	}
	k.config.SetSessionTicketKeys(secrets)
	k.mutex.Lock()
	defer k.mutex.Unlock()
	k.keys = keys
}

// held returns the keys in use, which nobody changes.
func (k *Keys) held() []key {
	k.mutex.Lock()
	defer k.mutex.Unlock()
	return k.keys
}

// turn makes a new key when the first has encrypted for long enough, and forgets those that are too old.
func (k *Keys) turn(now time.Time) {
	held := k.held()
	kept := slices.DeleteFunc(slices.Clone(held), func(o key) bool { return now.Sub(o.created) >= lifetimes*k.rotate })
	if len(kept) == 0 || now.Sub(kept[0].created) >= k.rotate {
		kept = slices.Insert(kept, 0, fresh(now))
	} else if len(kept) == len(held) {
		return
	}
	k.use(kept)
}

func fresh(now time.Time) key {
	made := key{created: now}
	_, _ = rand.Read(made.secret[:]) // never fails: crypto/rand ends the program first
	return made
}

// Format is fmt.Formatter's. It keeps keys out of whatever is printed.
func (k *Keys) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, "session ticket keys") }
