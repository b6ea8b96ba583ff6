package store

import (
	"crypto/tls"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// What a client of today offers that can use an ECDSA certificate: the lists of Go's own ClientHello, without SHA-1. Those
// of a client that can't are what is left of them for RSA.
var (
	ecdsaSchemes = []tls.SignatureScheme{
		tls.ECDSAWithP256AndSHA256, tls.ECDSAWithP384AndSHA384, tls.ECDSAWithP521AndSHA512, tls.Ed25519,
	}
	rsaSchemes = []tls.SignatureScheme{
		tls.PSSWithSHA256, tls.PSSWithSHA384, tls.PSSWithSHA512,
		tls.PKCS1WithSHA256, tls.PKCS1WithSHA384, tls.PKCS1WithSHA512,
	}
	anySuites   = []uint16{tls.TLS_AES_128_GCM_SHA256, tls.TLS_AES_256_GCM_SHA384, tls.TLS_CHACHA20_POLY1305_SHA256}
	ecdsaSuites = []uint16{
		tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
		tls.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
	}
	rsaSuites = []uint16{
		tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256, tls.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
		tls.TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
	}
)

// caddyQuery adds to query what Caddy sends of a hello: numbers in lower-case hexadecimal, without 0x or padding. A store
// of this form picks a certificate by them, and is told of a client that suits when none began the fetch.
func caddyQuery(query url.Values, request Request) string {
	schemes, suites := request.SignatureSchemes, request.CipherSuites
	if schemes == nil {
		schemes = schemesOf(request.WithoutECDSA)
	}
	if suites == nil {
		suites = suitesOf(request.WithoutECDSA)
	}
	query.Set("server_name", request.Name)
	query.Set("signature_schemes", hexList(schemes))
	query.Set("cipher_suites", hexList(suites))
	if request.LocalAddr.IsValid() {
		query.Set("local_ip", request.LocalAddr.Unmap().String())
	}
	return query.Encode()
}

func schemesOf(withoutECDSA bool) []tls.SignatureScheme {
	if withoutECDSA {
		return rsaSchemes
	}
	return slices.Concat(ecdsaSchemes, rsaSchemes)
}

func suitesOf(withoutECDSA bool) []uint16 {
	if withoutECDSA {
		return slices.Concat(anySuites, rsaSuites)
	}
	return slices.Concat(anySuites, ecdsaSuites, rsaSuites)
}

func hexList[T ~uint16](numbers []T) string {
	texts := make([]string, len(numbers))
	for i, number := range numbers {
		texts[i] = strconv.FormatUint(uint64(number), 16)
	}
	return strings.Join(texts, ",")
}
