package redis

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"strings"
	"sync"
	"time"

	"hellogate/sni"
)

// prime1 is a hash a name with the ids of what it is made of.
type prime1 struct{ ids *ids }

// The kinds of what an id stands for, in the order in which they are read. They are both the fields of the hash and the
// beginnings of the keys.
var kinds = []string{"c", "p", "i"}

// maxID is the length in bytes of an id. They are numbers, or ours.
const maxID = 128

func (*prime1) prefixes() []string { return []string{"d1:", "c:", "p:", "i:"} }

func (*prime1) changed(key string) (sni.Pattern, bool) {
	if name, found := strings.CutPrefix(key, "d1:"); found {
		return exact(name), false
	}
	kind, id, found := strings.Cut(key, ":")
	return sni.Pattern{}, found && (kind == "c" || kind == "p" || kind == "i") && checkID(id) == nil
}

// settle: peter_sslers writes a name's hash first, and what the ids in it stand for thereafter, with queries of its database in
// between.
func (*prime1) settle() time.Duration { return 100 * time.Millisecond }

func checkID(id string) error {
	if id == "" || len(id) > maxID || strings.ContainsFunc(id, func(r rune) bool { return r <= ' ' || r == 0x7f || r == '\uFFFD' }) {
		return exempt("an id is empty, longer than %d bytes or not plain text", maxID)
	}
	return nil
}

func (p *prime1) fetch(ctx context.Context, servers *servers, name string) (*content, error) {
	values, err := fields(ctx, servers, "d1:"+name, kinds...)
	if err != nil {
		return nil, err
	}
	commands := make([]question, len(kinds))
	for i, kind := range kinds {
		if values[i] == "" {
			return nil, exempt("the hash has nothing in field %s", kind)
		}
		if err := checkID(values[i]); err != nil {
			return nil, err
		}
		commands[i] = get(kind + ":" + values[i])
	}
	results, err := servers.ask(ctx, commands...)
	if err != nil {
		return nil, err
	}
	parts := make([]string, len(kinds))
	for i, kind := range kinds {
		there := false
		if parts[i], there, err = stringOf(results[i]); err != nil {
			return nil, err
		}
		if !there {
			return nil, exempt("there is nothing under the id in field %s", kind)
		}
	}
	for i := range kinds {
		p.ids.note(commands[i].key, parts[i], name)
	}
	return &content{parts: parts, decode: decodePair(parts[0]+"\n"+parts[2], parts[1])}, nil
}

// put writes what the ids stand for first: until the hash points to it, nobody reads it.
func (*prime1) put(ctx context.Context, servers *servers, name string, texts []pairText) error {
	pair, err := onlyOne(texts)
	if err != nil {
		return err
	}
	var pieces []question
	hash := []string{"HSET", "d1:" + name}
	for i, text := range []string{pair.leaf, pair.key, pair.above} {
		sum := sha256.Sum256([]byte(text))
		id := "hg-" + hex.EncodeToString(sum[:])
		key := kinds[i] + ":" + id
		words := []string{"SET", key, text}
		if kinds[i] == "c" {
			words = append(words, "NX")
		}
		pieces = append(pieces, question{key, words})
		hash = append(hash, kinds[i], id)
	}
	if err := servers.tell(ctx, pieces...); err != nil {
		return err
	}
	return servers.tell(ctx, question{hash[1], hash})
}

// ids remember what the keys held that hashes point to, and for which names. peter_sslers writes the same again each time
// it primes a name: without this, each of these writes would concern every name there is.
type ids struct {
	mu    sync.Mutex
	known map[string]*id
}

// id is what one held. Names are those it was read for, but not all of them where there are many.
type id struct {
	sum   [sha256.Size]byte
	names []string
}

const (
	// maxIDs bounds the ids that are remembered: about 200 bytes each.
	maxIDs = 1 << 16
	// maxNames bounds the names of an id. A chain has every name of its issuer.
	maxNames = 16
	// maxChecked bounds the ids that are read at once to see whether they changed.
	maxChecked = 256
)

func newIDs() *ids { return &ids{known: make(map[string]*id)} }

// note remembers that key held value when it was read for name.
func (i *ids) note(key, value, name string) {
	sum := sha256.Sum256([]byte(value))
	i.mu.Lock()
	defer i.mu.Unlock()
	held := i.known[key]
	if held == nil {
		for other := range i.known {
			if len(i.known) < maxIDs {
				break
			}
			delete(i.known, other)
		}
		held = &id{}
		i.known[key] = held
	}
	held.sum = sum
	for _, other := range held.names {
		if other == name {
			return
		}
	}
	if len(held.names) < maxNames {
		held.names = append(held.names, name)
	}
}

// sum returns what key held.
func (i *ids) sum(key string) (sum [sha256.Size]byte, known bool) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if held := i.known[key]; held != nil {
		return held.sum, true
	}
	return sum, false
}

// names returns names that key was read for.
func (i *ids) names(key string) []string {
	i.mu.Lock()
	defer i.mu.Unlock()
	if held := i.known[key]; held != nil {
		return append([]string(nil), held.names...)
	}
	return nil
}

// unchanged returns which of keys hold what they held when they were read last. One that was written twice, the second time
// as it had been, while a fetch read what was there in between, is taken for one of them: ids are not used again.
func (p *prime1) unchanged(ctx context.Context, servers *servers, keys []string) map[string]bool {
	var known []string
	var commands []question
	for _, key := range keys {
		if _, found := p.ids.sum(key); found {
			known = append(known, key)
			commands = append(commands, get(key))
		}
	}
	same := make(map[string]bool)
	if len(commands) == 0 || len(commands) > maxChecked {
		return same
	}
	results, err := servers.ask(ctx, commands...)
	if err != nil {
		return same
	}
	for i, key := range known {
		value, there, err := stringOf(results[i])
		sum, found := p.ids.sum(key)
		if err == nil && there && found && sum == sha256.Sum256([]byte(value)) {
			same[key] = true
		}
	}
	return same
}
