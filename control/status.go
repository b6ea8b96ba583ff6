package control

import (
	"net/http"
	"time"

	"hellogate/breaker"
	"hellogate/store/chain"
)

// sampleSize is how many names a status shows.
const sampleSize = 20

// The states of a Status.
const (
	StateOK       = "ok"
	StateDegraded = "degraded"
	StateDraining = "draining"
)

// Status is how a hellogate is doing.
type Status struct {
	Version     string            `json:"version"`
	State       string            `json:"state"`    // ok, degraded or draining
	Problems    []string          `json:"problems"` // what is degraded, the worst first
	Uptime      int64             `json:"uptime_seconds"`
	Connections Connections       `json:"connections"`
	Listeners   []Listener        `json:"listeners"`
	Cache       CacheStatus       `json:"cache"`
	Disk        *DiskStatus       `json:"disk,omitempty"`       // nil: there is no disk tier
	Permission  *PermissionStatus `json:"permission,omitempty"` // nil: nobody is asked
	Stores      []StoreStatus     `json:"stores"`
	ACME        []ACMEStatus      `json:"acme,omitempty"` // of the stores that order certificates
	Backends    []Backend         `json:"backends"`
	Process     Process           `json:"process"`
	Troubled    []Cert            `json:"troubled"` // certificates in trouble, the first to expire first, up to 20
	Names       []Cert            `json:"names"`    // a sample
}

// Connections counts those of clients.
type Connections struct {
	Active      int64             `json:"active"`
	Total       int64             `json:"total"`
	Limit       int64             `json:"limit"`
	Handshaking int64             `json:"handshaking"`
	Waiting     int64             `json:"waiting"` // for their handshake to begin
	BytesIn     int64             `json:"bytes_in"`
	BytesOut    int64             `json:"bytes_out"`
	Refused     map[string]uint64 `json:"refused"` // that did not end well, by reason
}

// Listener is where clients come in.
type Listener struct {
	Name     string `json:"name"`
	Address  string `json:"address"`            // that it is bound to
	StartTLS string `json:"starttls,omitempty"` // what clients say before their TLS; empty: nothing
}

// CacheStatus is what the cache holds and how often it was asked.
type CacheStatus struct {
	Entries    int    `json:"entries"`
	Bytes      int64  `json:"bytes"`
	LimitBytes int64  `json:"limit_bytes"`
	Negative   int    `json:"negative"`
	Hits       uint64 `json:"hits"`
	Stale      uint64 `json:"stale"`
	Misses     uint64 `json:"misses"`
	Coalesced  uint64 `json:"coalesced"`
	Evictions  uint64 `json:"evictions"`
	Aliases    int    `json:"aliases"`   // of the entries, those that another name's certificate answers for
	Pairs      int    `json:"pairs"`     // different certificates
	HotBytes   int64  `json:"hot_bytes"` // of the bytes, those of parsed certificates
	Failing    int    `json:"failing"`   // names that a failure is remembered of
	Withdrawn  int    `json:"withdrawn"` // names that are served although their store denies them
	Queued     int    `json:"queued"`    // names that wait for the store's time
	Fetching   int    `json:"fetching"`  // requests under way
	Fetches    uint64 `json:"fetches"`   // requests to the store
	Refreshes  uint64 `json:"refreshes"` // of them, those that no client waited for
	Failures   uint64 `json:"failures"`  // of them, those that failed

	Pinned     int    `json:"pinned"` // names whose certificate was put there by hand
	PinnedHits uint64 `json:"pinned_hits"`
	Limited    uint64 `json:"limited"` // look-ups refused because too many unknown names were asked for
	Loaded     uint64 `json:"loaded"`  // names taken from the disk tier

	// The store denies so many names that none is dropped any more.
	DroppingStopped bool `json:"dropping_stopped"`
}

// DiskStatus is the disk tier.
type DiskStatus struct {
	Path      string `json:"path"`
	Records   int    `json:"records"`
	FileBytes int64  `json:"file_bytes"`
	Written   uint64 `json:"written"`
	Dropped   uint64 `json:"dropped"` // records that could not be written in time
	Damaged   uint64 `json:"damaged"`
	LastError string `json:"last_error"`
}

// StoreStatus is a store and its breaker.
type StoreStatus struct {
	Name        string     `json:"name"`
	Breaker     string     `json:"breaker"` // closed, open or half_open
	Failures    int        `json:"failures"`
	RetryIn     int64      `json:"retry_in_seconds"`
	Requests    uint64     `json:"requests"`
	Unknown     uint64     `json:"unknown"`
	Failed      uint64     `json:"failed"`
	CutOff      uint64     `json:"cut_off"`
	LastError   string     `json:"last_error"`
	LastErrorAt *time.Time `json:"last_error_at,omitempty"`

	// Watching is whether changes in it can be seen; nil: it can't tell of any. WatchProblem is why they can't, or not all of
	// them; empty with false: it has only begun to look.
	Watching     *bool  `json:"watching,omitempty"`
	WatchProblem string `json:"watching_problem,omitempty"`
}

// PermissionStatus is the permission endpoint and its breaker.
type PermissionStatus struct {
	URL         string     `json:"url"`     // without its query
	Breaker     string     `json:"breaker"` // closed, open or half_open
	Failures    int        `json:"failures"`
	RetryIn     int64      `json:"retry_in_seconds"`
	Yes         uint64     `json:"yes"`
	No          uint64     `json:"no"`
	Failed      uint64     `json:"failed"`
	CutOff      uint64     `json:"cut_off"`
	Remembered  uint64     `json:"remembered"` // answers that needed no request
	Held        int        `json:"held"`       // answers that are remembered now
	LastError   string     `json:"last_error"`
	LastErrorAt *time.Time `json:"last_error_at,omitempty"`
}

