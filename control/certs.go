package control

import (
	"fmt"
	"io"
	"net/http"
	"strconv"
	"time"

	"hellogate/cache"
	"hellogate/sni"
)

// Cert is what is known of a certificate in the cache. Never its key.
type Cert struct {
	Name        string    `json:"name"`
	Names       []string  `json:"names"` // that the certificate is for
	Issuer      string    `json:"issuer"`
	Fingerprint string    `json:"fingerprint_sha256"`
	KeyType     string    `json:"key_type"`
	Store       string    `json:"store"`
	Source      string    `json:"source"` // fetched, pinned or disk
	AliasOf     string    `json:"alias_of,omitempty"`
	FetchedAt   time.Time `json:"fetched_at"`
	RefetchIn   int64     `json:"refetch_in_seconds"` // negative: overdue
	ExpiresIn   int64     `json:"expires_in_seconds"`
	NotAfter    time.Time `json:"not_after"`
	Withdrawn   bool      `json:"withdrawn"` // the store says that it knows the name no more
	LastError   string    `json:"last_error"`
	// Expiring: it is in the last tenth of its life, and no newer one was found.
	Expiring bool     `json:"expiring"`
	TookMS   float64  `json:"took_ms"` // that the store needed to answer
	Remarks  []string `json:"remarks,omitempty"`
	// SecondKeyType is that of a second pair, for clients that can't use the first.
	SecondKeyType string `json:"second_key_type,omitempty"`
	// WithoutECDSA: for clients that can't use ECDSA certificates; another Cert is for the others.
	WithoutECDSA bool `json:"without_ecdsa,omitempty"`
	// RoutedTo is where the store wants connections to go: a backend, or addresses.
	RoutedTo []string `json:"routed_to,omitempty"`
	// ACME is when it is renewed, and what came of the last try, of one that a store orders; only where one is asked for.
	ACME *ACMEName `json:"acme,omitempty"`
}

func certOf(info cache.Info, now time.Time) Cert {
	names := info.Names
	if names == nil {
		names = []string{}
	}
	return Cert{
		Name:        info.Name,
		Names:       names,
		Issuer:      info.Issuer,
		Fingerprint: info.Fingerprint,
		KeyType:     info.KeyType,
		Store:       info.Store,
		Source:      info.Source,
		AliasOf:     info.AliasOf,
		FetchedAt:   info.FetchedAt.UTC().Truncate(time.Second),
		RefetchIn:   refetchIn(info, now),
		ExpiresIn:   seconds(info.NotAfter.Sub(now)),
		NotAfter:    info.NotAfter.UTC(),
		Withdrawn:   info.Withdrawn,
		LastError:   info.LastError,
		Expiring:    info.Expiring,
		TookMS:      float64(info.Took.Microseconds()) / 1000,
		Remarks:     info.Remarks,

		SecondKeyType: info.SecondKeyType,
		WithoutECDSA:  info.WithoutECDSA,
		RoutedTo:      routedTo(info.Routing),
	}
}

func routedTo(routing *cache.Routing) []string {
	switch {
	case routing == nil:
		return nil
	case routing.Backend != "":
		return []string{routing.Backend}
	}
	return routing.Servers
}

// refetchIn is when a store is asked next; of what is pinned, never: then it is when it expires.
func refetchIn(info cache.Info, now time.Time) int64 {
	if info.RefetchAt.IsZero() {
		return seconds(info.NotAfter.Sub(now))
	}
	return seconds(info.RefetchAt.Sub(now))
}

func certsOf(infos []cache.Info, now time.Time) []Cert {
	certs := make([]Cert, 0, len(infos))
	for _, info := range infos {
		certs = append(certs, certOf(info, now))
	}
	return certs
}

func seconds(d time.Duration) int64 { return int64(d / time.Second) }

func (s *Server) getCert(w http.ResponseWriter, r *http.Request) {
	name, ok := pathName(w, r)
	if !ok {
		return
	}
	info, ok := s.options.Certificates.Show(name)
	if !ok {
		refuse(w, http.StatusNotFound, fmt.Errorf("%s: not in the cache", name))
		return
	}
	cert := certOf(info, time.Now())
	cert.ACME = s.orderOf(r.Context(), info)
	answer(w, http.StatusOK, cert)
}

// wantedCerts is what a list is to have: ?pattern= matches its names, and it expires within ?expiring= seconds.
func wantedCerts(r *http.Request) (func(cache.Info) bool, error) {
	query := r.URL.Query()
	pattern := "*"
	if query.Has("pattern") {
		pattern = query.Get("pattern")
	}
	wanted, err := sni.ParsePattern(pattern)
	if err != nil {
		return nil, err
	}
	if !query.Has("expiring") {
		return func(info cache.Info) bool { return wanted.Match(info.Name) }, parameters(r, "pattern")
	}
	within, err := strconv.ParseUint(query.Get("expiring"), 10, 32)
	if err != nil {
		return nil, fmt.Errorf("expiring %s: seconds expected", quote(query.Get("expiring")))
	}
	before := time.Now().Add(time.Duration(within) * time.Second)
	return func(info cache.Info) bool {
		return wanted.Match(info.Name) && info.NotAfter.Before(before)
	}, parameters(r, "pattern", "expiring")
}

// getCerts lists what is cached, all or what is wanted. However long the list, it is never held.
func (s *Server) getCerts(w http.ResponseWriter, r *http.Request) {
	wanted, err := wantedCerts(r)
	if err != nil {
		refuse(w, http.StatusBadRequest, err)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	controller := patient(w)
	io.WriteString(w, `{"certs":[`)
	separator := ""
	for info := range s.options.Certificates.All() {
		if !wanted(info) {
			continue
		}
		deadline(controller)
		io.WriteString(w, separator)
		if encode(w, certOf(info, time.Now())) != nil {
			return
		}
		separator = ","
	}
	io.WriteString(w, "]}\n")
}
