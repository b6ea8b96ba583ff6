package store_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"hellogate/store"
	"hellogate/store/certtest"
)

const token = "marker-of-the-token"

func TestHTTPAsks(t *testing.T) {
	var got *http.Request
	url := serve(t, func(w http.ResponseWriter, r *http.Request) { got = r; w.WriteHeader(http.StatusNotFound) })
	passwordFile := filepath.Join(t.TempDir(), "password")
	write(t, passwordFile, "open sesame\r\n")
	plain := store.Request{Name: name}
	full := store.Request{
		Name:             name,
		SignatureSchemes: []tls.SignatureScheme{tls.ECDSAWithP256AndSHA256, tls.PSSWithSHA256},
		CipherSuites:     []uint16{0x1301, 0xc02b, 0x0a},
		LocalAddr:        netip.MustParseAddr("::ffff:192.0.2.1"),
		Validator:        store.Validator{ETag: `"v1"`, LastModified: "Sun, 22 Nov 2026 12:00:30 GMT"},
	}
	for _, test := range []struct {
		name    string
		options store.HTTPOptions
		request store.Request
		uri     string
		headers map[string]string
	}{
		{"path", store.HTTPOptions{URL: url + "/certs"}, plain, "/certs/a.example", map[string]string{"Authorization": ""}},
		{"trailing slash", store.HTTPOptions{URL: url + "/certs/"}, plain, "/certs/a.example", nil},
		{"no path", store.HTTPOptions{URL: url}, plain, "/a.example", nil},
		{"escaped path and query", store.HTTPOptions{URL: url + "/c%2Fd?key=1&x=%20"}, plain, "/c%2Fd/a.example?key=1&x=%20", nil},
		{
			"token",
			store.HTTPOptions{URL: url, Token: token},
			plain, "/a.example",
			map[string]string{"Authorization": "Bearer " + token, "Accept-Encoding": "identity"},
		},
		{
			"conditional",
			store.HTTPOptions{URL: url},
			full, "/a.example",
			map[string]string{"If-None-Match": `"v1"`, "If-Modified-Since": ""},
		},
		{
			"caddy",
			store.HTTPOptions{URL: url + "/get?z=1&server_name=x", Form: store.FormCaddy},
			full,
			"/get?cipher_suites=1301%2Cc02b%2Ca&local_ip=192.0.2.1&server_name=a.example&signature_schemes=403%2C804&z=1", nil,
		},
		{
			"caddy, for a client without ECDSA",
			store.HTTPOptions{URL: url + "/get", Form: store.FormCaddy},
			store.Request{
				Name: name, WithoutECDSA: true,
				SignatureSchemes: []tls.SignatureScheme{tls.PSSWithSHA256, tls.ECDSAWithSHA1},
				CipherSuites:     []uint16{0xc02b},
			},
			"/get?cipher_suites=c02b&server_name=a.example&signature_schemes=804%2C203", nil,
		},
		{
			"caddy, no client",
			store.HTTPOptions{URL: url + "/get", Form: store.FormCaddy},
			plain,
			"/get?cipher_suites=1301%2C1302%2C1303%2Cc02b%2Cc02c%2Ccca9%2Cc02f%2Cc030%2Ccca8&server_name=a.example" +
				"&signature_schemes=403%2C503%2C603%2C807%2C804%2C805%2C806%2C401%2C501%2C601", nil,
		},
		{
			"caddy, no client, without ECDSA",
			store.HTTPOptions{URL: url + "/get", Form: store.FormCaddy},
			store.Request{Name: name, WithoutECDSA: true},
			"/get?cipher_suites=1301%2C1302%2C1303%2Cc02f%2Cc030%2Ccca8&server_name=a.example" +
				"&signature_schemes=804%2C805%2C806%2C401%2C501%2C601", nil,
		},
		{
			"peter_sslers",
			store.HTTPOptions{URL: url + "/.well-known/admin", Form: store.FormPeterSSLers},
			full, "/.well-known/admin/domain/a.example/config.json?openresty=1",
			map[string]string{"If-None-Match": `"v1"`, "Authorization": ""},
		},
		{
			"peter_sslers with a query and a trailing slash",
			store.HTTPOptions{URL: url + "/admin/?z=1&openresty=0", Form: store.FormPeterSSLers},
			plain, "/admin/domain/a.example/config.json?openresty=1&z=1", nil,
		},
		{
			"validator of this store",
			store.HTTPOptions{URL: url, Name: "here"},
			from(full, "here"), "/a.example",
			map[string]string{"If-None-Match": `"v1"`},
		},
		{
			"validator of another store",
			store.HTTPOptions{URL: url, Name: "here"},
			from(full, "elsewhere"), "/a.example",
			map[string]string{"If-None-Match": ""},
		},
		{
			"password",
			store.HTTPOptions{URL: url, Username: "Aladdin", PasswordFile: passwordFile},
			plain, "/a.example",
			map[string]string{"Authorization": "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="},
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, err := newHTTP(t, test.options).Fetch(t.Context(), test.request)
			if !errors.Is(err, store.ErrUnknown) {
				t.Fatal(err)
			}
			if got.Method != http.MethodGet || got.RequestURI != test.uri {
				t.Errorf("%s %s, want GET %s", got.Method, got.RequestURI, test.uri)
			}
			for header, want := range test.headers {
				if value := got.Header.Get(header); value != want {
					t.Errorf("%s: %q, want %q", header, value, want)
				}
			}
		})
	}
}

