package e2e

import (
	"encoding/json"
	"net"
	"net/http"
	"path"
	"strings"
	"sync"
	"testing"
	"time"
)

// storeToken is what hellogate has to show the store; no log may hold it.
const storeToken = "e2e-store-token-that-no-log-may-hold"

// answer is what a store does with one request.
type answer = http.HandlerFunc

// fakeStore is a certificate store that misbehaves as told, name by name. Left alone it has a certificate for every name.
type fakeStore struct {
	t       testing.TB
	address string
	mu      sync.Mutex
	server  *http.Server
	answers map[string]answer
	rest    answer
	issued  map[string]pair
	seen    []storeRequest
}

type storeRequest struct {
	Name   string
	Header http.Header
	URL    string
}

func newStore(t testing.TB) *fakeStore {
	t.Helper()
	s := &fakeStore{t: t, address: freeAddress(t), answers: map[string]answer{}, issued: map[string]pair{}}
	s.rest = s.serveIssued
	s.start()
	t.Cleanup(s.stop)
	return s
}

func (s *fakeStore) url() string { return "http://" + s.address + "/certs" }

// start listens, again after a stop, at the same address.
func (s *fakeStore) start() {
	s.t.Helper()
	listener, err := net.Listen("tcp", s.address)
	if err != nil {
		s.t.Fatal(err)
	}
	server := &http.Server{Handler: s, ErrorLog: discardLog}
	s.mu.Lock()
	s.server = server
	s.mu.Unlock()
	go server.Serve(listener)
}

// stop closes the listener and every connection.
func (s *fakeStore) stop() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.server.Close()
}

// on sets what is done with requests for a name, onAll what is done with those for every name that has nothing set.
func (s *fakeStore) on(name string, do answer) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.answers[name] = do
}

func (s *fakeStore) onAll(do answer) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.rest = do
}

// works takes back what was set for a name.
func (s *fakeStore) works(name string) { s.on(name, s.serveIssued) }

func (s *fakeStore) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	name := path.Base(r.URL.Path)
	if query := r.URL.Query(); query.Has("server_name") {
		name = query.Get("server_name")
	}
	s.mu.Lock()
	s.seen = append(s.seen, storeRequest{Name: name, Header: r.Header.Clone(), URL: r.URL.String()})
	do, set := s.answers[name]
	if !set {
		do = s.rest
	}
	s.mu.Unlock()
	do(w, r)
}

// requests are those for a name so far, allRequests those for any.
func (s *fakeStore) requests(name string) (found []storeRequest) {
	for _, request := range s.allRequests() {
		if request.Name == name {
			found = append(found, request)
		}
	}
	return found
}

func (s *fakeStore) allRequests() []storeRequest {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.seen[:len(s.seen):len(s.seen)]
}

// wantRequests checks how often a name was asked for.
func (s *fakeStore) wantRequests(t testing.TB, name string, want int) {
	t.Helper()
	if got := len(s.requests(name)); got != want {
		t.Errorf("the store was asked %d times for %q, want %d", got, name, want)
	}
}

// pairFor is the certificate the store has for a name, made when it is first asked for.
func (s *fakeStore) pairFor(name string) pair {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, made := s.issued[name]; !made {
		s.issued[name] = ca().issue([]string{name})
	}
	return s.issued[name]
}

// rotate gives a name a new certificate.
func (s *fakeStore) rotate(name string) pair {
	s.mu.Lock()
	delete(s.issued, name)
	s.mu.Unlock()
	return s.pairFor(name)
}

func (s *fakeStore) serveIssued(w http.ResponseWriter, r *http.Request) {
	name := path.Base(r.URL.Path)
	if query := r.URL.Query(); query.Has("server_name") {
		name = query.Get("server_name")
	}
	bundle(s.pairFor(name))(w, r)
}

// bundle answers with one pair, or with several.
func bundle(pairs ...pair) answer {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.Write(bundleJSON(pairs...))
	}
}

func bundleJSON(pairs ...pair) []byte {
	type text struct {
		Cert string `json:"cert"`
		Key  string `json:"key"`
	}
	var all []text
	for _, p := range pairs {
		all = append(all, text{p.certPEM(), p.keyPEM()})
	}
	if len(all) == 1 {
		return must(json.Marshal(all[0]))
	}
	return must(json.Marshal(map[string]any{"certificates": all}))
}

// status answers with a status and nothing else; pairs of header names and values may follow.
func status(code int, header ...string) answer {
	return func(w http.ResponseWriter, _ *http.Request) {
		for i := 0; i+1 < len(header); i += 2 {
			w.Header().Set(header[i], header[i+1])
		}
		w.WriteHeader(code)
	}
}

// body answers 200 with a text.
func body(contentType, text string) answer {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", contentType)
		w.Write([]byte(text))
	}
}

// hang answers nothing until the other side gives up.
func hang(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }

// after waits, then does as the other.
func after(wait time.Duration, do answer) answer {
	return func(w http.ResponseWriter, r *http.Request) {
		select {
		case <-time.After(wait):
			do(w, r)
		case <-r.Context().Done():
		}
	}
}

// drip sends a correct answer, a byte at a time, 50 ms apart.
func drip(p pair) answer {
	return func(w http.ResponseWriter, _ *http.Request) {
		for _, b := range bundleJSON(p) {
			if _, err := w.Write([]byte{b}); err != nil {
				return
			}
			w.(http.Flusher).Flush()
			time.Sleep(50 * time.Millisecond)
		}
	}
}

// cutOff announces the whole answer and closes after half of it.
func cutOff(p pair) answer {
	return func(w http.ResponseWriter, _ *http.Request) {
		whole := bundleJSON(p)
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Content-Length", itoa(len(whole)))
		w.Write(whole[:len(whole)/2])
		panic(http.ErrAbortHandler)
	}
}

// abort resets the connection in the middle of the answer.
func abort(w http.ResponseWriter, _ *http.Request) {
	conn, buffered, _ := w.(http.Hijacker).Hijack()
	buffered.WriteString("HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n{\"cert\":")
	buffered.Flush()
	conn.(*net.TCPConn).SetLinger(0)
	conn.Close()
}

// endless sends up to 10 GB of blanks and tells how many bytes were taken.
func endless(sent chan<- int64) answer {
	return func(w http.ResponseWriter, _ *http.Request) {
		blanks := []byte(strings.Repeat(" ", 1<<20))
		var total int64
		for total < 10<<30 {
			n, err := w.Write(blanks)
			total += int64(n)
			if err != nil {
				break
			}
		}
		sent <- total
	}
}
