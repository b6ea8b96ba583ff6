package store_test

import (
	"bytes"
	"crypto/elliptic"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"slices"
	"strings"
	"testing"
	"time"

	"hellogate/store"
	"hellogate/store/certtest"
)

func TestDecodePEM(t *testing.T) {
	ca := certtest.NewCA(t)
	ec, rsa := ca.Issue(t, name), ca.IssueWith(t, certtest.Options{Names: []string{name}, RSA: 2048})
	leaf, intermediate := block("CERTIFICATE", ec.Leaf.Raw), block("CERTIFICATE", ca.Intermediate.Raw)
	rsaLeaf, root := block("CERTIFICATE", rsa.Leaf.Raw), string(ca.PEM())
	parameters := "-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n"
	ecKey, rsaKey := string(ec.Key), string(rsa.Key)
	for _, test := range []struct {
		name, text string
		chains     []int
	}{
		{"certificates first", leaf + intermediate + ecKey, []int{2}},
		{"key first", ecKey + leaf + intermediate, []int{2}},
		{"leaf last", intermediate + ecKey + leaf, []int{2}},
		{"parameters", leaf + parameters + ecKey, []int{1}},
		{"text between", "Bag Attributes\n  friendlyName: x\n" + leaf + "subject=CN = a.example\n\n" + ecKey + "# end", []int{1}},
		{"line ends of another system", strings.ReplaceAll(leaf+ecKey, "\n", "\r\n"), []int{1}},
		{"two pairs", leaf + intermediate + ecKey + rsaLeaf + intermediate + rsaKey, []int{2, 2}},
		{"two pairs, keys apart", rsaKey + ecKey + root + intermediate + leaf + rsaLeaf, []int{3, 3}},
	} {
		t.Run(test.name, func(t *testing.T) {
			pairs, err := store.DecodePEM([]byte(test.text))
			if err != nil {
				t.Fatal(err)
			}
			if len(pairs) != len(test.chains) {
				t.Fatalf("%d pairs, want %d", len(pairs), len(test.chains))
			}
			for i, pair := range pairs {
				checked, err := store.Check(pair, name, time.Now())
				if err != nil || len(checked.Pair.Chain) != test.chains[i] {
					t.Errorf("pair %d: chain of %d, want %d: %v", i, len(checked.Pair.Chain), test.chains[i], err)
				}
			}
		})
	}
}

func TestDecodePEMRefuses(t *testing.T) {
	ca := certtest.NewCA(t)
	issued := ca.Issue(t, name)
	leaf, key := block("CERTIFICATE", issued.Leaf.Raw), string(issued.Key)
	other := ca.Issue(t, "b.example")
	for _, test := range []struct{ name, text, want string }{
		{"nothing", "", "no PEM block in 0 bytes"},
		{"a web page", "<html>no</html>", "no PEM block in 15 bytes"},
		{"no key", leaf, "certificates (1) without a private key"},
		{"no certificate", key, "private keys (1) without a certificate"},
		{"cut short", leaf + key[:len(key)-10], "1 of 2 PEM blocks are malformed or cut short"},
		{"damaged in the middle", leaf[:200] + "*" + leaf[200:] + leaf + key, "1 of 3 PEM blocks"},
		{"encrypted", leaf + block("ENCRYPTED PRIVATE KEY", []byte{1}), "the private key is encrypted"},
		{"encrypted, the old way", leaf + string(pem.EncodeToMemory(&pem.Block{
			Type: "EC PRIVATE KEY", Bytes: []byte{1},
			Headers: map[string]string{"Proc-Type": "4,ENCRYPTED", "DEK-Info": "x"},
		})), "the private key is encrypted"},
		{"unknown block", leaf + key + block("CERTIFICATE REQUEST", []byte{1}), `PEM block 3: unexpected type "CERTIFICATE REQUEST"`},
		{"many blocks", strings.Repeat(leaf, 200) + key, "201 PEM blocks: at most 144 allowed"},
		{"long chain", strings.Repeat(leaf, 17) + key, "chain of 17 certificates"},
		{"many keys", leaf + strings.Repeat(key, 9), "9 private keys: at most 8 allowed"},
		{"the same key twice", leaf + key + key, "key 2 of 2: belongs to none of the 0 certificates"},
		{"a key of nothing", leaf + key + string(other.Key), "key 2 of 2: belongs to none"},
		{
			"a certificate of nothing", leaf + key + string(other.Bundle()) + block("CERTIFICATE", ca.Issue(t, "c.example").Leaf.Raw),
			`certificate "CN=c.example" belongs to no pair`,
		},
		{"two keys, one garbage", leaf + key + block("PRIVATE KEY", []byte("secret")), "key 2 of 2: private key of 6 bytes is no PKCS #8"},
	} {
		t.Run(test.name, func(t *testing.T) {
			pairs, err := store.DecodePEM([]byte(test.text))
			if err == nil {
				t.Fatalf("accepted %d pairs", len(pairs))
			}
			if !strings.Contains(err.Error(), test.want) {
				t.Errorf("error %q, want it to say %q", err, test.want)
			}
		})
	}
}