func from(request store.Request, name string) store.Request {
	request.From = name
	return request
}

func TestHTTPRefusesWhatIsNoName(t *testing.T) {
	var asked atomic.Int32
	asks := newHTTP(t, store.HTTPOptions{URL: serve(t, func(http.ResponseWriter, *http.Request) { asked.Add(1) }) + "/certs"})
	for _, bad := range []string{"", "..", "../flush", "A.example", "a.example.", "a/b", "a?b", "a#b", "a%2fb", "a@b:80", "a\r\nb", "10.0.0.1"} {
		_, err := asks.Fetch(t.Context(), store.Request{Name: bad})
		if err == nil || errors.Is(err, store.ErrUnknown) {
			t.Errorf("%q: %v", bad, err)
		}
	}
	if asked.Load() != 0 {
		t.Errorf("the store was asked %d times", asked.Load())
	}
}

func TestHTTPAnswers(t *testing.T) {
	issued := certtest.NewCA(t).Issue(t, name)
	held := store.Validator{ETag: `"old"`}
	for _, test := range []struct {
		name, contentType, path string
		status                  int
		body                    []byte
		want                    store.Bundle
	}{
		{
			"json", "application/json", "", 200, issued.JSON(),
			store.Bundle{Pairs: make([]store.Pair, 1), Validator: store.Validator{ETag: `"new"`}},
		},
		{
			"pem", "application/x-pem-file", "", 200, issued.Bundle(),
			store.Bundle{Pairs: make([]store.Pair, 1), Validator: store.Validator{ETag: `"new"`}},
		},
		{"not modified", "", "", 304, nil, store.Bundle{NotModified: true, Validator: store.Validator{ETag: `"new"`}}},
	} {
		t.Run(test.name, func(t *testing.T) {
			url := serve(t, func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Type", test.contentType)
				w.Header().Set("ETag", `"new"`)
				w.Header().Set("Cache-Control", "max-age=60")
				w.Header().Set("Age", "10")
				w.WriteHeader(test.status)
				_, _ = w.Write(test.body)
			})
			bundle, err := newHTTP(t, store.HTTPOptions{URL: url, Name: "one"}).Fetch(t.Context(), store.Request{Name: name, Validator: held})
			if err != nil {
				t.Fatal(err)
			}
			if len(bundle.Pairs) != len(test.want.Pairs) || bundle.NotModified != test.want.NotModified ||
				bundle.Validator != test.want.Validator || bundle.Store != "one" {
				t.Errorf("got %+v, want %+v", bundle, test.want)
			}
			if want := (store.Freshness{MaxAge: 50 * time.Second, Known: true}); bundle.Freshness != want {
				t.Errorf("freshness %+v, want %+v", bundle.Freshness, want)
			}
			for _, pair := range bundle.Pairs {
				if _, err := store.Check(pair, name, time.Now()); err != nil {
					t.Error(err)
				}
			}
		})
	}
	t.Run("not modified, no validator", func(t *testing.T) {
		url := serve(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNotModified) })
		bundle, err := newHTTP(t, store.HTTPOptions{URL: url}).Fetch(t.Context(), store.Request{Name: name, Validator: held})
		if err != nil || bundle.Validator != held {
			t.Errorf("the validator that was sent should go on: %+v, %v", bundle, err)
		}
	})
}

