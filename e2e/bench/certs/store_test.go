package certs

import (
	"crypto/x509"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"hellogate/store"
)

func TestStore(t *testing.T) {
	s, err := NewStore("secret")
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name, asked, token string
		status             int
	}{
		{"a kept name", "k1" + KeptNames, "secret", http.StatusOK},
		{"a new name", "c1" + NewNames, "secret", http.StatusOK},
		{"an unknown name", "u1" + UnknownNames, "secret", http.StatusNotFound},
		{"the wrong token", "k1" + KeptNames, "guess", http.StatusUnauthorized},
		{"no token", "k1" + KeptNames, "", http.StatusUnauthorized},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			answer := get(t, s, test.asked, test.token)
			if answer.Code != test.status {
				t.Fatalf("%d, want %d", answer.Code, test.status)
			}
			if test.status == http.StatusOK {
				checkBundle(t, test.asked, answer)
			}
		})
	}
}

// A kept name keeps its certificate, a new one is made anew.
func TestKeptAndNewNames(t *testing.T) {
	s, err := NewStore("secret")
	if err != nil {
		t.Fatal(err)
	}
	for name, kept := range map[string]bool{"k1" + KeptNames: true, "c1" + NewNames: false} {
		first, second := get(t, s, name, "secret").Body.String(), get(t, s, name, "secret").Body.String()
		if (first == second) != kept {
			t.Errorf("%s: kept: %v", name, !kept)
		}
	}
}

func get(t *testing.T, s *Store, name, token string) *httptest.ResponseRecorder {
	t.Helper()
	request := httptest.NewRequest(http.MethodGet, "/certs/"+name, nil)
	request.SetPathValue("name", name)
	request.Header.Set("Authorization", "Bearer "+token)
	answer := httptest.NewRecorder()
	s.answer(answer, request)
	return answer
}

// checkBundle reads the answer as hellogate does.
func checkBundle(t *testing.T, name string, answer *httptest.ResponseRecorder) {
	t.Helper()
	decoded, err := store.Decode(answer.Header().Get("Content-Type"), answer.Body.Bytes())
	if err != nil || len(decoded.Pairs) != 1 || len(decoded.Pairs[0].Chain) != 2 {
		t.Fatalf("%d pairs, %v", len(decoded.Pairs), err)
	}
	chain := decoded.Pairs[0].Chain
	leaf, err := x509.ParseCertificate(chain[0])
	if err != nil {
		t.Fatal(err)
	}
	intermediate, err := x509.ParseCertificate(chain[1])
	if err != nil {
		t.Fatal(err)
	}
	if err := leaf.CheckSignatureFrom(intermediate); err != nil {
		t.Error(err)
	}
	if err := leaf.VerifyHostname(name); err != nil {
		t.Error(err)
	}
}

func TestServe(t *testing.T) {
	s, err := NewStore("secret")
	if err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- s.Serve(listener) }()
	response, err := http.Get("http://" + listener.Addr().String() + "/certs/k1" + KeptNames)
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(response.Body)
	response.Body.Close()
	if err != nil || response.StatusCode != http.StatusUnauthorized || strings.Contains(string(body), "KEY") {
		t.Errorf("%s, %v", response.Status, err)
	}
	listener.Close()
	if err := <-served; err != nil {
		t.Error(err)
	}
}
