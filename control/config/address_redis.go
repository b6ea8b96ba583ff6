package config

import (
	"errors"
	"net/url"
	"strings"
)

// redisAddress is what the URL of a Redis server says.
type redisAddress struct {
	scheme   string // redis, rediss or unix
	host     string // empty for a socket, and where addresses are listed
	user     string
	database int
}

var (
	errNotRedisURL   = errors.New("not a URL, as in redis://127.0.0.1:6379/9")
	errRedisScheme   = errors.New("must begin with redis://, rediss:// or unix://")
	errRedisPassword = errors.New("a password has no place in it: it comes from password_file, or from HELLOGATE_REDIS_PASSWORD in the environment")
)

// isRedisURL reports whether text begins as the URL of a Redis server and no
// other does.
func isRedisURL(text string) bool {
	scheme, _, _ := strings.Cut(text, "://")
	return strings.EqualFold(scheme, "redis") || strings.EqualFold(scheme, "rediss")
}

// parseRedisURL reads the URL of a Redis server, which has no host where the
// addresses are listed. Its errors never repeat the text, which may hold a
// password where none belongs.
func parseRedisURL(text string, listed bool) (redisAddress, error) {
	if text == "" && listed {
		return redisAddress{scheme: "redis"}, nil
	}
	address, err := url.Parse(text)
	if err != nil {
		return redisAddress{}, errNotRedisURL
	}
	if _, has := address.User.Password(); has {
		return redisAddress{}, errRedisPassword
	}
	if err := checkRedisParts(address, listed); err != nil {
		return redisAddress{}, err
	}
	if address.Fragment != "" {
		return redisAddress{}, errors.New("a # has no place in it")
	}
	database, err := parseDatabase(address)
	return redisAddress{address.Scheme, address.Hostname(), address.User.Username(), database}, err
}

func checkRedisParts(address *url.URL, listed bool) error {
	switch address.Scheme {
	case "redis", "rediss":
		switch {
		case address.RawQuery != "" || address.ForceQuery:
			return errors.New("a query has no place in it")
		case listed && address.Host != "":
			return errors.New("a host has no place in it beside addresses, as in rediss:///9")
		case listed && address.Opaque == "":
			return nil
		}
		return checkHostPart(address, errNotRedisURL)
	case "unix":
		if address.User != nil {
			return errors.New("a user has no place in it: the name goes to username")
		}
		return checkSocketPart(address, "unix:///run/redis.sock?db=9")
	case "":
		return errNotRedisURL
	}
	return errRedisScheme
}

func parseDatabase(address *url.URL) (int, error) {
	digits, given := strings.TrimPrefix(address.Path, "/"), true
	if address.Scheme == "unix" {
		digits, given = strings.CutPrefix(address.RawQuery, "db=")
	}
	switch {
	case !given && digits != "":
		return 0, errors.New("only a database has a place in its query, as in unix:///run/redis.sock?db=9")
	case digits == "" && address.RawQuery == "":
		return 0, nil
	}
	database, err := parseCount(digits)
	if err != nil {
		return 0, errors.New("the database must be a number, as in redis://127.0.0.1:6379/9")
	}
	return database, nil
}

// defaultName is what a Redis store is called by that has no name: its URL
// without the user, and with its addresses for a host.
func (s *RedisStore) defaultName() string {
	text := s.URL
	if text == "" && len(s.Addresses) > 0 {
		text = "redis:///"
	}
	address, err := url.Parse(text)
	if err != nil {
		return text // which is a problem, and shown nowhere
	}
	if address.User == nil && len(s.Addresses) == 0 {
		return text
	}
	address.User = nil
	if len(s.Addresses) > 0 {
		address.Host = strings.Join(s.Addresses, ",")
	}
	return address.String()
}