// TestHTTPNotModifiedNeedsATag: a date is not good enough to go on with a certificate that may have been replaced.
func TestHTTPNotModifiedNeedsATag(t *testing.T) {
	url := serve(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNotModified) })
	held := store.Validator{LastModified: "Sun, 22 Nov 2026 12:00:30 GMT"}
	bundle, err := newHTTP(t, store.HTTPOptions{URL: url}).Fetch(t.Context(), store.Request{Name: name, Validator: held})
	if err == nil {
		t.Fatalf("accepted: %+v", bundle)
	}
	failureOf(t, err)
}

func TestHTTPStatuses(t *testing.T) {
	for _, test := range []struct {
		name       string
		status     int
		header     [2]string
		text       string
		retryAfter time.Duration
		exempt     bool
		is         error
	}{
		{name: "204", status: 204, text: "204 No Content: unknown name", is: store.ErrUnknown},
		{name: "404", status: 404, text: "404 Not Found: unknown name", is: store.ErrUnknown},
		{name: "410", status: 410, text: "410 Gone: unknown name", is: store.ErrUnknown},
		{name: "401", status: 401, text: "401 Unauthorized: the store refused our token or password", is: store.ErrToken},
		{name: "403", status: 403, text: "403 Forbidden: the store refused our token or password", is: store.ErrToken},
		{name: "429", status: 429, text: "429 Too Many Requests", exempt: true},
		{
			name: "429 and when", status: 429, header: [2]string{"Retry-After", "7"}, exempt: true,
			text: "429 Too Many Requests, retry after 7s", retryAfter: 7 * time.Second,
		},
		{name: "503", status: 503, text: "503 Service Unavailable"},
		{
			name: "503 and when", status: 503, header: [2]string{"Retry-After", "3600"},
			text: "503 Service Unavailable, retry after 1m0s", retryAfter: time.Minute,
		},
		{name: "500 asks for nothing", status: 500, header: [2]string{"Retry-After", "7"}, text: "500 Internal Server Error"},
		{name: "206", status: 206, text: "206 Partial Content"},
		{name: "201", status: 201, text: "201 Created"},
		{name: "304 unasked", status: 304, text: "304 Not Modified to an unconditional request"},
		{name: "418", status: 418, text: "418 I'm a teapot"},
		{name: "999", status: 999, text: "999"},
	} {
		t.Run(test.name, func(t *testing.T) {
			url := serve(t, func(w http.ResponseWriter, _ *http.Request) {
				if test.header[0] != "" {
					w.Header().Set(test.header[0], test.header[1])
				}
				w.WriteHeader(test.status)
			})
			_, err := newHTTP(t, store.HTTPOptions{URL: url, Token: token}).Fetch(t.Context(), store.Request{Name: name})
			if want := "store " + url + `: get "a.example": ` + test.text; err == nil || err.Error() != want {
				t.Errorf("error %v, want %s", err, want)
			}
			if test.is != nil && !errors.Is(err, test.is) {
				t.Errorf("error %v is not %v", err, test.is)
			}
			if test.is == store.ErrUnknown {
				return
			}
			failure := failureOf(t, err)
			if failure.RetryAfter != test.retryAfter || failure.Exempt != test.exempt || failure.Unreachable || failure.CutOff {
				t.Errorf("failure %+v", failure)
			}
		})
	}
}

// TestHTTPRedirect: net/http's own client hands the token to another port of the same host.
func TestHTTPRedirect(t *testing.T) {
	var stolen atomic.Int32
	thief := serve(t, func(http.ResponseWriter, *http.Request) { stolen.Add(1) })
	host := strings.TrimPrefix(thief, "http://")
	for _, status := range []int{300, 301, 302, 303, 307, 308} {
		for _, location := range []string{thief + "/secret?secret", "//user:secret@" + host + "/x", "/same", "file:///etc/passwd", "%zz"} {
			url := serve(t, func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Location", location)
				w.WriteHeader(status)
			})
			_, err := newHTTP(t, store.HTTPOptions{URL: url, Token: token}).Fetch(t.Context(), store.Request{Name: name})
			failureOf(t, err)
			if !strings.Contains(err.Error(), "redirects are not followed") || strings.Contains(err.Error(), "secret") {
				t.Errorf("%d to %s: %v", status, location, err)
			}
			if strings.Contains(location, host) && !strings.Contains(err.Error(), host) {
				t.Errorf("%d to %s: %v does not say where to", status, location, err)
			}
		}
	}
	if stolen.Load() != 0 {
		t.Errorf("%d redirects were followed", stolen.Load())
	}
}

