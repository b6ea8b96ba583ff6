package store

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"strings"
)

// Answer is what the body of an answer holds.
type Answer struct {
	// Pairs is never empty.
	Pairs []Pair
	// Routing is nil when the body does not say.
	Routing *Routing
}

// Decode decodes the body of an answer: JSON or a PEM bundle, told apart by contentType (the header's value, which may
// be empty) and, when that says neither, by what the body begins with. PEM has no routing.
func Decode(contentType string, body []byte) (Answer, error) {
	if isJSON(contentType, body) {
		return DecodeJSON(body)
	}
	pairs, err := DecodePEM(body)
	return Answer{Pairs: pairs}, err
}

func isJSON(contentType string, body []byte) bool {
	kind, _, _ := mime.ParseMediaType(contentType)
	switch {
	case kind == "application/json", strings.HasSuffix(kind, "+json"):
		return true
	case strings.HasPrefix(kind, "application/pem"), kind == "application/x-pem-file":
		return false
	}
	return bytes.HasPrefix(bytes.TrimLeft(body, " \t\r\n"), []byte("{"))
}

// DecodeJSON decodes {"cert": PEM chain, "key": PEM}, or {"certificates": [{"cert", "key"}, ...]} for several pairs, beside
// which "backend": name or "servers": [host:port, ...] may stand, but not both. Other members are passed by. A member that
// is there twice, is null, empty or of another type, a key among the certificates or the other way round, and anything
// behind the object are errors; none of them quotes the body.
func DecodeJSON(body []byte) (Answer, error) {
	text, err := readAnswer(body)
	if err != nil {
		return Answer{}, fmt.Errorf("json: %w", err)
	}
	pairs, err := oneOrSeveral(text.one, text.several)
	if err != nil {
		return Answer{}, fmt.Errorf("json: %w", err)
	}
	routing, err := text.routing.decode()
	if err != nil {
		return Answer{}, fmt.Errorf("json: %w", err)
	}
	return Answer{Pairs: pairs, Routing: routing}, nil
}

// answerText is an answer as its members have it; nil is one that was not there.
type answerText struct {
	one     pairText
	several []pairText
	routing routingText
}

func readAnswer(body []byte) (text answerText, err error) {
	decoder := json.NewDecoder(bytes.NewReader(body))
	err = members(decoder, func(name string) (err error) {
		switch name {
		case "cert", "key":
			return text.one.set(decoder, name)
		case "certificates":
			if text.several != nil {
				return errors.New("certificates is there twice")
			}
			text.several, err = elements(decoder)
			return err
		case "backend":
			return setText(decoder, name, &text.routing.backend)
		case "servers":
			return text.routing.setServers(decoder)
		}
		return skip(decoder)
	})
	if err != nil {
		return text, err
	}
	return text, end(decoder)
}

// pairText is a pair as an answer holds it; nil is a member that was not there.
type pairText struct{ cert, key *string }

func (t *pairText) set(decoder *json.Decoder, name string) error {
	if name == "key" {
		return setText(decoder, name, &t.key)
	}
	return setText(decoder, name, &t.cert)
}

func (t pairText) decode() (Pair, error) { return t.decodeAs("cert", "key") }

// decodeAs makes the pair. cert and key are what its parts are called in errors.
func (t pairText) decodeAs(cert, key string) (Pair, error) {
	if t.cert == nil || *t.cert == "" {
		return Pair{}, fmt.Errorf("%s is missing or empty", cert)
	}
	if t.key == nil || *t.key == "" {
		return Pair{}, fmt.Errorf("%s is missing or empty", key)
	}
	chain, keys, err := splitPEM([]byte(*t.cert))
	if err != nil {
		return Pair{}, fmt.Errorf("%s: %w", cert, err)
	}
	if len(keys) > 0 {
		return Pair{}, fmt.Errorf("%s holds a private key", cert)
	}
	certificates, keys, err := splitPEM([]byte(*t.key))
	if err != nil {
		return Pair{}, fmt.Errorf("%s: %w", key, err)
	}
	if len(certificates) > 0 || len(keys) != 1 {
		return Pair{}, fmt.Errorf("%s holds %d certificates and %d private keys: one key expected",
			key, len(certificates), len(keys))
	}
	pair := Pair{Chain: chain, Key: keys[0]}
	return pair, pair.checkSize()
}

