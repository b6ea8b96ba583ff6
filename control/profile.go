package control

import (
	"context"
	"errors"
	"net/http"
	// Its init adds its handlers to http.DefaultServeMux as well. Nothing serves that one, and nothing may: each
	// http.Server here has a Handler of its own, and so they are on the control socket alone.
	"net/http/pprof"
	"strconv"
)

// profilesPath is what net/http/pprof expects its handlers below.
const profilesPath = "/debug/pprof/"

func (s *Server) routeProfiles(mux *http.ServeMux) {
	if !s.options.Profiles {
		mux.HandleFunc("/debug/pprof", profilesOff)
		mux.HandleFunc(profilesPath, profilesOff)
		return
	}
	mux.HandleFunc("GET /debug/pprof", s.profile(pprof.Index))
	mux.HandleFunc("GET /debug/pprof/", s.profile(pprof.Index)) // and every profile by its name
	mux.HandleFunc("GET /debug/pprof/cmdline", s.profile(pprof.Cmdline))
	mux.HandleFunc("GET /debug/pprof/profile", s.profile(pprof.Profile))
	mux.HandleFunc("GET /debug/pprof/symbol", s.profile(pprof.Symbol))
	mux.HandleFunc("POST /debug/pprof/symbol", s.profile(pprof.Symbol))
	mux.HandleFunc("GET /debug/pprof/trace", s.profile(pprof.Trace))
}

func profilesOff(w http.ResponseWriter, _ *http.Request) {
	refuse(w, http.StatusNotFound, errors.New("profiles are off: hellogate run --pprof serves them"))
}

// profile runs a handler of net/http/pprof, which takes as long as it was asked to. It is cut short, with a profile of
// the time until then, when the server ends: a drain waits for nobody's profile.
func (s *Server) profile(handle http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		// From 2 on stacks are printed as in a panic, with the words that functions were called with: parts of keys
		// could be among them.
		if debug, _ := strconv.Atoi(r.URL.Query().Get("debug")); debug > 1 {
			refuse(w, http.StatusBadRequest, errors.New("debug: 0 or 1; stacks with arguments are not shown"))
			return
		}
		patient(w)
		r.Body = http.MaxBytesReader(w, r.Body, bodyBytes)
		ctx, cancel := context.WithCancel(r.Context())
		defer cancel()
		defer context.AfterFunc(s.ending, cancel)()
		handle(w, r.WithContext(ctx))
	}
}
