package instance

import (
	"errors"
	"fmt"
	"net/netip"

	"hellogate/breaker"
	"hellogate/control"
	"hellogate/control/config"
	"hellogate/store"
	"hellogate/store/chain"
	"hellogate/store/dir"
	"hellogate/store/redis"
)

// guarded is a store behind its breaker.
type guarded struct {
	name    string
	fetches int // at once
	files   int // that each has open
	link    chain.Link
	*breaker.Breaker
}

// Takes reports whether the store is asked for a name.
func (g guarded) Takes(name string) bool { return g.link.Takes(name) }

// dirFetches is how many names a directory is asked for at once.
const dirFetches = 64

// What a fetch has open: a connection, or a directory, a folder on the way and the files of up to three pairs.
const (
	httpFiles  = 1
	redisFiles = 1
	dirFiles   = 8
)

// opened is a store as its kind is.
type opened struct {
	store.Store
	close   func() // nil: there is nothing to close
	fetches int
	files   int
}

func (i *Instance) openStores() error {
	var links []chain.Link
	for index, settings := range i.config.Stores {
		kind, err := i.openStore(settings)
		if err != nil {
			return i.describe(fmt.Sprintf("stores[%d]", index), err)
		}
		if kind.close != nil {
			i.closeLater(kind.close)
		}
		links = append(links, i.link(settings, kind))
	}
	if len(links) == 0 {
		return errors.New("stores: one is needed")
	}
	i.chain = chain.New(links, i.options.Log)
	i.closeLater(i.chain.Close)
	i.warnOfSecrets()
	return nil
}

// link puts a store behind its breaker and into the chain.
func (i *Instance) link(settings config.Store, kind opened) chain.Link {
	guard := breaker.New(settings.Name, kind.Store, i.breakerOptions(settings.Breaker))
	link := chain.Link{
		Name:      settings.Name,
		Store:     guard,
		Names:     settings.Names,
		WriteBack: settings.WriteBack,
		Fetches:   kind.fetches,
	}
	if watcher, tells := kind.Store.(store.Watcher); tells {
		link.Watcher = watcher
	}
	if writer, takes := kind.Store.(store.Writer); takes {
		link.Writer = writer
	}
	i.stores = append(i.stores, guarded{name: settings.Name, fetches: kind.fetches, files: kind.files, link: link, Breaker: guard})
	return link
}

func (i *Instance) breakerOptions(settings config.Breaker) breaker.Options {
	return breaker.Options{Failures: settings.Failures, Reset: settings.Reset, Log: i.options.Log}
}

func (i *Instance) openStore(settings config.Store) (opened, error) {
	switch {
	case settings.HTTP != nil:
		client, err := store.NewHTTP(i.httpOptions(settings))
		if err != nil {
			return opened{}, err
		}
		return opened{client, client.Close, settings.HTTP.Fetches, httpFiles}, nil
	case settings.Redis != nil:
		client, err := redis.New(i.redisOptions(settings))
		if err != nil {
			return opened{}, err
		}
		return opened{client, client.Close, settings.Redis.Fetches, redisFiles}, nil
	case settings.Dir != nil:
		directory, err := dir.Open(dir.Options{Name: settings.Name, Path: settings.Dir.Path, Log: i.options.Log})
		if err != nil {
			return opened{}, err
		}
		return opened{directory, directory.Close, dirFetches, dirFiles}, nil
	}
	return opened{}, errors.New("neither http, dir nor redis")
}

// warnOfSecrets says which secrets of the environment nothing takes.
func (i *Instance) warnOfSecrets() {
	if i.options.StoreToken != "" && i.count(isHTTP) != 1 {
		i.options.Log.Warn().Str("note", "HELLOGATE_STORE_TOKEN is set, and there is not exactly one http store to take it").Msg("configuration")
	}
	if i.options.RedisPassword != "" && i.count(isRedis) != 1 {
		i.options.Log.Warn().Str("note", "HELLOGATE_REDIS_PASSWORD is set, and there is not exactly one redis store to take it").Msg("configuration")
	}
}

func isHTTP(s config.Store) bool  { return s.HTTP != nil }
func isRedis(s config.Store) bool { return s.Redis != nil }

func (i *Instance) count(kind func(config.Store) bool) (count int) {
	for _, settings := range i.config.Stores {
		if kind(settings) {
			count++
		}
	}
	return count
}

func (i *Instance) httpOptions(settings config.Store) store.HTTPOptions {
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
	if i.options.StoreToken != "" && http.Username == "" && i.count(isHTTP) == 1 {
		options.Token, options.TokenFile = i.options.StoreToken, ""
	}
	return options
}

func (i *Instance) redisOptions(settings config.Store) redis.Options {
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
	if i.options.RedisPassword != "" && i.count(isRedis) == 1 {
		options.Password, options.PasswordFile = i.options.RedisPassword, ""
	}
	return options
}

func (i *Instance) storeStatuses() []control.Store {
	statuses := make([]control.Store, 0, len(i.stores))
	for _, opened := range i.stores {
		statuses = append(statuses, opened)
	}
	return statuses
}

func (i *Instance) storeNames() []string {
	var names []string
	for _, opened := range i.stores {
		names = append(names, opened.name)
	}
	return names
}

// allowed are the addresses that each store may name in its answers.
func (i *Instance) allowed() map[string][]netip.Prefix {
	allowed := make(map[string][]netip.Prefix, len(i.config.Stores))
	for _, settings := range i.config.Stores {
		allowed[settings.Name] = settings.Allow
	}
	return allowed
}
