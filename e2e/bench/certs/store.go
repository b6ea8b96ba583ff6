package certs

import (
	"errors"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"
)

// The names that the store knows, and those that it does not. A kept name has the same certificate whenever it is
// asked for, so that 100,000 of them are made once; one that is new is made, and forgotten, on the spot.
const (
	KeptNames    = ".kept." + Name
	KeptRSANames = ".rsa." + Name
	NewNames     = ".new." + Name
	UnknownNames = ".unknown." + Name
)

// Store answers as a certificate store, over HTTP, for the names it knows.
type Store struct {
	token     string
	authority *authority
	primes    primes

	mutex sync.Mutex
	kept  map[string][]byte
}

// NewStore makes a store that wants token.
func NewStore(token string) (*Store, error) {
	authority, err := newAuthority()
	if err != nil {
		return nil, err
	}
	return &Store{token: token, authority: authority, kept: map[string][]byte{}}, nil
}

// Serve answers on listener until that is closed.
func (s *Store) Serve(listener net.Listener) error {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /certs/{name}", s.answer)
	server := &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second}
	defer server.Close()
	if err := server.Serve(listener); !errors.Is(err, net.ErrClosed) {
		return err
	}
	return nil
}

func (s *Store) answer(w http.ResponseWriter, r *http.Request) {
	if r.Header.Get("Authorization") != "Bearer "+s.token {
		http.Error(w, "wrong token", http.StatusUnauthorized)
		return
	}
	name := r.PathValue("name")
	var body []byte
	var err error
	switch {
	case strings.HasSuffix(name, KeptNames), strings.HasSuffix(name, KeptRSANames):
		body, err = s.keptBundle(name)
	case strings.HasSuffix(name, NewNames):
		body, err = s.authority.bundle(name, s.authority.newKey)
	default:
		http.Error(w, "unknown name", http.StatusNotFound)
		return
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(body) // one that has gone is not answered
}

func (s *Store) keptBundle(name string) ([]byte, error) {
	s.mutex.Lock()
	body, found := s.kept[name]
	s.mutex.Unlock()
	if found {
		return body, nil
	}
	key := s.authority.newKey
	if strings.HasSuffix(name, KeptRSANames) {
		key = s.primes.newKey
	}
	body, err := s.authority.bundle(name, key)
	if err != nil {
		return nil, err
	}
	s.mutex.Lock()
	defer s.mutex.Unlock()
	s.kept[name] = body
	return body, nil
}