func TestHTTPTokenFile(t *testing.T) {
	var got atomic.Value
	url := serve(t, func(w http.ResponseWriter, r *http.Request) {
		got.Store(r.Header.Get("Authorization"))
		w.WriteHeader(http.StatusNotFound)
	})
	path := filepath.Join(t.TempDir(), "token")
	write(t, path, "first \r\n")
	asks := newHTTP(t, store.HTTPOptions{URL: url, TokenFile: path})
	for _, step := range []struct{ name, content, want string }{
		{"first", "", "Bearer first"},
		{"changed", "second one's-longer\n", ""},
		{"changed well", "second", "Bearer second"},
		{"emptied", "\n", ""},
		{"back", "third", "Bearer third"},
	} {
		t.Run(step.name, func(t *testing.T) {
			if step.content != "" {
				write(t, path, step.content)
			}
			got.Store("")
			_, err := asks.Fetch(t.Context(), store.Request{Name: name})
			if got.Load() != step.want {
				t.Errorf("sent %q, want %q", got.Load(), step.want)
			}
			if step.want == "" && (!failureOf(t, err).Exempt || !strings.Contains(err.Error(), path) || strings.Contains(err.Error(), "one's")) {
				t.Errorf("error %v", err)
			}
		})
	}
}

func TestNewHTTPRefuses(t *testing.T) {
	folder := t.TempDir()
	empty, missing := filepath.Join(folder, "empty"), filepath.Join(folder, "missing")
	write(t, empty, " \n")
	blank, binary := filepath.Join(folder, "blank"), filepath.Join(folder, "binary")
	write(t, blank, "\r\n")
	write(t, binary, "secret\x00secret")
	const url = "https://store.example/certs"
	for _, test := range []struct {
		name    string
		options store.HTTPOptions
		want    string
	}{
		{"nothing", store.HTTPOptions{}, `scheme "": https, http or unix expected`},
		{"another scheme", store.HTTPOptions{URL: "ftp://h/"}, `scheme "ftp"`},
		{"no host", store.HTTPOptions{URL: "https:///certs"}, "no host"},
		{"malformed", store.HTTPOptions{URL: "https://user:secret@h:port/"}, "malformed"},
		{"opaque", store.HTTPOptions{URL: "https:secret"}, "malformed"},
		{"fragment", store.HTTPOptions{URL: url + "#secret"}, "without a fragment"},
		{"password", store.HTTPOptions{URL: "https://user:secret@store.example/"}, "holds a user name or password"},
		{"plain text", store.HTTPOptions{URL: "http://192.0.2.1/certs?secret"}, `"http://192.0.2.1/certs": private keys would cross the network`},
		{"plain text to a name", store.HTTPOptions{URL: "http://localhost.example/"}, "plain text"},
		{"plain text to 127.1", store.HTTPOptions{URL: "http://127.1/"}, "plain text"},
		{"socket without a path", store.HTTPOptions{URL: "unix://run/certs.sock"}, "with three slashes"},
		{"form", store.HTTPOptions{URL: url, Form: "soap"}, `form "soap": path, caddy or peter_sslers expected`},
		{"two tokens", store.HTTPOptions{URL: url, Token: "secret", TokenFile: empty}, "both a token and a token file"},
		{"token with a newline", store.HTTPOptions{URL: url, Token: "secret\nsecret"}, "at byte 7"},
		{"empty token file", store.HTTPOptions{URL: url, TokenFile: empty}, empty + ": the token is empty"},
		{"missing token file", store.HTTPOptions{URL: url, TokenFile: missing}, missing},
		{"token and password", store.HTTPOptions{URL: url, Token: "secret", Username: "user", PasswordFile: empty}, "both a token and a user name"},
		{"token file and user", store.HTTPOptions{URL: url, TokenFile: empty, Username: "user"}, "both a token and a user name"},
		{"user alone", store.HTTPOptions{URL: url, Username: "user"}, "a user name needs a password file"},
		{"password alone", store.HTTPOptions{URL: url, PasswordFile: empty}, "a password file a user name"},
		{"user with a colon", store.HTTPOptions{URL: url, Username: "a:b", PasswordFile: empty}, "the user name has a colon"},
		{"user with a newline", store.HTTPOptions{URL: url, Username: "a\nb", PasswordFile: empty}, "the user name has a control character"},
		{"empty password", store.HTTPOptions{URL: url, Username: "user", PasswordFile: blank}, blank + ": the password is empty"},
		{"binary password", store.HTTPOptions{URL: url, Username: "user", PasswordFile: binary}, binary + ": the password has a control character"},
		{"missing password file", store.HTTPOptions{URL: url, Username: "user", PasswordFile: missing}, missing},
		{"autocert elsewhere", store.HTTPOptions{URL: url, Autocert: true}, "autocert with form path: only form peter_sslers has it"},
		{"missing CA", store.HTTPOptions{URL: url, CAFile: missing}, missing},
		{"empty CA", store.HTTPOptions{URL: url, CAFile: empty}, "no certificate in PEM"},
		{"key alone", store.HTTPOptions{URL: url, KeyFile: empty}, "needs both"},
		{"certificate alone", store.HTTPOptions{URL: url, CertFile: empty}, "needs both"},
		{"empty client certificate", store.HTTPOptions{URL: url, CertFile: empty, KeyFile: empty}, "client certificate " + empty},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, err := store.NewHTTP(test.options)
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Fatalf("error %v, want it to say %q", err, test.want)
			}
			if strings.Contains(err.Error(), "secret") {
				t.Errorf("error %v shows a secret", err)
			}
		})
	}
	for _, good := range []store.HTTPOptions{
		{URL: "http://localhost:1/"},
		{URL: "http://LocalHost:1/"},
		{URL: "http://127.0.0.2/"},
		{URL: "http://[::1]:8/"},
		{URL: "http://[::ffff:127.0.0.1]/"},
		{URL: "http://192.0.2.1/", Plaintext: true},
		{URL: "unix:///run/x.sock"},
		{URL: url},
	} {
		if _, err := store.NewHTTP(good); err != nil {
			t.Errorf("%s: %v", good.URL, err)
		}
	}
}

