package control

import (
	"fmt"
	"io"
	"net/http"
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
		RefetchIn:   seconds(info.RefetchAt.Sub(now)),
		ExpiresIn:   seconds(info.NotAfter.Sub(now)),
		NotAfter:    info.NotAfter.UTC(),
		Withdrawn:   info.Withdrawn,
		LastError:   info.LastError,
	}
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
	answer(w, http.StatusOK, certOf(info, time.Now()))
}

// getCerts lists what is cached, all or what ?pattern= matches. However long the list, it is never held.
func (s *Server) getCerts(w http.ResponseWriter, r *http.Request) {
	pattern := "*"
	if r.URL.Query().Has("pattern") {
		pattern = r.URL.Query().Get("pattern")
	}
	wanted, err := sni.ParsePattern(pattern)
	if err == nil {
		err = parameters(r, "pattern")
	}
	if err != nil {
		refuse(w, http.StatusBadRequest, err)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	controller := patient(w)
	io.WriteString(w, `{"certs":[`)
	separator := ""
	for info := range s.options.Certificates.All() {
		if !wanted.Match(info.Name) {
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