func TestDecodeJSON(t *testing.T) {
	ca := certtest.NewCA(t)
	first, second := ca.Issue(t, name), ca.IssueWith(t, certtest.Options{Names: []string{name}, RSA: 2048})
	a, b := string(first.JSON()), string(second.JSON())
	for _, test := range []struct {
		name, body string
		pairs      int
	}{
		{"one", a, 1},
		{"white space", "\n\t " + a + " \n", 1},
		{"unknown members", `{"id":[1,{"cert":2}],"id":null,` + a[1:], 1},
		{"other case is another member", `{"Cert":"x","KEY":1,` + a[1:], 1},
		{"one of several", `{"certificates":[` + a + `]}`, 1},
		{"several", `{"x":1,"certificates":[` + a + `,` + b + `]}`, 2},
	} {
		t.Run(test.name, func(t *testing.T) {
			answer, err := store.DecodeJSON([]byte(test.body))
			if err != nil {
				t.Fatal(err)
			}
			if len(answer.Pairs) != test.pairs || answer.Routing != nil {
				t.Errorf("%d pairs, want %d; routing %v", len(answer.Pairs), test.pairs, answer.Routing)
			}
			for _, pair := range answer.Pairs {
				if _, err := store.Check(pair, name, time.Now()); err != nil {
					t.Error(err)
				}
			}
		})
	}
}

func TestDecodeJSONRefuses(t *testing.T) {
	issued := certtest.NewCA(t).Issue(t, name)
	body := string(issued.JSON())
	object := func(cert, key string) string {
		text, err := json.Marshal(map[string]string{"cert": cert, "key": key})
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	cert, key := string(issued.Chain), string(issued.Key)
	for _, test := range []struct{ name, body, want string }{
		{"nothing", "", "cut short"},
		{"null", "null", `'{' expected`},
		{"an array", "[" + body + "]", `'{' expected`},
		{"empty", "{}", "cert is missing or empty"},
		{"no key", `{"cert":"x"}`, "key is missing or empty"},
		{"empty fields", `{"cert":"","key":""}`, "cert is missing or empty"},
		{"null cert", `{"cert":null,"key":"x"}`, "cert is no string"},
		{"cert of a wrong type", `{"cert":["x"],"key":"x"}`, "cert is no string"},
		{"cert twice", `{"cert":"x",` + body[1:], "cert is there twice"},
		{"key twice", `{"key":"x",` + body[1:], "key is there twice"},
		{"null key first", `{"key":null,` + body[1:], "key is no string"},
		{"cut short", body[:len(body)/2], "cut short"},
		{"more behind it", body + "{}", "more behind the object"},
		{"garbage behind it", body + "secret", "more behind the object"},
		{"malformed", `{"cert":secret}`, "malformed at byte"},
		{"deep", strings.Repeat("[", 1<<19), `'{' expected`},
		{"deep inside", `{"x":` + strings.Repeat("[", 1<<19), "malformed at byte"},
		{"cert is garbage", object("garbage", key), "no certificate"},
		{"key in cert", object(cert+key, key), "cert holds a private key"},
		{"cert in key", object(cert, key+cert), "key holds 2 certificates and 1 private keys: one key expected"},
		{"two keys", object(cert, key+key), "key holds 0 certificates and 2 private keys"},
		{"key is garbage", object(cert, "secret"), "key holds 0 certificates and 0 private keys"},
		{"cut short inside", object(cert[:len(cert)-20], key), "cert: 1 of 2 PEM blocks are malformed"},
		{"long chain", object(strings.Repeat(cert, 9), key), "chain of 18 certificates"},
		{"no pairs", `{"certificates":[]}`, "certificates is empty"},
		{"null pairs", `{"certificates":null}`, `certificates: '[' expected`},
		{"pairs twice", `{"certificates":[` + body + `],"certificates":[]}`, "certificates is there twice"},
		{"pairs and a pair", `{"certificates":[` + body + `],` + body[1:], "both certificates and a pair"},
		{"a bad pair", `{"certificates":[` + body + `,{}]}`, "certificates[1]: cert is missing"},
		{"a pair that is a number", `{"certificates":[` + body + `,7]}`, `certificates[1]: '{' expected`},
		{"many pairs", `{"certificates":[` + body + strings.Repeat(","+body, 8) + `]}`, "more than 8 pairs"},
	} {
		t.Run(test.name, func(t *testing.T) {
			answer, err := store.DecodeJSON([]byte(test.body))
			if err == nil {
				t.Fatalf("accepted %d pairs", len(answer.Pairs))
			}
			if !strings.Contains(err.Error(), test.want) || len(err.Error()) > 200 {
				t.Errorf("error %q, want it to say %q", err, test.want)
			}
			if strings.Contains(err.Error(), "secret") {
				t.Errorf("error %q quotes the body", err)
			}
		})
	}
}

func TestDecodeTellsThemApart(t *testing.T) {
	issued := certtest.NewCA(t).Issue(t, name)
	for _, test := range []struct {
		name, contentType string
		body              []byte
		good              bool
	}{
		{"json", "application/json; charset=utf-8", issued.JSON(), true},
		{"json of a kind", "application/problem+json", issued.JSON(), true},
		{"json by its looks", "", append([]byte("\n "), issued.JSON()...), true},
		{"json as text", "text/plain", issued.JSON(), true},
		{"pem", "application/x-pem-file", issued.Bundle(), true},
		{"pem chain", "application/pem-certificate-chain", issued.Bundle(), true},
		{"pem by its looks", "application/octet-stream", issued.Bundle(), true},
		{"pem with a broken type", ";;", issued.Bundle(), true},
		{"pem that says json", "application/json", issued.Bundle(), false},
		{"json that says pem", "application/x-pem-file", issued.JSON(), false},
	} {
		t.Run(test.name, func(t *testing.T) {
			answer, err := store.Decode(test.contentType, test.body)
			if (err == nil) != test.good {
				t.Errorf("%d pairs, error %v", len(answer.Pairs), err)
			}
		})
	}
}

func FuzzDecodePEM(f *testing.F) {
	for _, seed := range seeds(f) {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		pairs, err := store.DecodePEM(text)
		holds(t, pairs, err)
	})
}

