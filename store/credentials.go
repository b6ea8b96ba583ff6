package store

import (
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// credentials are what a request to an HTTP store is authorized with.
type credentials struct {
	// header is the value of Authorization; empty: none is sent.
	header string
	// secrets are what must be seen nowhere. None is empty.
	secrets []string
}

func bearer(token string) credentials {
	return credentials{header: "Bearer " + token, secrets: []string{token}}
}

func basic(username, password string) credentials {
	encoded := base64.StdEncoding.EncodeToString([]byte(username + ":" + password))
	return credentials{header: "Basic " + encoded, secrets: []string{encoded, password}}
}

// credentials returns what gives those of a request, after it gave some once.
func (o HTTPOptions) credentials() (get func() (credentials, error), err error) {
	if err := o.checkCredentials(); err != nil {
		return nil, err
	}
	switch {
	case o.Username != "":
		get = signIn(o.Username, o.PasswordFile)
	case o.TokenFile != "":
		file := tokenFile(o.TokenFile)
		get = func() (credentials, error) {
			token, err := file.get()
			return bearer(token), err
		}
	case o.Token != "":
		get = func() (credentials, error) { return bearer(o.Token), checkToken(o.Token) }
	default:
		get = func() (credentials, error) { return credentials{}, nil }
	}
	_, err = get()
	return get, err
}

func (o HTTPOptions) checkCredentials() error {
	switch signsIn := o.Username != "" || o.PasswordFile != ""; {
	case o.Token != "" && o.TokenFile != "":
		return errors.New("both a token and a token file")
	case signsIn && (o.Token != "" || o.TokenFile != ""):
		return errors.New("both a token and a user name or password")
	case signsIn && (o.Username == "" || o.PasswordFile == ""):
		return errors.New("a user name needs a password file, and a password file a user name")
	}
	return checkUsername(o.Username)
}

func signIn(username, path string) func() (credentials, error) {
	read := PasswordFile(path)
	return func() (credentials, error) {
		password, err := read()
		if err == nil && !printable(password) {
			err = fmt.Errorf("%s: the password has a control character or is not UTF-8", path)
		}
		return basic(username, password), err
	}
}

// checkUsername refuses what basic authentication can't carry (RFC 7617, 2).
func checkUsername(name string) error {
	if strings.Contains(name, ":") {
		return errors.New("the user name has a colon, which ends it in basic authentication")
	}
	if !printable(name) {
		return errors.New("the user name has a control character or is not UTF-8")
	}
	return nil
}

func printable(text string) bool {
	return utf8.ValidString(text) && !strings.ContainsFunc(text, unicode.IsControl)
}
