package instance

import (
	"context"
	"crypto"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"syscall"

	"hellogate/cache"
	"hellogate/cache/disk"
	"hellogate/cache/permission"
	"hellogate/control"
	"hellogate/control/config"
	"hellogate/terminate"
	"hellogate/terminate/libcrypto"
)

func (i *Instance) openCache() error {
	settings := i.config.Cache
	trusted, err := roots(settings.AliasCAFile)
	if err != nil {
		return i.describe("cache.alias_ca_file", err)
	}
	options := cache.Options{
		Store:         i.chain,
		Fetches:       i.stores.fetches(),
		Size:          int64(settings.Size),
		TTL:           settings.TTL,
		MinTTL:        settings.MinTTL,
		RenewBefore:   settings.RenewBefore,
		NegativeTTL:   settings.NegativeTTL,
		WithdrawAfter: settings.WithdrawAfter,
		LookupTimeout: settings.LookupTimeout,
		RouteTTL:      settings.RouteTTL,
		Aliases:       aliases[settings.SANAliases],
		AliasRoots:    trusted,
		Wildcards:     settings.Wildcards,
		Lookups:       lookups(i.config.Lookups),
		Event:         i.tell,
		Signer:        signer,
		SignerBytes:   libcrypto.Bytes,
		Log:           i.options.Log,
	}
	if i.permission != nil {
		options.Permission = i.permission
	}
	if i.disk != nil {
		options.Disk = i.disk
	}
	i.cache = cache.New(options)
	i.closeLater(i.cache.Close)
	i.certificates = len(i.closers)
	i.names.at.Store(i.cache)
	i.takePins()
	return nil
}

func lookups(settings config.Lookups) cache.Lookups {
	return cache.Lookups{
		Rate:        settings.Rate,
		Burst:       settings.Burst,
		PerClient:   settings.PerClient,
		ClientBurst: settings.PerClientBurst,
	}
}

func (i *Instance) openPermission() error {
	settings := i.config.Permission
	if settings.URL == "" {
		return nil
	}
	asked, err := permission.New(permission.Options{
		URL:       settings.URL,
		Timeout:   settings.Timeout,
		CAFile:    settings.CAFile,
		Plaintext: settings.Plaintext,
		Breaker:   i.breakerOptions(settings.Breaker),
	})
	if err != nil {
		return i.describe("permission", err)
	}
	i.permission = asked
	i.closeLater(asked.Close)
	return nil
}

// openDisk opens the disk tier. What is unsafe about it is an error; without a disk that can be written to, or where
// another process has it, clients are served all the same.
func (i *Instance) openDisk() error {
	settings := i.config.Cache
	if settings.Dir == "" {
		return nil
	}
	opened, err := openTier(disk.Options{Dir: settings.Dir, KeyFile: settings.DirKeyFile, Log: i.options.Log})
	switch {
	case err == nil:
	case errors.Is(err, disk.ErrInUse), cantWrite(err):
		i.options.Log.Error().AnErr("reason", err).Msg("no disk tier: what is cached will not survive a restart")
		i.noDisk = err.Error()
		return nil
	default:
		return i.describe("cache.dir", err)
	}
	i.disk = opened
	i.closeLater(i.letDisk)
	return nil
}

// letDisk closes the disk tier, if there is one that is open.
func (i *Instance) letDisk() {
	if i.disk == nil {
		return
	}
	if err := i.disk.let(); err != nil {
		i.options.Log.Warn().AnErr("reason", err).Msg("disk tier closed")
	}
}

// takeDisk takes the disk tier back.
func (i *Instance) takeDisk() {
	if i.disk == nil {
		return
	}
	if err := i.disk.take(); err != nil {
		i.options.Log.Error().AnErr("reason", err).Msg("no disk tier: what is cached will not survive a restart")
	}
}

func cantWrite(err error) bool {
	for _, cause := range []error{fs.ErrPermission, syscall.EROFS, syscall.ENOSPC, syscall.EDQUOT, syscall.EIO} {
		if errors.Is(err, cause) {
			return true
		}
	}
	return false
}

// diskStatus is what status says of the disk tier; nil: there is none.
func (i *Instance) diskStatus() func() control.DiskStatus {
	if i.disk == nil {
		return nil
	}
	return func() control.DiskStatus {
		stats := i.disk.stats()
		status := control.DiskStatus{
			Path: i.config.Cache.Dir, Records: stats.Records, FileBytes: stats.FileBytes,
			Written: stats.Written, Dropped: stats.Dropped, Damaged: stats.Damaged,
		}
		if stats.Failing {
			status.LastError = stats.LastError
		}
		return status
	}
}

// prefetchers is how many names of the configuration are fetched at once.
const prefetchers = 16

// startPrefetch fetches the names that a configuration lists and the one before, which may be nil, does not, while clients are
// being served.
func (i *Instance) startPrefetch(loaded, before *config.Config) {
	names := loaded.Prefetch
	if before != nil {
		names = slices.DeleteFunc(slices.Clone(names), func(name string) bool { return slices.Contains(before.Prefetch, name) })
	}
	i.prefetching = slices.DeleteFunc(i.prefetching, runner.over)
	if len(names) > 0 {
		i.prefetching = append(i.prefetching, run(i.life, func(ctx context.Context) { i.prefetch(ctx, names) }))
	}
}

func (i *Instance) prefetchFirst() {
	i.changing.Lock()
	defer i.changing.Unlock()
	i.startPrefetch(i.config, nil)
}

func (i *Instance) stopPrefetch() {
	for _, running := range i.prefetching {
		running.stop()
	}
}

func (i *Instance) prefetch(ctx context.Context, names []string) {
	todo := make(chan string)
	results := make(chan string)
	for range min(prefetchers, len(names)) {
		go func() {
			for name := range todo {
				result, _ := i.cache.Prefetch(ctx, name)
				results <- result
			}
		}()
	}
	go func() {
		defer close(todo)
		for _, name := range names {
			todo <- name
		}
	}()
	counts := map[string]int{}
	for range names {
		counts[<-results]++
	}
	i.options.Log.Info().Int("fetched", counts["fetched"]).Int("cached", counts["cached"]).
		Int("unknown", counts["unknown"]).Int("failed", counts["failed"]).Msg("prefetched")
}

// signer is how keys are served: RSA through libcrypto where there is one, and as many signatures at once as there are
// processors, which bounds the threads that libcrypto keeps busy too.
func signer(key crypto.Signer) crypto.Signer { return terminate.LimitSignatures(libcrypto.Wrap(key)) }

var aliases = map[config.SANAliases]cache.AliasPolicy{
	config.AliasesVerified: cache.AliasesVerified,
	config.AliasesAll:      cache.AliasesAll,
	config.AliasesOff:      cache.AliasesOff,
}

// roots reads certificates; no file means the system's, which is what a nil pool means to crypto/x509.
func roots(file string) (*x509.CertPool, error) {
	if file == "" {
		return nil, nil
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	read := x509.NewCertPool()
	if !read.AppendCertsFromPEM(text) {
		return nil, fmt.Errorf("%s holds no PEM certificate", file)
	}
	return read, nil
}