func (s *Server) getStatus(w http.ResponseWriter, r *http.Request) {
	if err := parameters(r); err != nil {
		refuse(w, http.StatusBadRequest, err)
		return
	}
	answer(w, http.StatusOK, s.status(time.Now()))
}

func (s *Server) status(now time.Time) Status {
	status := Status{
		Version:     s.options.Version,
		Uptime:      seconds(now.Sub(s.options.Started)),
		Connections: s.connections(),
		Listeners:   s.listeners(),
		Cache:       s.cache(),
		Disk:        s.disk(),
		Permission:  s.permission(),
		Stores:      s.stores(),
		ACME:        s.acmeStatuses(now),
		Backends:    s.backends(),
		Process:     s.process(),
		Names:       certsOf(s.options.Certificates.Sample(sampleSize), now),
	}
	trouble := s.troubles.look(s.options.Certificates, now)
	status.Troubled = certsOf(trouble.worst, now)
	status.Problems = problems(status, trouble, s.options.NoDisk)
	switch {
	case s.draining():
		status.State = StateDraining
	case len(status.Problems) > 0:
		status.State = StateDegraded
	default:
		status.State = StateOK
	}
	return status
}

func (s *Server) draining() bool { return s.options.Draining != nil && s.options.Draining() }

func (s *Server) connections() Connections {
	stats := s.options.Traffic.Stats()
	if stats.Refused == nil {
		stats.Refused = map[string]uint64{}
	}
	return Connections{
		Active:      stats.Active,
		Total:       stats.Total,
		Limit:       stats.Limit,
		Handshaking: stats.Handshaking,
		Waiting:     stats.Waiting,
		BytesIn:     stats.BytesIn,
		BytesOut:    stats.BytesOut,
		Refused:     stats.Refused,
	}
}

func (s *Server) listeners() []Listener {
	plan := s.options.Traffic.Plan()
	listeners := make([]Listener, 0, len(plan.Listeners))
	for _, l := range plan.Listeners {
		listener := Listener{Name: l.Name, StartTLS: l.StartTLS.String()}
		if l.Socket != nil {
			listener.Address = l.Socket.Addr().String()
		}
		listeners = append(listeners, listener)
	}
	return listeners
}

func (s *Server) cache() CacheStatus {
	stats := s.options.Certificates.Stats()
	return CacheStatus{
		Entries:         stats.Entries,
		Bytes:           stats.Bytes,
		LimitBytes:      stats.LimitBytes,
		Negative:        stats.Negative,
		Hits:            stats.Hits,
		Stale:           stats.Stale,
		Misses:          stats.Misses,
		Coalesced:       stats.Coalesced,
		Evictions:       stats.Evictions,
		Aliases:         stats.Aliases,
		Pairs:           stats.Pairs,
		HotBytes:        stats.HotBytes,
		Failing:         stats.Failing,
		Withdrawn:       stats.Withdrawn,
		Queued:          stats.Queued,
		Fetching:        stats.Fetching,
		Fetches:         stats.Fetches,
		Refreshes:       stats.Refreshes,
		Failures:        stats.FetchFailures,
		Pinned:          stats.Pinned,
		PinnedHits:      stats.PinnedHits,
		Limited:         stats.Limited,
		Loaded:          stats.Loaded,
		DroppingStopped: stats.DroppingStopped,
	}
}

func (s *Server) disk() *DiskStatus {
	if s.options.Disk == nil {
		return nil
	}
	status := s.options.Disk()
	return &status
}

func (s *Server) stores() []StoreStatus {
	var sights map[string]chain.Sight
	if s.options.Watching != nil {
		sights = s.options.Watching()
	}
	list := s.storeList()
	stores := make([]StoreStatus, 0, len(list))
	for _, store := range list {
		status := storeOf(store.Status())
		if sight, watches := sights[status.Name]; watches {
			status.Watching = &sight.Seen
			if sight.Problem != nil {
				status.WatchProblem = sight.Problem.Error()
			}
		}
		stores = append(stores, status)
	}
	return stores
}

func (s *Server) storeList() []Store {
	if s.options.Stores == nil {
		return nil
	}
	return s.options.Stores()
}

func (s *Server) permission() *PermissionStatus {
	if s.options.Permission == nil {
		return nil
	}
	guard, stats := storeOf(s.options.Permission.Status()), s.options.Permission.Stats()
	return &PermissionStatus{
		URL:         guard.Name,
		Breaker:     guard.Breaker,
		Failures:    guard.Failures,
		RetryIn:     guard.RetryIn,
		Yes:         stats.Yes,
		No:          stats.No,
		Failed:      stats.Failures,
		CutOff:      guard.CutOff,
		Remembered:  stats.Remembered,
		Held:        stats.Held,
		LastError:   guard.LastError,
		LastErrorAt: guard.LastErrorAt,
	}
}

func storeOf(status breaker.Status) StoreStatus {
	store := StoreStatus{
		Name:      status.Name,
		Breaker:   status.State.String(),
		Failures:  status.Failures,
		RetryIn:   seconds(status.RetryIn + time.Second - 1),
		Requests:  status.Requests,
		Unknown:   status.Unknown,
		Failed:    status.Failed,
		CutOff:    status.CutOff,
		LastError: status.LastError,
	}
	if !status.LastErrorAt.IsZero() {
		at := status.LastErrorAt.UTC()
		store.LastErrorAt = &at
	}
	return store
}

func (s *Server) backends() []Backend {
	backends := []Backend{}
	for _, pool := range s.poolList() {
		backends = append(backends, backendOf(pool.Status()))
	}
	return backends
}
