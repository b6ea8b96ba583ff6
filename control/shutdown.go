package control

import (
	"net/http"
	"runtime"
)

// Version says which hellogate this is.
type Version struct {
	Version string `json:"version"`
	Go      string `json:"go"`
}

// Success is the answer to a command that has nothing else to say.
type Success struct {
	Result string `json:"result"` // "success"
}

func (s *Server) getVersion(w http.ResponseWriter, _ *http.Request) {
	answer(w, http.StatusOK, Version{Version: s.options.Version, Go: runtime.Version()})
}

func (s *Server) getBackends(w http.ResponseWriter, _ *http.Request) {
	answer(w, http.StatusOK, map[string][]Backend{"backends": s.backends()})
}

// postShutdown answers before it begins: what it begins ends this server too.
func (s *Server) postShutdown(w http.ResponseWriter, r *http.Request) {
	by(r, s.options.Log.Info()).Msg("control: shutdown")
	answer(w, http.StatusOK, Success{Result: "success"})
	http.NewResponseController(w).Flush()
	s.options.Shutdown()
}
