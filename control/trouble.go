package control

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"hellogate/cache"
)

const (
	// soon is how near its end a certificate is trouble: by then it should long have been replaced.
	soon = 3 * 24 * time.Hour
	// looksEvery keeps many who ask for the status from walking through a large cache each time.
	looksEvery = 5 * time.Second
	// sourcePinned is the source of a cache.Info that was put there by hand.
	sourcePinned = "pinned"
)

// trouble is what is wrong with the certificates in the cache.
type trouble struct {
	expiring, pinned, withdrawn, failing int
	worst                                []cache.Info // the first to expire first, up to sampleSize
}

// troubles remembers the last look for a few seconds.
type troubles struct {
	mu   sync.Mutex
	at   time.Time
	last trouble
}

func (t *troubles) look(certificates Certificates, now time.Time) trouble {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.at.IsZero() || now.Sub(t.at) >= looksEvery {
		t.at, t.last = now, survey(certificates, now)
	}
	return t.last
}

func survey(certificates Certificates, now time.Time) trouble {
	var found trouble
	for info := range certificates.All() {
		expiring, failing := expires(info, now), info.LastError != ""
		if !expiring && !failing && !info.Withdrawn {
			continue
		}
		found.expiring += count(expiring && info.Source != sourcePinned)
		found.pinned += count(expiring && info.Source == sourcePinned)
		found.failing += count(failing)
		found.withdrawn += count(info.Withdrawn)
		found.keep(info)
	}
	return found
}

// expires reports whether a certificate is near its end, and was asked for again in vain.
func expires(info cache.Info, now time.Time) bool {
	return info.Expiring || info.NotAfter.Sub(now) < soon && renewable(info, now)
}

// renewable leaves out certificates that live for so short a time that their end is always near.
func renewable(info cache.Info, now time.Time) bool {
	return info.RefetchAt.Before(now) || info.LastError != ""
}

func (t *trouble) keep(info cache.Info) {
	at, _ := slices.BinarySearchFunc(t.worst, info, func(a, b cache.Info) int {
		return cmp.Or(a.NotAfter.Compare(b.NotAfter), strings.Compare(a.Name, b.Name))
	})
	if at >= sampleSize {
		return
	}
	t.worst = slices.Insert(t.worst, at, info)
	t.worst = t.worst[:min(len(t.worst), sampleSize)]
}

func count(yes bool) int {
	if yes {
		return 1
	}
	return 0
}

// problems says in words what is degraded, the worst first. noDisk is why there is no disk tier that there should be.
func problems(status Status, found trouble, noDisk string) []string {
	list := []string{}
	for _, store := range status.Stores {
		switch store.Breaker {
		case "open":
			list = append(list, fmt.Sprintf("store %s is not asked, it kept failing: breaker open, retry in %ds", store.Name, store.RetryIn))
		case "half_open":
			list = append(list, fmt.Sprintf("store %s kept failing: breaker half open, one request probes it", store.Name))
		}
	}
	list = append(list, unseen(status.Stores)...)
	list = append(list, permissionProblems(status.Permission)...)
	list = append(list, acmeProblems(status.ACME)...)
	for _, backend := range status.Backends {
		list = append(list, backend.problems()...)
	}
	if status.Cache.DroppingStopped {
		list = append(list, "certificates: a store denies so many names that it is not believed, none is dropped")
	}
	switch disk := status.Disk; {
	case noDisk != "":
		list = append(list, "no disk tier, nothing survives a restart: "+noDisk)
	case disk != nil && disk.LastError != "":
		list = append(list, fmt.Sprintf("disk tier %s: what changes does not survive a restart: %s", disk.Path, disk.LastError))
	}
	list = append(list, found.problems()...)
	if connections := status.Connections; connections.Limit > 0 && connections.Active*10 >= connections.Limit*9 {
		list = append(list, fmt.Sprintf("%d of %d connections in use", connections.Active, connections.Limit))
	}
	return list
}

// unseen says of which stores changes can't be seen.
func unseen(stores []StoreStatus) (list []string) {
	for _, store := range stores {
		if store.WatchProblem != "" {
			list = append(list, fmt.Sprintf("store %s: what changes in it may be served late: %s", store.Name, store.WatchProblem))
		}
	}
	return list
}

func permissionProblems(status *PermissionStatus) []string {
	switch {
	case status != nil && status.Breaker == "open":
		return []string{fmt.Sprintf("permission %s is not asked, it kept failing, and names without a certificate get none: "+
			"breaker open, retry in %ds", status.URL, status.RetryIn)}
	case status != nil && status.Breaker == "half_open":
		return []string{fmt.Sprintf("permission %s kept failing: breaker half open, one request probes it", status.URL)}
	}
	return nil
}

func (t *trouble) problems() (list []string) {
	for _, each := range []struct {
		count     int
		one, many string
	}{
		{t.expiring, "expires soon, and no newer one could be had", "expire soon, and no newer ones could be had"},
		{
			t.pinned, "pinned by hand expires soon: put a newer one there, or it gives way to the store",
			"pinned by hand expire soon: put newer ones there, or they give way to the store",
		},
		{t.withdrawn, "withdrawn: its store knows the name no more", "withdrawn: their stores know the names no more"},
		{t.failing, "could not be fetched again at the last attempt", "could not be fetched again at the last attempt"},
	} {
		if each.count > 0 {
			list = append(list, "certificates: "+Numbered(each.count, each.one, each.many))
		}
	}
	return list
}

// Numbered writes a count and what is counted, as one or as many.
func Numbered[N int | int64 | uint64](count N, one, many string) string {
	if count == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", count, many)
}
