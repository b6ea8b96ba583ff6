package instance

import (
	"crypto"
	"crypto/x509"
	"errors"
	"fmt"
	"os"

	"hellogate/breaker"
	"hellogate/cache"
	"hellogate/control"
	"hellogate/control/config"
	"hellogate/store"
	"hellogate/terminate"
	"hellogate/terminate/libcrypto"
)

// guarded is a store behind its breaker.
type guarded struct {
	name    string
	fetches int // at once
	files   int // that each has open
	http    bool
	*breaker.Breaker
}

// dirFetches is how many names a directory is asked for at once.
const dirFetches = 64

// What a fetch has open: a connection, or a directory, the two files of a pair and, where a file is a symbolic link, a
// directory on its way.
const (
	httpFiles = 1
	dirFiles  = 4
)

func (i *Instance) openStores() error {
	for index, settings := range i.config.Stores {
		opened, err := i.openStore(settings)
		if err != nil {
			return i.describe(fmt.Sprintf("stores[%d]", index), err)
		}
		i.stores = append(i.stores, opened)
	}
	if len(i.stores) != 1 {
		return errors.New("stores: exactly one is needed")
	}
	if i.options.StoreToken != "" && !i.stores[0].http {
		i.options.Log.Warn().Str("note", "HELLOGATE_STORE_TOKEN is set, and the store takes no token").Msg("configuration")
	}
	return nil
}

func (i *Instance) openStore(settings config.Store) (guarded, error) {
	opened := guarded{name: settings.Name, fetches: dirFetches, files: dirFiles}
	var asked store.Store
	switch {
	case settings.HTTP != nil:
		client, err := store.NewHTTP(i.httpOptions(settings))
		if err != nil {
			return opened, err
		}
		i.closeLater(client.Close)
		asked, opened.http = client, true
		opened.fetches, opened.files = settings.HTTP.Fetches, httpFiles
	case settings.Dir != nil:
		directory, err := store.NewDir(settings.Name, settings.Dir.Path)
		if err != nil {
			return opened, err
		}
		asked = directory
	default:
		return opened, errors.New("neither http nor dir")
	}
	opened.Breaker = breaker.New(settings.Name, asked, breaker.Options{
		Failures: i.config.Breaker.Failures,
		Reset:    i.config.Breaker.Reset,
		Log:      i.options.Log,
	})
	return opened, nil
}

func (i *Instance) httpOptions(settings config.Store) store.HTTPOptions {
	http := settings.HTTP
	options := store.HTTPOptions{
		Name:               settings.Name,
		URL:                http.URL,
		Form:               string(http.Form),
		TokenFile:          http.TokenFile,
		CAFile:             http.CAFile,
		CertFile:           http.CertFile,
		KeyFile:            http.KeyFile,
		InsecureSkipVerify: http.InsecureSkipVerify,
		Plaintext:          http.Plaintext,
		Timeout:            http.Timeout,
		Fetches:            http.Fetches,
	}
	if i.options.StoreToken != "" {
		options.Token, options.TokenFile = i.options.StoreToken, ""
	}
	return options
}

func (i *Instance) openCache() error {
	settings := i.config.Cache
	roots, err := pool(settings.AliasCAFile)
	if err != nil {
		return i.describe("cache.alias_ca_file", err)
	}
	i.cache = cache.New(cache.Options{
		Store:         i.stores[0],
		Size:          int64(settings.Size),
		TTL:           settings.TTL,
		MinTTL:        settings.MinTTL,
		RenewBefore:   settings.RenewBefore,
		NegativeTTL:   settings.NegativeTTL,
		WithdrawAfter: settings.WithdrawAfter,
		LookupTimeout: settings.LookupTimeout,
		Fetches:       i.stores[0].fetches,
		Aliases:       aliases[settings.SANAliases],
		AliasRoots:    roots,
		Signer:        signer,
		SignerBytes:   libcrypto.Bytes,
		Log:           i.options.Log,
	})
	i.closeLater(i.cache.Close)
	return nil
}

// signer is how keys are served: RSA through libcrypto where there is one, and as many signatures at once as there are
// processors, which bounds the threads that libcrypto keeps busy too.
func signer(key crypto.Signer) crypto.Signer { return terminate.LimitSignatures(libcrypto.Wrap(key)) }

var aliases = map[config.SANAliases]cache.AliasPolicy{
	config.AliasesVerified: cache.AliasesVerified,
	config.AliasesAll:      cache.AliasesAll,
	config.AliasesOff:      cache.AliasesOff,
}

// pool reads roots; no file means the system's, which is what a nil pool means to crypto/x509.
func pool(file string) (*x509.CertPool, error) {
	if file == "" {
		return nil, nil
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(text) {
		return nil, fmt.Errorf("%s holds no PEM certificate", file)
	}
	return roots, nil
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
