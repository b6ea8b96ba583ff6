package control

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"

	"hellogate/store"
)

var errEphemeral = errors.New("a pinned certificate would be lost with the process, as there is no disk tier (cache.dir): " +
	"give ephemeral=true (--ephemeral) to put it there all the same")

// putCert pins a certificate by hand. The body is what a store answers with 200.
func (s *Server) putCert(w http.ResponseWriter, r *http.Request) {
	name, ok := pathName(w, r)
	if !ok {
		return
	}
	if status, err := s.pin(w, r, name); err != nil {
		refuse(w, status, err)
		return
	}
	info, _ := s.options.Certificates.Show(name)
	by(r, s.options.Log.Info()).Str("name", name).Str("fingerprint", info.Fingerprint).Msg("control: certificate pinned")
	answer(w, http.StatusOK, Success{Result: "success"})
}

func (s *Server) pin(w http.ResponseWriter, r *http.Request, name string) (status int, err error) {
	if err := parameters(r, "ephemeral"); err != nil {
		return http.StatusBadRequest, err
	}
	if s.options.Disk == nil && r.URL.Query().Get("ephemeral") != "true" {
		return http.StatusConflict, errEphemeral
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, store.MaxBody))
	if err != nil {
		return http.StatusRequestEntityTooLarge, fmt.Errorf("body: more than %d bytes, or cut short", store.MaxBody)
	}
	decoded, err := store.Decode(r.Header.Get("Content-Type"), body)
	if err != nil {
		return http.StatusBadRequest, fmt.Errorf("certificate for %q: %w", name, err)
	}
	if err := s.options.Certificates.Pin(name, decoded.Pairs); err != nil {
		return http.StatusBadRequest, err
	}
	return http.StatusOK, nil
}

// deleteCert removes a pinned certificate. The store is asked for the name then.
func (s *Server) deleteCert(w http.ResponseWriter, r *http.Request) {
	name, ok := pathName(w, r)
	if !ok {
		return
	}
	removed, err := s.options.Certificates.Unpin(name)
	switch {
	case err != nil:
		refuse(w, http.StatusInternalServerError, err)
		return
	case !removed:
		refuse(w, http.StatusNotFound, fmt.Errorf("%s: not pinned", name))
		return
	}
	by(r, s.options.Log.Info()).Str("name", name).Msg("control: pin removed")
	answer(w, http.StatusOK, Success{Result: "success"})
}

// getEvents streams what happens to names until the client leaves.
func (s *Server) getEvents(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	defer context.AfterFunc(s.ending, cancel)()
	s.options.Events.ServeHTTP(w, r.WithContext(ctx))
}