func oneOrSeveral(one pairText, several []pairText) ([]Pair, error) {
	if several == nil {
		pair, err := one.decode()
		if err != nil {
			return nil, err
		}
		return []Pair{pair}, nil
	}
	if one.cert != nil || one.key != nil {
		return nil, errors.New("both certificates and a pair beside it")
	}
	if len(several) == 0 {
		return nil, errors.New("certificates is empty")
	}
	pairs := make([]Pair, len(several))
	for i, text := range several {
		pair, err := text.decode()
		if err != nil {
			return nil, fmt.Errorf("certificates[%d]: %w", i, err)
		}
		pairs[i] = pair
	}
	return pairs, nil
}

// elements reads the array of pairs. It is not nil without an error.
func elements(decoder *json.Decoder) ([]pairText, error) {
	if err := expect(decoder, '['); err != nil {
		return nil, fmt.Errorf("certificates: %w", err)
	}
	pairs := []pairText{}
	for decoder.More() {
		if len(pairs) == MaxPairs {
			return nil, fmt.Errorf("more than %d pairs", MaxPairs)
		}
		var pair pairText
		err := members(decoder, func(name string) error {
			if name == "cert" || name == "key" {
				return pair.set(decoder, name)
			}
			return skip(decoder)
		})
		if err != nil {
			return nil, fmt.Errorf("certificates[%d]: %w", len(pairs), err)
		}
		pairs = append(pairs, pair)
	}
	return pairs, expect(decoder, ']')
}

// setText reads a string into field, which is nil until then.
func setText(decoder *json.Decoder, name string, field **string) error {
	if *field != nil {
		return fmt.Errorf("%s is there twice", name)
	}
	token, err := next(decoder)
	if err != nil {
		return err
	}
	text, ok := token.(string)
	if !ok {
		return fmt.Errorf("%s is no string", name)
	}
	*field = &text
	return nil
}

// members reads an object and calls member for each name in it, to read its value.
func members(decoder *json.Decoder, member func(name string) error) error {
	if err := expect(decoder, '{'); err != nil {
		return err
	}
	for decoder.More() {
		token, err := next(decoder)
		if err != nil {
			return err
		}
		name, ok := token.(string)
		if !ok {
			return fmt.Errorf("a member without a name at byte %d", decoder.InputOffset())
		}
		if err := member(name); err != nil {
			return err
		}
	}
	return expect(decoder, '}')
}

func expect(decoder *json.Decoder, delimiter json.Delim) error {
	token, err := next(decoder)
	if err != nil {
		return err
	}
	if token != delimiter {
		return fmt.Errorf("%q expected at byte %d", rune(delimiter), decoder.InputOffset())
	}
	return nil
}

// end refuses what is behind the object.
func end(decoder *json.Decoder) error {
	if _, err := decoder.Token(); err != io.EOF {
		return errors.New("there is more behind the object")
	}
	return nil
}

func skip(decoder *json.Decoder) error {
	_, err := raw(decoder)
	return err
}

// raw reads a value of any type.
func raw(decoder *json.Decoder) (json.RawMessage, error) {
	var value json.RawMessage
	err := decoder.Decode(&value)
	return value, plain(decoder, err)
}

func next(decoder *json.Decoder) (json.Token, error) {
	token, err := decoder.Token()
	return token, plain(decoder, err)
}

// plain replaces the error of the decoder, which quotes the body: that may be a key.
func plain(decoder *json.Decoder, err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return errors.New("cut short")
	}
	return fmt.Errorf("malformed at byte %d", decoder.InputOffset())
}
