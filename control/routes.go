package control

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"hellogate/sni"
)

func (s *Server) mux() *http.ServeMux {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /status", s.getStatus)
	mux.HandleFunc("GET /version", s.getVersion)
	mux.HandleFunc("GET /certs", s.getCerts)
	mux.HandleFunc("GET /certs/{name}", s.getCert)
	mux.HandleFunc("PUT /certs/{name}", s.putCert)
	mux.HandleFunc("DELETE /certs/{name}", s.deleteCert)
	mux.HandleFunc("GET /metrics", s.getMetrics)
	mux.HandleFunc("GET /backends", s.getBackends)
	mux.HandleFunc("GET /explain/{name}", s.getExplain)
	mux.HandleFunc("POST /flush", s.postFlush)
	mux.HandleFunc("POST /flush/all", s.postFlushAll)
	mux.HandleFunc("POST /flush/{name}", s.postFlushName)
	mux.HandleFunc("POST /prefetch", s.postPrefetch)
	mux.HandleFunc("POST /shutdown", s.postShutdown)
	if s.options.Events != nil {
		mux.HandleFunc("GET /events", s.getEvents)
	}
	s.routeProfiles(mux)
	mux.HandleFunc(elsewhere, s.unknown)
	return mux
}

// elsewhere is the pattern that takes what no other does.
const elsewhere = "/"

// ServeHTTP answers one request.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.handlers.Add(1)
	defer s.handlers.Done()
	// ServeMux would redirect, in HTML.
	if escaped := r.URL.EscapedPath(); path.Clean(escaped) != escaped && escaped != profilesPath {
		refuse(w, http.StatusNotFound, fmt.Errorf("no such path: %s", quote(r.URL.Path)))
		return
	}
	s.routes.ServeHTTP(w, r)
}

// unknown answers what no route takes: a path that another method has, or none.
func (s *Server) unknown(w http.ResponseWriter, r *http.Request) {
	var allowed []string
	for _, method := range []string{http.MethodGet, http.MethodPost, http.MethodPut, http.MethodDelete} {
		other := *r
		other.Method = method
		if _, pattern := s.routes.Handler(&other); pattern != elsewhere {
			allowed = append(allowed, method)
		}
	}
	if len(allowed) == 0 {
		refuse(w, http.StatusNotFound, fmt.Errorf("no such path: %s", quote(r.URL.Path)))
		return
	}
	w.Header().Set("Allow", strings.Join(allowed, ", "))
	refuse(w, http.StatusMethodNotAllowed, fmt.Errorf("%s takes %s", quote(r.URL.Path), strings.Join(allowed, ", ")))
}

// Problem is what every refused request is answered with.
type Problem struct {
	Result string `json:"result"` // "error"
	Reason string `json:"reason"`
}

func refuse(w http.ResponseWriter, status int, err error) {
	answer(w, status, Problem{Result: "error", Reason: err.Error()})
}

func answer(w http.ResponseWriter, status int, value any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	encode(w, value)
}

// encode writes one line of JSON. Its error is the connection's, and there is nobody left to tell.
func encode(w io.Writer, value any) error {
	encoder := json.NewEncoder(w)
	encoder.SetEscapeHTML(false)
	return encoder.Encode(value)
}

// decode reads a JSON body that has nothing unknown in it and nothing behind it.
func decode(w http.ResponseWriter, r *http.Request, into any) (status int, err error) {
	decoder := json.NewDecoder(http.MaxBytesReader(w, r.Body, bodyBytes))
	decoder.DisallowUnknownFields()
	err = decoder.Decode(into)
	if err == nil {
		if _, err = decoder.Token(); err == io.EOF {
			return 0, nil
		}
		err = errors.New("more than one JSON value")
	}
	if tooLarge, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return http.StatusRequestEntityTooLarge, fmt.Errorf("body is larger than %d bytes", tooLarge.Limit)
	}
	return http.StatusBadRequest, fmt.Errorf("body: %w", err)
}

// parameters refuses query parameters that are not among the allowed.
func parameters(r *http.Request, allowed ...string) error {
	for key := range r.URL.Query() {
		if !slices.Contains(allowed, key) {
			return fmt.Errorf("unknown parameter %s", quote(key))
		}
	}
	return nil
}

// pathName is the name in the path, or an answer that refuses it.
func pathName(w http.ResponseWriter, r *http.Request) (name string, ok bool) {
	name, err := sni.Parse(r.PathValue("name"))
	if err != nil {
		refuse(w, http.StatusBadRequest, err)
		return "", false
	}
	return name, true
}

// patient takes the deadlines off a request whose answer may take long; deadline then bounds each write.
func patient(w http.ResponseWriter) *http.ResponseController {
	controller := http.NewResponseController(w)
	// net/http would cancel the request when its read deadline passes, though the body has been read.
	controller.SetReadDeadline(time.Time{})
	deadline(controller)
	return controller
}

func deadline(controller *http.ResponseController) {
	controller.SetWriteDeadline(time.Now().Add(writeTimeout))
}

// quote makes text from outside fit for a message.
func quote(text string) string {
	const limit = 100
	if len(text) > limit {
		text = text[:limit] + "..."
	}
	return strconv.QuoteToASCII(text)
}
