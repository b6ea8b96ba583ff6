package control

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"hellogate/sni"
)

// everything has all requests.
func (s *Server) everything() *http.ServeMux {
	mux := http.NewServeMux()
	s.routeReads(mux)
	mux.HandleFunc("GET /explain/{name}", s.getExplain(true))
	s.routeChanges(mux)
	s.routeProfiles(mux)
	mux.HandleFunc(elsewhere, unknown(mux))
	return mux
}

// reads has the requests that only look.
func (s *Server) reads() *http.ServeMux {
	mux := http.NewServeMux()
	s.routeReads(mux)
	mux.HandleFunc("GET /explain/{name}", s.getExplain(false))
	mux.HandleFunc(elsewhere, readOnly(unknown(mux)))
	return mux
}

// monitoring has the requests that machines look with.
func (s *Server) monitoring() *http.ServeMux {
	mux := http.NewServeMux()
	s.routeMonitoring(mux)
	mux.HandleFunc(elsewhere, readOnly(unknown(mux)))
	return mux
}

func (s *Server) routeMonitoring(mux *http.ServeMux) {
	mux.HandleFunc("GET /status", s.getStatus)
	mux.HandleFunc("GET /metrics", s.getMetrics)
	mux.HandleFunc("GET /healthz", getHealth)
	mux.HandleFunc("GET /readyz", s.getReadiness)
}

func (s *Server) routeReads(mux *http.ServeMux) {
	s.routeMonitoring(mux)
	mux.HandleFunc("GET /version", s.getVersion)
	mux.HandleFunc("GET /certs", s.getCerts)
	mux.HandleFunc("GET /certs/{name}", s.getCert)
	mux.HandleFunc("GET /backends", s.getBackends)
	mux.HandleFunc("GET /connections", s.getConnections)
	s.routeACME(mux)
	if s.options.Events != nil {
		mux.HandleFunc("GET /events", s.getEvents)
	}
}

func (s *Server) routeChanges(mux *http.ServeMux) {
	mux.HandleFunc("PUT /certs/{name}", s.unlessBusy(s.putCert))
	mux.HandleFunc("DELETE /certs/{name}", s.unlessBusy(s.deleteCert))
	mux.HandleFunc("POST /flush", s.unlessBusy(s.postFlush))
	mux.HandleFunc("POST /flush/all", s.unlessBusy(s.postFlushAll))
	mux.HandleFunc("POST /flush/{name}", s.unlessBusy(s.postFlushName))
	mux.HandleFunc("POST /prefetch", s.postPrefetch)
	for change, handle := range serverChanges {
		mux.HandleFunc("POST /backends/{backend}/{server}/"+change, s.unlessBusy(s.postServer(change, handle)))
	}
	mux.HandleFunc("POST /connections/kill", s.postKill)
	s.routeACMEChanges(mux)
	mux.HandleFunc("POST /shutdown", s.postShutdown)
	if s.options.Reload != nil {
		mux.HandleFunc("POST /reload", s.unlessBusy(s.postReload))
	}
	if s.options.Upgrade != nil {
		mux.HandleFunc("POST /upgrade", s.postUpgrade)
	}
}

// unlessBusy refuses a request that changes something while nothing may be.
func (s *Server) unlessBusy(handle http.HandlerFunc) http.HandlerFunc {
	if s.options.Change == nil {
		return handle
	}
	return func(w http.ResponseWriter, r *http.Request) {
		end, err := s.options.Change()
		if err != nil {
			refuse(w, http.StatusServiceUnavailable, err)
			return
		}
		defer end()
		handle(w, r)
	}
}

// elsewhere is the pattern that takes what no other does.
const elsewhere = "/"

// unknown answers what no route takes: a path that another method has, or none.
func unknown(mux *http.ServeMux) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		var allowed []string
		for _, method := range []string{http.MethodGet, http.MethodPost, http.MethodPut, http.MethodDelete} {
			other := *r
			other.Method = method
			if _, pattern := mux.Handler(&other); pattern != elsewhere {
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
}

// readOnly refuses all that may be meant to change something, whatever its path.
func readOnly(otherwise http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodGet || r.Method == http.MethodHead {
			otherwise(w, r)
			return
		}
		w.Header().Set("Allow", "GET, HEAD")
		refuse(w, http.StatusMethodNotAllowed, errors.New("read-only: what changes something goes to the control socket"))
	}
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

// ascii is text from outside as it is written to the log: of bounded length, and with nothing that a terminal would obey.
func ascii(text string) string {
	quoted := quote(text)
	return quoted[1 : len(quoted)-1]
}
