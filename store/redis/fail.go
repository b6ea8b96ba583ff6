package redis

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/redis/rueidis"

	"hellogate/store"
)

// unconnected is the error of a connection that could not be made.
type unconnected struct{ err error }

func (u *unconnected) Error() string { return u.err.Error() }
func (u *unconnected) Unwrap() error { return u.err }

// unprepared is an error of our own files, before anything was sent.
type unprepared struct{ err error }

func (u *unprepared) Error() string { return u.err.Error() }
func (u *unprepared) Unwrap() error { return u.err }

// failure says what an error of asking means. The text of Redis is never repeated: it quotes what it was sent, a password
// included, and what it holds.
func failure(err error) error {
	if known := (*store.Failure)(nil); errors.As(err, &known) {
		return err
	}
	answer, found := refusal(err)
	if !found {
		return unanswered(err)
	}
	switch code := answer.code; {
	case code == tooLarge:
		return exempt("a value of more than %d bytes", maxValue)
	case code == "WRONGTYPE":
		return exempt("redis error WRONGTYPE: the key holds another type than this layout's")
	case answer.credentials:
		return &store.Failure{Err: fmt.Errorf("redis error %s: %w", code, store.ErrToken)}
	case meanings[code] != "":
		return &store.Failure{Err: fmt.Errorf("redis error %s: %s", code, meanings[code])}
	default:
		return &store.Failure{Err: fmt.Errorf("redis error %s", code)}
	}
}

var meanings = map[string]string{
	"LOADING":     "the server is loading its data",
	"READONLY":    "the server is a replica",
	"MASTERDOWN":  "the replica has lost its master",
	"CLUSTERDOWN": "the cluster is down",
	"MOVED":       "the cluster's nodes send us in circles, or it is one and the configuration does not say so",
	"ASK":         "a slot of the cluster is moving",
	"TRYAGAIN":    "a slot of the cluster is moving",
	"OOM":         "the server is out of memory",
	"DB":          "there is no such database",
}

// refused is an error that Redis answered.
type refused struct {
	code string
	// rest is what stands behind the code. It is for us alone.
	rest        string
	credentials bool
}

// refusal returns what Redis answered in place of a value, if it is that. The code is a word in upper case, "ERR" where
// there is none.
func refusal(err error) (refused, bool) {
	answer := (*rueidis.RedisError)(nil)
	if !errors.As(err, &answer) || answer.IsNil() {
		return refused{}, false
	}
	code, rest, _ := strings.Cut(answer.Error(), " ")
	result := refused{code: code, rest: rest}
	switch {
	case code == "NOAUTH", code == "WRONGPASS", code == "NOPERM":
		result.credentials = true
	// Before Redis 6 a wrong password is "ERR invalid password"; "ERR AUTH" is one for a server that has none.
	case code == "invalid" && rest == "password", code == "AUTH":
		result.code, result.credentials = "ERR", true
	}
	if len(code) > 20 || strings.Trim(code, "ABCDEFGHIJKLMNOPQRSTUVWXYZ") != "" || code == "" {
		result.code = "ERR"
	}
	return result, true
}

// unanswered is the failure where Redis said nothing.
func unanswered(err error) error {
	var noConnection *unconnected
	var noFile *unprepared
	switch {
	case errors.As(err, &noFile):
		return &store.Failure{Err: noFile.err, Exempt: true}
	case errors.Is(err, errClosed):
		return &store.Failure{Err: err, Exempt: true}
	case errors.As(err, &noConnection):
		return &store.Failure{Err: bounded(noConnection.err), Unreachable: true}
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return &store.Failure{Err: err}
	case errors.Is(err, errProtocol):
		return &store.Failure{Err: err}
	case rueidis.IsParseErr(err), rueidis.IsRedisNil(err):
		return &store.Failure{Err: malformed("of another type than asked for")}
	}
	return &store.Failure{Err: fmt.Errorf("the connection broke: %w", bounded(err))}
}

func fail(format string, arguments ...any) error {
	return &store.Failure{Err: fmt.Errorf(format, arguments...)}
}

func exempt(format string, arguments ...any) error {
	return &store.Failure{Err: fmt.Errorf(format, arguments...), Exempt: true}
}

// short is an error whose text was cut: a certificate's is as long as its names are many.
type short struct {
	text string
	err  error
}

func (s short) Error() string { return s.text }
func (s short) Unwrap() error { return s.err }

func bounded(err error) error {
	const most = 300
	text := err.Error()
	if len(text) <= most {
		return err
	}
	return short{text: strings.ToValidUTF8(text[:most], "") + "...", err: err}
}
