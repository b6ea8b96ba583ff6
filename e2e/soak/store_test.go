package soak

import (
	"io"
	"log"
	"net"
	"net/http"
	"path"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// mood is how a store answers.
type mood int32

const (
	well    mood = iota
	failing      // 500
	hanging      // not at all
	garbled      // with something else
)

// store has a certificate for every name but those that begin with unknown.
type store struct {
	*authority
	address string
	server  *http.Server
	mood    atomic.Int32
	running sync.WaitGroup
}

func newStore(t *testing.T) *store {
	s := &store{authority: newAuthority(), address: "127.0.0.1:0"}
	if err := s.start(); err != nil {
		t.Fatal(err)
	}
	return s
}

// start listens, again after a stop, at the same address.
func (s *store) start() error {
	listener, err := net.Listen("tcp", s.address)
	if err != nil {
		return err
	}
	s.address = listener.Addr().String()
	s.server = &http.Server{Handler: s, ErrorLog: log.New(io.Discard, "", 0), ReadHeaderTimeout: time.Minute}
	s.running.Go(func() { s.server.Serve(listener) })
	return nil
}

// stop closes the listener and every connection.
func (s *store) stop() {
	s.server.Close()
	s.running.Wait()
}

func (s *store) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	name := path.Base(r.URL.Path)
	switch mood(s.mood.Load()) {
	case failing:
		w.WriteHeader(http.StatusInternalServerError)
	case hanging:
		<-r.Context().Done()
	case garbled:
		io.WriteString(w, `{"cert": "none`)
	case well:
		if strings.HasPrefix(name, "unknown") {
			w.WriteHeader(http.StatusNotFound)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		w.Write(s.bundle(name))
	}
}
