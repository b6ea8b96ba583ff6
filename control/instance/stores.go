package instance

import (
	"errors"
	"net/netip"

	"hellogate/breaker"
	"hellogate/control/config"
	"hellogate/store"
	"hellogate/store/chain"
	"hellogate/store/dir"
	"hellogate/store/redis"
	"hellogate/terminate/seen"
)

// guarded is a store behind its breaker.
type guarded struct {
	settings config.Store
	secret   string     // of the environment
	files    seen.Files // that it has read, as they were
	opened   opened
	*breaker.Breaker
}

// Takes reports whether the store is asked for a name.
func (g *guarded) Takes(name string) bool { return chain.Link{Names: g.settings.Names}.Takes(name) }

// dirFetches is how many names a directory is asked for at once.
const dirFetches = 64

// What a fetch has open: a connection, or a directory, a folder on the way and the files of up to three pairs.
const (
	httpFiles  = 1
	redisFiles = 1
	dirFiles   = 8
	acmeFiles  = 1
)

// opened is a store as its kind is.
type opened struct {
	store.Store
	close   func() // nil: there is nothing to close
	fetches int
	files   int
}

func (i *Instance) breakerOptions(settings config.Breaker) breaker.Options {
	return breaker.Options{Failures: settings.Failures, Reset: settings.Reset, Log: i.options.Log}
}

// openStore opens a store as its kind is. secret is what the environment has for it; empty: its files are read. Until it is
// asked or watched it changes nothing for others that have the same files or addresses.
func (i *Instance) openStore(settings config.Store, secret string) (opened, error) {
	switch {
	case settings.HTTP != nil:
		client, err := store.NewHTTP(i.httpOptions(settings, secret))
		if err != nil {
			return opened{}, err
		}
		return opened{client, client.Close, settings.HTTP.Fetches, httpFiles}, nil
	case settings.Redis != nil:
		client, err := redis.New(i.redisOptions(settings, secret))
		if err != nil {
			return opened{}, err
		}
		return opened{client, client.Close, settings.Redis.Fetches, redisFiles}, nil
	case settings.ACME != nil:
		return i.openACME(settings)
	case settings.Dir != nil:
		directory, err := dir.Open(dir.Options{Name: settings.Name, Path: settings.Dir.Path, Log: i.options.Log})
		if err != nil {
			return opened{}, err
		}
		return opened{directory, directory.Close, dirFetches, dirFiles}, nil
	}
	return opened{}, errors.New("neither http, dir, redis nor acme")
}

// secretOf is what the environment has for a store of a configuration; empty: nothing. A secret is for one store, and not
// guessed to be for one of several.
func (i *Instance) secretOf(loaded *config.Config, settings config.Store) string {
	switch {
	case settings.HTTP != nil && settings.HTTP.Username == "" && count(loaded, isHTTP) == 1:
		return i.options.StoreToken
	case settings.Redis != nil && count(loaded, isRedis) == 1:
		return i.options.RedisPassword
	}
	return ""
}

// warnOfSecrets says which secrets of the environment nothing takes.
func (i *Instance) warnOfSecrets(config *config.Config) {
	if i.options.StoreToken != "" && count(config, isHTTP) != 1 {
		i.options.Log.Warn().Str("note", "HELLOGATE_STORE_TOKEN is set, and there is not exactly one http store to take it").Msg("configuration")
	}
	if i.options.RedisPassword != "" && count(config, isRedis) != 1 {
		i.options.Log.Warn().Str("note", "HELLOGATE_REDIS_PASSWORD is set, and there is not exactly one redis store to take it").Msg("configuration")
	}
}

func isHTTP(s config.Store) bool  { return s.HTTP != nil }
func isRedis(s config.Store) bool { return s.Redis != nil }

func count(loaded *config.Config, kind func(config.Store) bool) (count int) {
	for _, settings := range loaded.Stores {
		if kind(settings) {
			count++
		}
	}
	return count
}

func (i *Instance) httpOptions(settings config.Store, token string) store.HTTPOptions {
	http := settings.HTTP
	options := store.HTTPOptions{
		Name:               settings.Name,
		URL:                http.URL,
		Form:               string(http.Form),
		Autocert:           http.Autocert,
		AutocertTimeout:    http.AutocertTimeout,
		TokenFile:          http.TokenFile,
		Username:           http.Username,
		PasswordFile:       http.PasswordFile,
		CAFile:             http.CAFile,
		CertFile:           http.CertFile,
		KeyFile:            http.KeyFile,
		InsecureSkipVerify: http.InsecureSkipVerify,
		Plaintext:          http.Plaintext,
		Timeout:            http.Timeout,
		Fetches:            http.Fetches,
	}
	if token != "" {
		options.Token, options.TokenFile = token, ""
	}
	return options
}

func (i *Instance) redisOptions(settings config.Store, password string) redis.Options {
	from := settings.Redis
	options := redis.Options{
		Name:               settings.Name,
		URL:                from.URL,
		Addresses:          from.Addresses,
		SentinelMaster:     from.SentinelMaster,
		Cluster:            from.Cluster,
		Layout:             string(from.Layout),
		Prefix:             from.Prefix,
		Username:           from.Username,
		PasswordFile:       from.PasswordFile,
		CAFile:             from.CAFile,
		CertFile:           from.CertFile,
		KeyFile:            from.KeyFile,
		InsecureSkipVerify: from.InsecureSkipVerify,
		Plaintext:          from.Plaintext,
		Timeout:            from.Timeout,
		Fetches:            from.Fetches,
		Log:                i.options.Log,
	}
	if password != "" {
		options.Password, options.PasswordFile = password, ""
	}
	return options
}

// allowed are the addresses that each store may name in its answers.
func allowed(config *config.Config) map[string][]netip.Prefix {
	allowed := make(map[string][]netip.Prefix, len(config.Stores))
	for _, settings := range config.Stores {
		allowed[settings.Name] = settings.Allow
	}
	return allowed
}
