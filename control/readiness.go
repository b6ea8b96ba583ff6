package control

import (
	"errors"
	"net/http"
)

// getHealth answers for as long as the process lives: what restarts a process that is dead asks it, and a server that is
// down or a store that does not answer is no reason for that.
func getHealth(w http.ResponseWriter, _ *http.Request) {
	answer(w, http.StatusOK, Success{Result: "success"})
}

// getReadiness says whether new connections should be sent here.
func (s *Server) getReadiness(w http.ResponseWriter, _ *http.Request) {
	if err := s.notReady(); err != nil {
		refuse(w, http.StatusServiceUnavailable, err)
		return
	}
	answer(w, http.StatusOK, Success{Result: "success"})
}

var (
	errDraining = errors.New("draining: open connections are let end, and no new ones accepted")
	errStarting = errors.New("starting: connections are not accepted yet")
)

// notReady is why no connections should be sent here; nil: they should.
func (s *Server) notReady() error {
	switch {
	case s.draining():
		return errDraining
	case s.options.Ready != nil && !s.options.Ready():
		return errStarting
	}
	return nil
}