func TestHTTPUnixSocket(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "s")
	listener, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	var got atomic.Value
	server := &httptest.Server{Listener: listener, Config: &http.Server{Handler: http.HandlerFunc(
		func(w http.ResponseWriter, r *http.Request) {
			got.Store(r.Host + r.RequestURI)
			w.WriteHeader(http.StatusNotFound)
		})}}
	server.Start()
	defer server.Close()
	for url, want := range map[string]string{
		"unix://" + socket:                 "localhost/a.example",
		"unix://" + socket + "?x=1":        "localhost/a.example?x=1",
		"unix://" + socket + ":/certs?x=1": "localhost/certs/a.example?x=1",
	} {
		if _, err := newHTTP(t, store.HTTPOptions{URL: url}).Fetch(t.Context(), store.Request{Name: name}); !errors.Is(err, store.ErrUnknown) {
			t.Errorf("%s: %v", url, err)
		}
		if got.Load() != want {
			t.Errorf("%s: asked %s, want %s", url, got.Load(), want)
		}
	}
	_, err = newHTTP(t, store.HTTPOptions{URL: "unix://" + socket + "-gone"}).Fetch(t.Context(), store.Request{Name: name})
	if !failureOf(t, err).Unreachable {
		t.Errorf("no socket, but not unreachable: %v", err)
	}
}

