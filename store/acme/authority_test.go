package acme

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// numberOf makes the URL of each authority another: acmez remembers directories by URL.
var numberOf atomic.Int64

// fakeCA is a certificate authority that is asked without a network, so that time can be told to it. It looks at no
// signature: what is tested is what we do with its answers, and end-to-end tests have a real one.
type fakeCA struct {
	host string
	key  *ecdsa.PrivateKey
	root *x509.Certificate
	life time.Duration // of a certificate

	mu       sync.Mutex
	down     bool // no connection can be made
	orders   int
	requests map[string]int // by path
	replaces []string
	accounts map[string]bool // by location
	contacts []string
	// fault answers in the place of the authority if it returns true. It is called without mu.
	fault func(ca *fakeCA, path string, w http.ResponseWriter) bool
	// leafFor is the key that a certificate is for; nil: that of the request.
	leafFor func(any) any
	ari     func(now time.Time) (start, end time.Time)
	certs   map[string][]byte
	names   map[string]string // of orders
	agents  map[string]bool   // User-Agent
	dropped []string          // authorizations that were deactivated
}

func newFakeCA(t *testing.T) *fakeCA {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	ca := &fakeCA{
		host: fmt.Sprintf("ca%d.test", numberOf.Add(1)), key: key, life: 90 * 24 * time.Hour,
		requests: make(map[string]int), accounts: make(map[string]bool), certs: make(map[string][]byte),
		names: make(map[string]string), agents: make(map[string]bool),
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "fake"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(10 * 365 * 24 * time.Hour), SubjectKeyId: []byte{1, 2, 3},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	ca.root, _ = x509.ParseCertificate(der)
	return ca
}

func (ca *fakeCA) url(path string) string { return "https://" + ca.host + path }

// fakeNetwork is all authorities.
type fakeNetwork []*fakeCA

var errRefused = errors.New("connect: connection refused")

func (n fakeNetwork) RoundTrip(request *http.Request) (*http.Response, error) {
	for _, ca := range n {
		if ca.host == request.URL.Host {
			return ca.answer(request)
		}
	}
	return nil, fmt.Errorf("lookup %s: no such host", request.URL.Host)
}

func (ca *fakeCA) answer(request *http.Request) (*http.Response, error) {
	ca.mu.Lock()
	down, fault := ca.down, ca.fault
	ca.requests[request.URL.Path]++
	ca.mu.Unlock()
	if down {
		return nil, errRefused
	}
	w := httptest.NewRecorder()
	w.Header().Set("Replay-Nonce", hex.EncodeToString(binary(8)))
	w.Header().Set("Link", `<`+ca.url("/loop")+`>;rel="up"`)
	if fault == nil || !fault(ca, request.URL.Path, w) {
		ca.serve(w, request)
	}
	if err := request.Context().Err(); err != nil {
		return nil, err
	}
	response := w.Result()
	response.Request = request
	return response, nil
}

func binary(n int) []byte {
	made := make([]byte, n)
	rand.Read(made)
	return made
}

func reply(w http.ResponseWriter, status int, value any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	json.NewEncoder(w).Encode(value)
}

// refuse answers with a problem document.
func refuse(w http.ResponseWriter, status int, kind, detail string) {
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(status)
	fmt.Fprintf(w, `{"type":"urn:ietf:params:acme:error:%s","detail":%q,"status":%d}`, kind, detail, status)
}

// payload is what is in a request, and the account that signed it.
func payload(request *http.Request, into any) (account string) {
	var signed struct{ Protected, Payload string }
	json.NewDecoder(request.Body).Decode(&signed)
	protected, _ := base64.RawURLEncoding.DecodeString(signed.Protected)
	var header struct{ Kid string }
	json.Unmarshal(protected, &header)
	content, _ := base64.RawURLEncoding.DecodeString(signed.Payload)
	json.Unmarshal(content, into)
	return header.Kid
}

func (ca *fakeCA) serve(w http.ResponseWriter, request *http.Request) {
	ca.mu.Lock()
	defer ca.mu.Unlock()
	kind, id, _ := strings.Cut(strings.TrimPrefix(request.URL.Path, "/"), "/")
	ca.agents[request.UserAgent()] = true
	switch kind {
	case "dir":
		directory := map[string]any{
			"newNonce": ca.url("/nonce"), "newAccount": ca.url("/account"), "newOrder": ca.url("/order"), "revokeCert": ca.url("/revoke"),
		}
		if ca.ari != nil {
			directory["renewalInfo"] = ca.url("/ari")
		}
		reply(w, 200, directory)
	case "nonce":
		w.WriteHeader(200)
	case "account":
		ca.serveAccount(w, request, id)
	case "order":
		ca.serveOrder(w, request)
	case "authz":
		var wanted struct{ Status string }
		if payload(request, &wanted); wanted.Status == "deactivated" {
			ca.dropped = append(ca.dropped, id)
		}
		reply(w, 200, ca.authorization(id))
	case "challenge":
		ca.names[id+"/valid"] = "yes"
		reply(w, 200, map[string]any{"type": "tls-alpn-01", "url": ca.url("/challenge/" + id), "status": "processing", "token": "t" + id})
	case "finalize":
		ca.finalize(w, request, id)
	case "cert":
		w.Header().Set("Content-Type", "application/pem-certificate-chain")
		w.Write(ca.certs[id])
	case "ari":
		start, end := ca.ari(time.Now())
		w.Header().Set("Retry-After", "3600")
		reply(w, 200, map[string]any{"suggestedWindow": map[string]any{"start": start, "end": end}, "explanationURL": "https://why.test/"})
	case "revoke":
		w.WriteHeader(200)
	default:
		w.WriteHeader(404)
	}
}

func (ca *fakeCA) serveAccount(w http.ResponseWriter, request *http.Request, id string) {
	var wanted struct{ Contact []string }
	payload(request, &wanted)
	if id == "" {
		id = fmt.Sprint(len(ca.accounts) + 1)
	}
	location := ca.url("/account/" + id)
	ca.accounts[location] = true
	ca.contacts = wanted.Contact
	w.Header().Set("Location", location)
	reply(w, 201, map[string]any{"status": "valid", "contact": wanted.Contact})
}

func (ca *fakeCA) serveOrder(w http.ResponseWriter, request *http.Request) {
	var wanted struct {
		Identifiers []struct{ Value string }
		Replaces    string
	}
	if account := payload(request, &wanted); !ca.accounts[account] {
		refuse(w, 400, "accountDoesNotExist", "no such account")
		return
	}
	ca.orders++
	ca.replaces = append(ca.replaces, wanted.Replaces)
	id := fmt.Sprint(ca.orders)
	ca.names[id] = wanted.Identifiers[0].Value
	w.Header().Set("Location", ca.url("/placed/"+id))
	reply(w, 201, map[string]any{
		"status": "pending", "identifiers": []any{map[string]string{"type": "dns", "value": ca.names[id]}},
		"authorizations": []string{ca.url("/authz/" + id)}, "finalize": ca.url("/finalize/" + id),
	})
}

func (ca *fakeCA) authorization(id string) any {
	status := "pending"
	if ca.names[id+"/valid"] != "" {
		status = "valid"
	}
	if below, wildcard := strings.CutPrefix(ca.names[id], "*."); wildcard {
		return map[string]any{
			"identifier": map[string]string{"type": "dns", "value": below}, "wildcard": true, "status": status,
			"challenges": []any{
				map[string]any{"type": "dns-01", "url": ca.url("/challenge/" + id), "status": status, "token": "t" + id},
			},
		}
	}
	return map[string]any{
		"identifier": map[string]string{"type": "dns", "value": ca.names[id]}, "status": status,
		"challenges": []any{
			map[string]any{"type": "http-01", "url": ca.url("/challenge/" + id), "status": status, "token": "t" + id},
			map[string]any{"type": "tls-alpn-01", "url": ca.url("/challenge/" + id), "status": status, "token": "t" + id},
		},
	}
}

func (ca *fakeCA) finalize(w http.ResponseWriter, request *http.Request, id string) {
	var body struct{ CSR string }
	payload(request, &body)
	der, _ := base64.RawURLEncoding.DecodeString(body.CSR)
	csr, err := x509.ParseCertificateRequest(der)
	if err != nil {
		refuse(w, 400, "badCSR", err.Error())
		return
	}
	public := csr.PublicKey
	if ca.leafFor != nil {
		public = ca.leafFor(public)
	}
	leaf := &x509.Certificate{
		SerialNumber: new(big.Int).SetBytes(binary(12)), DNSNames: csr.DNSNames,
		NotBefore: time.Now().Truncate(time.Second), NotAfter: time.Now().Truncate(time.Second).Add(ca.life), AuthorityKeyId: ca.root.SubjectKeyId,
	}
	made, err := x509.CreateCertificate(rand.Reader, leaf, ca.root, public, ca.key)
	if err != nil {
		refuse(w, 500, "serverInternal", err.Error())
		return
	}
	ca.certs[id] = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: made})
	ca.certs[id] = append(ca.certs[id], pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: ca.root.Raw})...)
	reply(w, 200, map[string]any{"status": "valid", "certificate": ca.url("/cert/" + id), "identifiers": []any{}})
}

func (ca *fakeCA) placed() int {
	ca.mu.Lock()
	defer ca.mu.Unlock()
	return ca.orders
}

func (ca *fakeCA) set(do func()) {
	ca.mu.Lock()
	defer ca.mu.Unlock()
	do()
}

func (ca *fakeCA) asked(path string) (count int) {
	ca.set(func() { count = ca.requests[path] })
	return count
}

func (ca *fakeCA) order(id string) (name string) {
	ca.set(func() { name = ca.names[id] })
	return name
}

func (ca *fakeCA) contact() (text string) {
	ca.set(func() { text = strings.Join(ca.contacts, " ") })
	return text
}
