package store

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"slices"
)

// domainMembers are what peter_sslers has called the two certificates that it gives for a domain, over its generations, in
// the order in which they are preferred: the latest for several names, then the latest for that name alone.
var domainMembers = [...]string{
	"x509_certificate__latest_multi", "certificate_signed__latest_multi", "server_certificate__latest_multi",
	"x509_certificate__latest_single", "certificate_signed__latest_single", "server_certificate__latest_single",
}

// peterSSLersURL is base with elements at the end of its path. The parameter has the server write what it answers to its
// Redis, too.
func peterSSLersURL(base *url.URL, elements ...string) *url.URL {
	where := base.JoinPath(elements...)
	query := where.Query()
	query.Set("openresty", "1")
	where.RawQuery = query.Encode()
	return where
}

// domainText is what peter_sslers says of a domain.
type domainText struct {
	// pairs are those of domainMembers; nil is one that is null or not there.
	pairs [len(domainMembers)]*pairText
	// seen are those of domainMembers that are there.
	seen [len(domainMembers)]bool
	// known: a member is there by which one knows a domain's configuration.
	known bool
	// result is nil where there is none.
	result *string
	// remark is what the server says besides, for people.
	remark string
	// refused: the server takes no such name.
	refused bool
}

// decodeDomain decodes the answer to a query. A domain that has no certificate is a no.
func decodeDomain(_ string, body []byte) (Answer, error) {
	text, err := readDomain(body)
	switch {
	case err != nil:
		return Answer{}, fmt.Errorf("json: %w", err)
	case text.result != nil && *text.result != "success":
		return Answer{}, fmt.Errorf("the result is no success%s", text.remark)
	}
	pairs, err := text.decode()
	switch {
	case err != nil:
		return Answer{}, fmt.Errorf("json: %w", err)
	case pairs == nil && !text.known:
		return Answer{}, errors.New("json: no member of a domain's configuration")
	case pairs == nil:
		return Answer{}, fmt.Errorf("the domain has no certificate: %w", ErrUnknown)
	}
	return Answer{Pairs: pairs}, nil
}

// decodeAutocert decodes the answer to an order. A name that the server does not take is a no.
func decodeAutocert(_ string, body []byte) (Answer, error) {
	text, err := readDomain(body)
	switch {
	case err != nil:
		return Answer{}, fmt.Errorf("json: %w", err)
	case text.result == nil:
		return Answer{}, errors.New("json: result is missing")
	case *text.result == "error" && text.refused:
		return Answer{}, fmt.Errorf("the server takes no such name: %w", ErrUnknown)
	case *text.result != "success":
		return Answer{}, fmt.Errorf("the result is no success%s", text.remark)
	}
	pairs, err := text.decode()
	switch {
	case err != nil:
		return Answer{}, fmt.Errorf("json: %w", err)
	case pairs == nil:
		return Answer{}, errors.New("json: a success without a certificate")
	}
	return Answer{Pairs: pairs}, nil
}

// decode returns the pair that is preferred, nil for none.
func (t *domainText) decode() ([]Pair, error) {
	for i, text := range t.pairs {
		if text == nil {
			continue
		}
		pair, err := text.decodeAs("fullchain.pem", "private_key.pem")
		if err != nil {
			return nil, fmt.Errorf("%s: %w", domainMembers[i], err)
		}
		return []Pair{pair}, nil
	}
	return nil, nil
}

func readDomain(body []byte) (*domainText, error) {
	decoder := json.NewDecoder(bytes.NewReader(body))
	text := new(domainText)
	if err := members(decoder, func(name string) error { return text.set(decoder, name) }); err != nil {
		return nil, err
	}
	return text, end(decoder)
}

func (t *domainText) set(decoder *json.Decoder, name string) error {
	if i := slices.Index(domainMembers[:], name); i >= 0 {
		return t.setPair(decoder, i)
	}
	switch name {
	case "Domain", "domain": // as the code and the documentation of the server have it
		t.known = true
	case "result":
		return setText(decoder, name, &t.result)
	case "notes", "error":
		return t.setRemark(decoder)
	case "form_errors":
		return t.setRefused(decoder)
	}
	return skip(decoder)
}

func (t *domainText) setPair(decoder *json.Decoder, i int) (err error) {
	if t.seen[i] {
		return fmt.Errorf("%s is there twice", domainMembers[i])
	}
	t.seen[i], t.known = true, true
	if t.pairs[i], err = readDomainPair(decoder); err != nil {
		return fmt.Errorf("%s: %w", domainMembers[i], err)
	}
	return nil
}

// readDomainPair reads {"fullchain": {"pem"}, "private_key": {"pem"}}, among other members, or null, for which it returns
// nil.
func readDomainPair(decoder *json.Decoder) (*pairText, error) {
	value, err := raw(decoder)
	if err != nil || string(value) == "null" {
		return nil, err
	}
	inner := json.NewDecoder(bytes.NewReader(value))
	pair := new(pairText)
	return pair, members(inner, func(name string) error {
		switch name {
		case "fullchain":
			return setPEM(inner, name, &pair.cert)
		case "private_key":
			return setPEM(inner, name, &pair.key)
		}
		return skip(inner)
	})
}

func setPEM(decoder *json.Decoder, name string, field **string) error {
	err := members(decoder, func(member string) error {
		if member == "pem" {
			return setText(decoder, member, field)
		}
		return skip(decoder)
	})
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return nil
}

// setRemark keeps what the server says in words. It is not worth a failure when it is no string.
func (t *domainText) setRemark(decoder *json.Decoder) error {
	value, err := raw(decoder)
	var words string
	if err == nil && json.Unmarshal(value, &words) == nil && words != "" {
		t.remark = ": " + quote(words, 120)
	}
	return err
}

func (t *domainText) setRefused(decoder *json.Decoder) error {
	value, err := raw(decoder)
	var fields map[string]json.RawMessage
	if err != nil || json.Unmarshal(value, &fields) != nil {
		return err
	}
	reason, found := fields["domain_name"]
	// The server also says there that it has just tried, or is trying: that is not about the name, and will pass.
	t.refused = found && string(reason) != "null" && !bytes.Contains(reason, []byte("autocert attempt"))
	return nil
}