func TestHTTPS(t *testing.T) {
	ca, other := certtest.NewCA(t), certtest.NewCA(t)
	folder := t.TempDir()
	caFile, otherFile := filepath.Join(folder, "ca.pem"), filepath.Join(folder, "other.pem")
	write(t, caFile, string(ca.PEM()))
	write(t, otherFile, string(other.PEM()))
	certFile, keyFile := ca.Issue(t, "first.example").Write(t, folder, "client")
	trusted, required := startTLS(t, &tls.Config{Certificates: []tls.Certificate{ca.Issue(t, "localhost").TLS()}}),
		startTLS(t, &tls.Config{
			Certificates: []tls.Certificate{ca.Issue(t, "localhost").TLS()},
			ClientAuth:   tls.RequireAndVerifyClientCert, ClientCAs: ca.Pool(),
		})
	old := startTLS(t, &tls.Config{
		Certificates: []tls.Certificate{ca.Issue(t, "localhost").TLS()}, MaxVersion: tls.VersionTLS11,
		MinVersion: tls.VersionTLS10,
	})
	wrong := startTLS(t, &tls.Config{Certificates: []tls.Certificate{ca.Issue(t, "elsewhere.example").TLS()}})
	for _, test := range []struct {
		name    string
		options store.HTTPOptions
		want    string
	}{
		{"trusted", store.HTTPOptions{URL: trusted, CAFile: caFile}, "unknown name"},
		{"system's roots", store.HTTPOptions{URL: trusted}, "unknown authority"},
		{"another authority", store.HTTPOptions{URL: trusted, CAFile: otherFile}, "x509"},
		{"another host", store.HTTPOptions{URL: wrong, CAFile: caFile}, "elsewhere.example, not localhost"},
		{"not verified", store.HTTPOptions{URL: wrong, InsecureSkipVerify: true}, "unknown name"},
		{"old version", store.HTTPOptions{URL: old, CAFile: caFile}, "protocol version"},
		{"client certificate", store.HTTPOptions{URL: required, CAFile: caFile, CertFile: certFile, KeyFile: keyFile}, "unknown name"},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, err := newHTTP(t, test.options).Fetch(t.Context(), store.Request{Name: name})
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Fatalf("error %v, want it to say %q", err, test.want)
			}
			if !errors.Is(err, store.ErrUnknown) && !failureOf(t, err).Unreachable {
				t.Errorf("%v, but not unreachable", err)
			}
		})
	}
	t.Run("no client certificate", func(t *testing.T) {
		_, err := newHTTP(t, store.HTTPOptions{URL: required, CAFile: caFile}).Fetch(t.Context(), store.Request{Name: name})
		failureOf(t, err)
	})
}

func TestHTTPClientCertificateChanges(t *testing.T) {
	ca := certtest.NewCA(t)
	folder := t.TempDir()
	caFile := filepath.Join(folder, "ca.pem")
	write(t, caFile, string(ca.PEM()))
	certFile, keyFile := ca.Issue(t, "first.example").Write(t, folder, "client")
	var got atomic.Value
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		got.Store(r.TLS.PeerCertificates[0].DNSNames[0])
		w.Header().Set("Connection", "close")
		w.WriteHeader(http.StatusNotFound)
	}))
	server.TLS = &tls.Config{Certificates: []tls.Certificate{ca.Issue(t, "localhost").TLS()}, ClientAuth: tls.RequireAnyClientCert}
	server.StartTLS()
	defer server.Close()
	url := strings.Replace(server.URL, "127.0.0.1", "localhost", 1)
	asks := newHTTP(t, store.HTTPOptions{URL: url, CAFile: caFile, CertFile: certFile, KeyFile: keyFile})
	for _, want := range []string{"first.example", "second.example"} {
		ca.Issue(t, want).Write(t, folder, "client")
		if _, err := asks.Fetch(t.Context(), store.Request{Name: name}); !errors.Is(err, store.ErrUnknown) {
			t.Fatal(err)
		}
		if got.Load() != want {
			t.Errorf("sent the certificate of %s, want %s", got.Load(), want)
		}
	}
}

func TestHTTPBoundsItsConnections(t *testing.T) {
	var open, most atomic.Int32
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		time.Sleep(2 * time.Millisecond)
		http.NotFound(w, nil)
	}))
	var opened atomic.Int32
	server.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		switch state {
		case http.StateNew:
			opened.Add(1)
			most.Store(max(most.Load(), open.Add(1)))
		case http.StateClosed, http.StateHijacked:
			open.Add(-1)
		}
	}
	server.Start()
	defer server.Close()
	asks := newHTTP(t, store.HTTPOptions{URL: server.URL, Fetches: 3})
	var group sync.WaitGroup
	for range 60 {
		group.Go(func() {
			if _, err := asks.Fetch(t.Context(), store.Request{Name: name}); !errors.Is(err, store.ErrUnknown) {
				t.Error(err)
			}
		})
	}
	group.Wait()
	if most.Load() > 3 || opened.Load() > 3 {
		t.Errorf("%d connections at once, %d in all: 3 allowed, to be used again after a no", most.Load(), opened.Load())
	}
}

