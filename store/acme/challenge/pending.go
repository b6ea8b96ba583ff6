// Package challenge answers the challenges of an ACME authority: TLS-ALPN-01 and HTTP-01 from what is in the storage, for
// whichever process that shares it was asked to order, and DNS-01 by a program.
//
// The rule it guards: the answer is in place before the authority is told, and gone afterwards; and what anybody may ask of
// us without one costs a bounded rate of looks into the storage and nothing that is kept.
package challenge

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"sync"
	"time"

	"github.com/mholt/acmez/v3"
	"github.com/mholt/acmez/v3/acme"
	"github.com/rs/zerolog"

	"hellogate/sni"
)

// ErrNone is wrapped where there is no challenge that could be answered.
var ErrNone = errors.New("no challenge is pending")

// errBroken is wrapped where what is stored can't have been stored by us.
var errBroken = errors.New("it is no challenge of ours")

const (
	// prefix is of all keys in the storage.
	prefix = "challenges"
	// cleanUpTime bounds a clean-up, which has to happen after an order was called off, too.
	cleanUpTime = 10 * time.Second
	// maxToken is more than authorities use.
	maxToken = 128
	// maxHeld bounds the certificates that are held for challenges of others.
	maxHeld = 256
)

// Storage is where pending challenges are kept. Load of a key that isn't there returns an error that wraps fs.ErrNotExist,
// Remove of one returns nil. List returns whole keys.
type Storage interface {
	Load(ctx context.Context, key string) ([]byte, error)
	Save(ctx context.Context, key string, content []byte) error
	Remove(ctx context.Context, key string) error
	List(ctx context.Context, prefix string) ([]string, error)
}

// Options say where pending challenges are kept.
type Options struct {
	Storage Storage
	Log     zerolog.Logger
}

// Pending is the challenges that are to be answered. It is safe for concurrent use.
type Pending struct {
	options Options
	looks   *looks

	mu   sync.Mutex       // never held across I/O
	own  map[string]entry // by key: presented by this process
	held map[string]*held // by name: for the challenges of others
}

// held is a certificate that was made for a challenge.
type held struct {
	authorization string
	certificate   *tls.Certificate
}

// New returns the challenges in a storage. Nothing is read until something is asked for.
func New(options Options) *Pending {
	return &Pending{
		options: options, looks: newLooks(options.Storage),
		own: make(map[string]entry), held: make(map[string]*held),
	}
}

// entry is what is stored of a challenge. It holds no secret: its key authorization is what is told to anybody who asks.
type entry struct {
	Type             string    `json:"type"`
	Name             string    `json:"name"`
	Token            string    `json:"token"`
	KeyAuthorization string    `json:"key_authorization"`
	At               time.Time `json:"at"`

	certificate *tls.Certificate
}

// entryOf checks what came from the authority: it becomes a name in the storage.
func entryOf(challenge acme.Challenge) (entry, error) {
	name, err := sni.Normalize(strings.TrimPrefix(challenge.Identifier.Value, "*."))
	switch {
	case challenge.Identifier.Type != "dns":
		return entry{}, fmt.Errorf("a challenge for an identifier of type %q", challenge.Identifier.Type)
	case err != nil:
		return entry{}, fmt.Errorf("a challenge for the %w", err)
	case !isToken(challenge.Token):
		return entry{}, fmt.Errorf("a challenge for %q with a token of %d bytes that is none", name, len(challenge.Token))
	case !strings.HasPrefix(challenge.KeyAuthorization, challenge.Token+"."):
		return entry{}, fmt.Errorf("a challenge for %q with a key authorization that isn't of its token", name)
	}
	return entry{
		Type: challenge.Type, Name: name, Token: challenge.Token,
		KeyAuthorization: challenge.KeyAuthorization, At: time.Now().UTC(),
	}, nil
}

// isToken says whether text is of the URL-safe base64 alphabet (RFC 8555 section 8.1).
func isToken(text string) bool {
	return text != "" && len(text) <= maxToken && !strings.ContainsFunc(text, func(r rune) bool {
		letter := 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z'
		return !letter && (r < '0' || r > '9') && r != '-' && r != '_'
	})
}

// key is where a challenge is stored: by what whoever checks the answer asks for.
func (e entry) key() string {
	if e.Type == acme.ChallengeTypeTLSALPN01 {
		return keyOf(e.Type, e.Name)
	}
	return keyOf(e.Type, e.Token)
}

func keyOf(kind, last string) string { return prefix + "/" + kind + "/" + last }

func save(ctx context.Context, storage Storage, e entry) error {
	content, err := json.Marshal(e)
	if err != nil {
		return err
	}
	return storage.Save(ctx, e.key(), append(content, '\n'))
}

