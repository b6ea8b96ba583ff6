package redis

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/redis/rueidis"

	"hellogate/sni"
	"hellogate/store"
)

// layout says where the bundle of a name is.
type layout interface {
	// fetch reads it.
	fetch(ctx context.Context, servers *servers, name string) (*content, error)
	// put writes texts, of which there is one at least.
	put(ctx context.Context, servers *servers, name string, texts []pairText) error
	// prefixes are those of the keys that matter. None begins another.
	prefixes() []string
	// changed says whose bundle a key is that was written: the name's or the wildcard's it is for, or the id it holds
	// something of. It is neither for a key that no name can have.
	changed(key string) (whose sni.Pattern, isID bool)
	// settle is how long after a first key was written others are waited for that belong to it.
	settle() time.Duration
}

func newLayout(options Options) (layout, error) {
	switch options.Layout {
	case Prime1:
		return &prime1{ids: newIDs()}, nil
	case Prime2:
		return prime2{}, nil
	case JSON:
		if options.Prefix == "" {
			return jsonLayout{prefix: "hellogate:"}, nil
		}
		return jsonLayout{prefix: options.Prefix}, nil
	}
	return nil, fmt.Errorf("layout %q: %s, %s or %s expected", options.Layout, Prime1, Prime2, JSON)
}

// pairText is a pair in PEM: the leaf, what is above it, and the key.
type pairText struct{ leaf, above, key string }

func encode(pairs []store.Pair) ([]pairText, error) {
	if len(pairs) == 0 {
		return nil, errors.New("no pair")
	}
	texts := make([]pairText, len(pairs))
	for i, pair := range pairs {
		if len(pair.Chain) == 0 {
			return nil, errors.New("a pair without a certificate")
		}
		key, err := store.ParseKey(pair.Key)
		if err != nil {
			return nil, err
		}
		der, err := x509.MarshalPKCS8PrivateKey(key)
		if err != nil {
			return nil, err
		}
		texts[i] = pairText{
			leaf: encodePEM("CERTIFICATE", pair.Chain[:1]), above: encodePEM("CERTIFICATE", pair.Chain[1:]),
			key: encodePEM("PRIVATE KEY", [][]byte{der}),
		}
	}
	return texts, nil
}

func encodePEM(kind string, blocks [][]byte) string {
	var text strings.Builder
	for _, block := range blocks {
		text.Write(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: block}))
	}
	return text.String()
}

// onlyOne is for the layouts that hold one pair a name.
func onlyOne(texts []pairText) (pairText, error) {
	if len(texts) > 1 {
		return pairText{}, exempt("%d pairs: this layout holds one", len(texts))
	}
	return texts[0], nil
}

// decodePair decodes one pair.
func decodePair(chain, key string) func() (store.Answer, error) {
	return func() (store.Answer, error) {
		pair, err := store.DecodePair(chain, key)
		return store.Answer{Pairs: []store.Pair{pair}}, err
	}
}

// fields reads the fields of a hash; one that is missing is empty. It is a no when none is there.
func fields(ctx context.Context, servers *servers, key string, names ...string) ([]string, error) {
	words := append([]string{"HMGET", key}, names...)
	results, err := servers.ask(ctx, question{key, words})
	if err != nil {
		return nil, err
	}
	if err := results[0].Error(); err != nil {
		return nil, err
	}
	values, err := results[0].ToArray()
	if err != nil || len(values) != len(names) {
		return nil, malformed("no array of %d", len(names))
	}
	found := make([]string, len(names))
	some := false
	for i, value := range values {
		there := false
		if found[i], there, err = text(value); err != nil {
			return nil, err
		}
		some = some || there
	}
	if !some {
		return nil, store.ErrUnknown
	}
	return found, nil
}

// stringOf is text for the answer to a GET.
func stringOf(result rueidis.RedisResult) (value string, there bool, err error) {
	if err := result.Error(); err != nil {
		if rueidis.IsRedisNil(err) {
			return "", false, nil
		}
		return "", false, err
	}
	message, err := result.ToMessage()
	if err != nil {
		return "", false, err
	}
	return text(message)
}