func TestHTTPUnreachable(t *testing.T) {
	asks := newHTTP(t, store.HTTPOptions{URL: dying(t), Token: token})
	if _, err := asks.Fetch(t.Context(), store.Request{Name: name}); !errors.Is(err, store.ErrUnknown) {
		t.Fatal(err)
	}
	// The connection in the pool breaks, and nobody listens for the one that is tried next.
	_, err := asks.Fetch(t.Context(), store.Request{Name: name})
	if !failureOf(t, err).Unreachable || !strings.HasSuffix(err.Error(), "connection refused") {
		t.Errorf("%v, unreachable %t", err, failureOf(t, err).Unreachable)
	}
	_, err = newHTTP(t, store.HTTPOptions{URL: "https://no-such-host.invalid/"}).Fetch(t.Context(), store.Request{Name: name})
	if !failureOf(t, err).Unreachable {
		t.Errorf("no such host, but not unreachable: %v", err)
	}
}

// TestHTTPNoConnection: a peer that says nothing in the TLS handshake was not reached; a pool that is full says nothing
// about the peer.
func TestHTTPNoConnection(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	url := "https://" + listener.Addr().String()
	asks := newHTTP(t, store.HTTPOptions{URL: url, Timeout: 200 * time.Millisecond})
	_, err = asks.Fetch(t.Context(), store.Request{Name: name})
	if want := "no connection within 200ms"; !failureOf(t, err).Unreachable || !strings.Contains(err.Error(), want) {
		t.Errorf("%v, want it to say %q, and unreachable", err, want)
	}
	asked := make(chan struct{}, 1)
	busy := newHTTP(t, store.HTTPOptions{Fetches: 1, URL: serve(t, func(_ http.ResponseWriter, r *http.Request) {
		asked <- struct{}{}
		<-r.Context().Done()
	})})
	ctx, cancel := context.WithCancel(t.Context())
	first := make(chan error, 1)
	go func() {
		_, err := busy.Fetch(ctx, store.Request{Name: name})
		first <- err
	}()
	<-asked
	soon, stop := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer stop()
	_, err = busy.Fetch(soon, store.Request{Name: name})
	if want := "no connection was free"; failureOf(t, err).Unreachable || !strings.Contains(err.Error(), want) {
		t.Errorf("%v, want it to say %q, and not unreachable", err, want)
	}
	cancel()
	<-first
}

// dying answers one request and hangs up on the next, which it takes on the same connection: it listens for no other.
func dying(t *testing.T) (url string) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		conn, err := listener.Accept()
		listener.Close()
		if err != nil {
			return
		}
		defer conn.Close()
		reader := bufio.NewReader(conn)
		if _, err := http.ReadRequest(reader); err != nil {
			return
		}
		_, _ = io.WriteString(conn, "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")
		_, _ = http.ReadRequest(reader)
	}()
	t.Cleanup(func() { listener.Close(); <-done })
	return "http://" + listener.Addr().String()
}

func TestHTTPCallerLeaves(t *testing.T) {
	asked := make(chan struct{})
	url := serve(t, func(_ http.ResponseWriter, r *http.Request) { close(asked); <-r.Context().Done() })
	ctx, cancel := context.WithCancel(t.Context())
	go func() { <-asked; cancel() }()
	_, err := newHTTP(t, store.HTTPOptions{URL: url, Timeout: time.Minute}).Fetch(ctx, store.Request{Name: name})
	if !errors.Is(err, context.Canceled) || failureOf(t, err).Unreachable {
		t.Errorf("got %v", err)
	}
}

func newHTTP(t testing.TB, options store.HTTPOptions) *store.HTTP {
	t.Helper()
	if options.Timeout == 0 {
		options.Timeout = 5 * time.Second
	}
	asks, err := store.NewHTTP(options)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(asks.Close)
	return asks
}

func serve(t *testing.T, handler http.HandlerFunc) (url string) {
	t.Helper()
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	return server.URL
}

func startTLS(t *testing.T, config *tls.Config) (url string) {
	t.Helper()
	server := httptest.NewUnstartedServer(http.NotFoundHandler())
	server.Config.ErrorLog = quiet()
	server.TLS = config
	server.StartTLS()
	t.Cleanup(server.Close)
	return strings.Replace(server.URL, "127.0.0.1", "localhost", 1)
}

// failureOf returns the failure that err must hold, and sees to it that err is no no and shows no token.
func failureOf(t *testing.T, err error) *store.Failure {
	t.Helper()
	var failure *store.Failure
	if !errors.As(err, &failure) || errors.Is(err, store.ErrUnknown) {
		t.Fatalf("%v is no failure", err)
	}
	if strings.Contains(err.Error(), token) {
		t.Errorf("%v shows the token", err)
	}
	return failure
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}
