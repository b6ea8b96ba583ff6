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

// Decode decodes the body of an answer: JSON or a PEM bundle, told apart by contentType (the header's value, which may
// be empty) and, when that says neither, by what the body begins with.
func Decode(contentType string, body []byte) ([]Pair, error) {
	if isJSON(contentType, body) {
		return DecodeJSON(body)
	}
	return DecodePEM(body)
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

// DecodeJSON decodes {"cert": PEM chain, "key": PEM}, or {"certificates": [{"cert", "key"}, ...]} for several pairs. Other
// members are passed by. A member that is there twice, is null, empty or no string, a key among the certificates or the
// other way round, and anything behind the object are errors; none of them quotes the body.
func DecodeJSON(body []byte) ([]Pair, error) {
	decoder := json.NewDecoder(bytes.NewReader(body))
	var one pairText
	var several []pairText
	err := members(decoder, func(name string) error {
		switch name {
		case "cert", "key":
			return one.set(decoder, name)
		case "certificates":
			if several != nil {
				return errors.New("certificates is there twice")
			}
			var err error
			several, err = elements(decoder)
			return err
		}
		return skip(decoder)
	})
	if err != nil {
		return nil, fmt.Errorf("json: %w", err)
	}
	if _, err := decoder.Token(); err != io.EOF {
		return nil, errors.New("json: there is more behind the object")
	}
	pairs, err := oneOrSeveral(one, several)
	if err != nil {
		return nil, fmt.Errorf("json: %w", err)
	}
	return pairs, nil
}

// pairText is a pair as an answer holds it; nil is a member that was not there.
type pairText struct{ cert, key *string }

func (t *pairText) set(decoder *json.Decoder, name string) error {
	field := &t.cert
	if name == "key" {
		field = &t.key
	}
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

func (t pairText) decode() (Pair, error) {
	if t.cert == nil || *t.cert == "" {
		return Pair{}, errors.New("cert is missing or empty")
	}
	if t.key == nil || *t.key == "" {
		return Pair{}, errors.New("key is missing or empty")
	}
	chain, keys, err := splitPEM([]byte(*t.cert))
	if err != nil {
		return Pair{}, fmt.Errorf("cert: %w", err)
	}
	if len(keys) > 0 {
		return Pair{}, errors.New("cert holds a private key")
	}
	certificates, keys, err := splitPEM([]byte(*t.key))
	if err != nil {
		return Pair{}, fmt.Errorf("key: %w", err)
	}
	if len(certificates) > 0 || len(keys) != 1 {
		return Pair{}, fmt.Errorf("key holds %d certificates and %d private keys: one key expected",
			len(certificates), len(keys))
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

func skip(decoder *json.Decoder) error {
	var value json.RawMessage
	return plain(decoder, decoder.Decode(&value))
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