// pattern returns what a key's end is the bundle of. It has to be written as a name is: others are never read.
func pattern(name string) sni.Pattern {
	whose, err := sni.ParsePattern(name)
	if err != nil || whose.String() != name {
		return sni.Pattern{}
	}
	return whose
}

// prime2 is a hash a name.
type prime2 struct{}

func (prime2) prefixes() []string { return []string{"d2:"} }

func (prime2) changed(key string) (sni.Pattern, bool) {
	name, found := strings.CutPrefix(key, "d2:")
	if !found {
		return sni.Pattern{}, false
	}
	return exact(name), false
}

func (prime2) settle() time.Duration { return 0 }

// exact is pattern, for layouts that have no wildcards.
func exact(name string) sni.Pattern {
	if strings.HasPrefix(name, "*") || strings.HasPrefix(name, ".") {
		return sni.Pattern{}
	}
	return pattern(name)
}

func (prime2) fetch(ctx context.Context, servers *servers, name string) (*content, error) {
	values, err := fields(ctx, servers, "d2:"+name, "p", "f")
	if err != nil {
		return nil, err
	}
	for i, field := range []string{"p", "f"} {
		if values[i] == "" {
			return nil, exempt("the hash has nothing in field %s", field)
		}
	}
	return &content{parts: values, decode: decodePair(values[1], values[0])}, nil
}

func (prime2) put(ctx context.Context, servers *servers, name string, texts []pairText) error {
	pair, err := onlyOne(texts)
	if err != nil {
		return err
	}
	key := "d2:" + name
	return servers.tell(ctx, question{key, []string{"HSET", key, "f", pair.leaf + pair.above, "p", pair.key}})
}

// jsonLayout is a string a name.
type jsonLayout struct{ prefix string }

func (j jsonLayout) prefixes() []string { return []string{j.prefix} }

func (j jsonLayout) changed(key string) (sni.Pattern, bool) {
	name, found := strings.CutPrefix(key, j.prefix)
	if !found || strings.HasPrefix(name, ".") || name == "*" {
		return sni.Pattern{}, false
	}
	return pattern(name), false
}

func (jsonLayout) settle() time.Duration { return 0 }

func (j jsonLayout) fetch(ctx context.Context, servers *servers, name string) (*content, error) {
	commands := []question{get(j.prefix + name)}
	if _, parent, found := strings.Cut(name, "."); found {
		commands = append(commands, get(j.prefix+"*."+parent))
	}
	results, err := servers.ask(ctx, commands...)
	if err != nil {
		return nil, err
	}
	for _, result := range results {
		value, there, err := stringOf(result)
		if err != nil {
			return nil, err
		}
		if there {
			decode := func() (store.Answer, error) { return store.Decode("", []byte(value)) }
			return &content{parts: []string{value}, decode: decode}, nil
		}
	}
	return nil, store.ErrUnknown
}

func (j jsonLayout) put(ctx context.Context, servers *servers, name string, texts []pairText) error {
	type member struct {
		Cert string `json:"cert"`
		Key  string `json:"key"`
	}
	members := make([]member, len(texts))
	for i, text := range texts {
		members[i] = member{Cert: text.leaf + text.above, Key: text.key}
	}
	var value any = map[string]any{"certificates": members}
	if len(members) == 1 {
		value = members[0]
	}
	body, err := json.Marshal(value)
	if err != nil {
		return err
	}
	if len(body) > maxValue {
		return exempt("%d bytes: at most %d allowed", len(body), maxValue)
	}
	key := j.prefix + name
	return servers.tell(ctx, question{key, []string{"SET", key, string(body)}})
}

// tell is ask for commands whose answers do not matter unless they are errors.
func (s *servers) tell(ctx context.Context, commands ...question) error {
	results, err := s.ask(ctx, commands...)
	if err != nil {
		return err
	}
	for _, result := range results {
		if err := result.Error(); err != nil && !rueidis.IsRedisNil(err) {
			return err
		}
	}
	return nil
}