func FuzzDecodeJSON(f *testing.F) {
	for _, seed := range slices.Concat(seeds(f), routingSeeds(f)) {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		answer, err := store.DecodeJSON(body)
		holds(t, answer.Pairs, err)
		holdsRouting(t, answer.Routing)
		if err == nil && !json.Valid(body) {
			t.Error("accepted what is no JSON")
		}
	})
}

// holds: whatever is decoded is within bounds, and what Check then accepts has nothing but certificates in its chain.
func holds(t *testing.T, pairs []store.Pair, err error) {
	if (err == nil) != (len(pairs) > 0) || len(pairs) > store.MaxPairs {
		t.Fatalf("%d pairs, error %v", len(pairs), err)
	}
	for _, pair := range pairs {
		if len(pair.Chain) == 0 || len(pair.Chain) > store.MaxChain || len(pair.Key) == 0 {
			t.Errorf("chain of %d, key of %d bytes", len(pair.Chain), len(pair.Key))
		}
		checked, err := store.Check(pair, name, time.Now())
		if err != nil {
			continue
		}
		for _, certificate := range checked.Pair.Chain {
			if _, err := x509.ParseCertificate(certificate); err != nil || bytes.Equal(certificate, pair.Key) {
				t.Errorf("no certificate in a checked chain: %v", err)
			}
		}
	}
}

func seeds(f *testing.F) [][]byte {
	ca := certtest.NewCA(f)
	ec := ca.Issue(f, name)
	other := ca.IssueWith(f, certtest.Options{Names: []string{name}, Key: curve(f, elliptic.P384())})
	sec1 := block("EC PARAMETERS", []byte{6, 1, 1}) + block("EC PRIVATE KEY", []byte{0x30, 0})
	return [][]byte{
		nil, ec.Bundle(), append(ec.Bundle(), other.Bundle()...), ec.Chain, ec.Key, []byte(sec1), ec.Bundle()[:700],
		ec.JSON(), []byte(`{"certificates":[` + string(ec.JSON()) + "," + string(other.JSON()) + `]}`),
		[]byte(`{"cert":null,"key":1}`), []byte(`{"certificates":[{}],"x":[[[{"a":"\u0000"}]]]}`), ec.JSON()[:500],
	}
}

func block(kind string, der []byte) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))
}
