package store_test

import (
	"encoding/json"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"

	"hellogate/store"
	"hellogate/store/certtest"
)

// peterSSLers stands in for a peter_sslers server, with its admin prefix at /.well-known/admin.
type peterSSLers struct {
	domains  map[string]any
	password string           // of "admin"; empty: it asks for none
	autocert func(string) any // what it answers to an order
	wait     <-chan struct{}  // for as long as an order takes; nil: no time
	ordering chan<- string    // told of each order as it begins; nil: nobody is

	mu     sync.Mutex
	asked  []string // "GET a.example", "POST a.example"
	primed []string // names that were written to Redis
}

func (p *peterSSLers) start(t *testing.T) (prefix string) {
	t.Helper()
	mux := http.NewServeMux()
	mux.HandleFunc("GET /.well-known/admin/domain/{name}/config.json", p.config)
	mux.HandleFunc("POST /.well-known/admin/api/domain/autocert.json", p.order)
	return serve(t, func(w http.ResponseWriter, r *http.Request) {
		username, password, _ := r.BasicAuth()
		if p.password != "" && (username != "admin" || password != p.password) {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		mux.ServeHTTP(w, r)
	}) + "/.well-known/admin"
}

func (p *peterSSLers) note(r *http.Request, name string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.asked = append(p.asked, r.Method+" "+name)
	if r.URL.Query().Get("openresty") == "1" {
		p.primed = append(p.primed, name)
	}
}

func (p *peterSSLers) log() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return strings.Join(p.asked, ", ")
}

func (p *peterSSLers) config(w http.ResponseWriter, r *http.Request) {
	name := r.PathValue("name")
	p.note(r, name)
	answer, found := p.domains[name]
	if !found {
		respond(w, http.StatusNotFound, map[string]string{"message": "the domain was not found"})
		return
	}
	respond(w, http.StatusOK, answer)
}

func (p *peterSSLers) order(w http.ResponseWriter, r *http.Request) {
	name := r.PostFormValue("domain_name")
	p.note(r, name)
	if p.ordering != nil {
		p.ordering <- name
	}
	if p.wait != nil {
		select {
		case <-p.wait:
		case <-r.Context().Done():
			return
		}
	}
	respond(w, http.StatusOK, p.autocert(name))
}

func respond(w http.ResponseWriter, status int, answer any) {
	w.Header().Set("Content-Type", "application/json")
	if text, ok := answer.(string); ok {
		w.WriteHeader(status)
		_, _ = w.Write([]byte(text))
		return
	}
	body, err := json.Marshal(answer)
	if err != nil {
		panic(err)
	}
	w.WriteHeader(status)
	_, _ = w.Write(body)
}

// domainConfig is what a server of a generation says of a domain with these certificates; nil is none.
func domainConfig(generation string, multi, single *certtest.Issued) map[string]any {
	return map[string]any{
		"Domain":                       map[string]string{"id": "1", "domain_name": name},
		generation + "__latest_multi":  certificateJSON(multi),
		generation + "__latest_single": certificateJSON(single),
	}
}

func certificateJSON(issued *certtest.Issued) any {
	if issued == nil {
		return nil
	}
	chain := string(issued.Chain)
	end := strings.Index(chain, "-----END CERTIFICATE-----\n") + len("-----END CERTIFICATE-----\n")
	return map[string]any{
		"id":          "9",
		"private_key": map[string]string{"id": "3", "pem": string(issued.Key)},
		"certificate": map[string]string{"id": "9", "pem": chain[:end]},
		"chain":       map[string]string{"id": "2", "pem": chain[end:]},
		"fullchain":   map[string]string{"id": "9,2", "pem": chain},
	}
}

// with adds members to an answer.
func with(answer map[string]any, members map[string]any) map[string]any {
	answer = maps.Clone(answer)
	maps.Copy(answer, members)
	return answer
}

var generations = []string{"x509_certificate", "certificate_signed", "server_certificate"}

// leafOf is the pair of issued that a bundle holds, by its place among them; -1 for none of them.
func leafOf(bundle *store.Bundle, issued ...certtest.Issued) int {
	if len(bundle.Pairs) != 1 {
		return -1
	}
	return slices.IndexFunc(issued, func(i certtest.Issued) bool {
		return slices.Equal(i.Leaf.Raw, bundle.Pairs[0].Chain[0]) && len(bundle.Pairs[0].Chain) == len(i.Pair.Chain)
	})
}