// load reads a stored challenge. The error wraps ErrNone if there is none.
func load(ctx context.Context, storage Storage, key string) (entry, error) {
	content, err := storage.Load(ctx, key)
	if errors.Is(err, fs.ErrNotExist) {
		return entry{}, ErrNone
	}
	if err != nil {
		return entry{}, err
	}
	return decode(key, content)
}

// decode reads what is stored under a key. It is the key's own, or an error.
func decode(key string, content []byte) (entry, error) {
	var e entry
	if err := json.Unmarshal(content, &e); err != nil {
		return entry{}, fmt.Errorf("read the challenge %s: %w: %w", key, errBroken, err)
	}
	name, err := sni.Normalize(e.Name)
	if err != nil || name != e.Name || !isToken(e.Token) || e.key() != key || !strings.HasPrefix(e.KeyAuthorization, e.Token+".") {
		return entry{}, fmt.Errorf("read the challenge %s: %w: it is of something else", key, errBroken)
	}
	return e, nil
}

// find returns a pending challenge: one of ours, or one of another process.
func (p *Pending) find(ctx context.Context, kind, last string) (entry, error) {
	key := keyOf(kind, last)
	p.mu.Lock()
	found, ours := p.own[key]
	p.mu.Unlock()
	if ours {
		return found, nil
	}
	if err := p.looks.allow(ctx, kind, key); err != nil {
		return entry{}, err
	}
	return load(ctx, p.options.Storage, key)
}

// Certificate returns the certificate that answers a TLS-ALPN-01 challenge for a name (RFC 8737), as sni.Normalize returns
// it. It is for a hello that offers acme-tls/1 and nothing else: no client trusts it. The error wraps ErrNone if no challenge
// of the name is pending.
func (p *Pending) Certificate(ctx context.Context, name string) (*tls.Certificate, error) {
	found, err := p.find(ctx, acme.ChallengeTypeTLSALPN01, name)
	if err != nil {
		return nil, fmt.Errorf("answer a tls-alpn-01 challenge for %q: %w", name, err)
	}
	if found.certificate != nil {
		return found.certificate, nil
	}
	certificate, err := p.certificateFor(found)
	if err != nil {
		return nil, fmt.Errorf("answer a tls-alpn-01 challenge for %q: %w", name, err)
	}
	return certificate, nil
}

// certificateFor returns the certificate for another process's challenge, made once.
func (p *Pending) certificateFor(e entry) (*tls.Certificate, error) {
	p.mu.Lock()
	known := p.held[e.Name]
	p.mu.Unlock()
	if known != nil && known.authorization == e.KeyAuthorization {
		return known.certificate, nil
	}
	made, err := make01(e)
	if err != nil {
		return nil, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.held) >= maxHeld {
		clear(p.held)
	}
	p.held[e.Name] = &held{authorization: e.KeyAuthorization, certificate: made}
	return made, nil
}

func make01(e entry) (*tls.Certificate, error) {
	return acmez.TLSALPN01ChallengeCert(acme.Challenge{
		Type: e.Type, Token: e.Token, KeyAuthorization: e.KeyAuthorization,
		Identifier: acme.Identifier{Type: "dns", Value: e.Name},
	})
}

// Sweep removes the challenges of TLS-ALPN-01 and HTTP-01 that have been pending for longer than age: those of killed
// processes. The clocks of those who share the storage may differ by less than that.
func (p *Pending) Sweep(ctx context.Context, age time.Duration) error {
	var failed error
	for _, kind := range []string{acme.ChallengeTypeTLSALPN01, acme.ChallengeTypeHTTP01} {
		failed = errors.Join(failed, sweep(ctx, p.options.Storage, kind, age, func(entry) {}))
	}
	return failed
}

// sweep removes what is older than age, after each was called with it.
func sweep(ctx context.Context, storage Storage, kind string, age time.Duration, each func(entry)) error {
	keys, err := storage.List(ctx, prefix+"/"+kind)
	if err != nil {
		return fmt.Errorf("sweep challenges: %w", err)
	}
	for _, key := range keys {
		e, err := load(ctx, storage, key)
		switch {
		case errors.Is(err, ErrNone) || err == nil && time.Since(e.At) < age:
			continue
		case err == nil:
			each(e)
		case !errors.Is(err, errBroken):
			return fmt.Errorf("sweep challenges: %w", err)
		}
		if err := storage.Remove(ctx, key); err != nil {
			return fmt.Errorf("sweep challenges: %w", err)
		}
	}
	return nil
}
