package proxyproto

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"strconv"
)

// versionName is the version as OpenSSL's SSL_get_version has it, which is what backends were written for.
func versionName(version uint16) string {
	switch version {
	case tls.VersionTLS13:
		return "TLSv1.3"
	case tls.VersionTLS12:
		return "TLSv1.2"
	default:
		return tls.VersionName(version)
	}
}

// ciphers are the names that OpenSSL gives to the suites that crypto/tls negotiates by default (man openssl-ciphers).
// Those of TLS 1.3 are IANA's, and here because crypto/tls takes long to find them.
var ciphers = map[uint16]string{
	tls.TLS_AES_128_GCM_SHA256:                        "TLS_AES_128_GCM_SHA256",
	tls.TLS_AES_256_GCM_SHA384:                        "TLS_AES_256_GCM_SHA384",
	tls.TLS_CHACHA20_POLY1305_SHA256:                  "TLS_CHACHA20_POLY1305_SHA256",
	tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256:       "ECDHE-ECDSA-AES128-GCM-SHA256",
	tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384:       "ECDHE-ECDSA-AES256-GCM-SHA384",
	tls.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256: "ECDHE-ECDSA-CHACHA20-POLY1305",
	tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256:         "ECDHE-RSA-AES128-GCM-SHA256",
	tls.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384:         "ECDHE-RSA-AES256-GCM-SHA384",
	tls.TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256:   "ECDHE-RSA-CHACHA20-POLY1305",
	tls.TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA:          "ECDHE-ECDSA-AES128-SHA",
	tls.TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA:          "ECDHE-ECDSA-AES256-SHA",
	tls.TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA:            "ECDHE-RSA-AES128-SHA",
	tls.TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA:            "ECDHE-RSA-AES256-SHA",
}

// cipherName is the cipher suite as OpenSSL names it.
func cipherName(suite uint16) string {
	if name, ok := ciphers[suite]; ok {
		return name
	}
	return tls.CipherSuiteName(suite)
}

// signatures are the names that OpenSSL gives to the algorithms that sign a certificate.
var signatures = map[x509.SignatureAlgorithm]string{
	x509.SHA1WithRSA:      "RSA-SHA1",
	x509.SHA256WithRSA:    "RSA-SHA256",
	x509.SHA384WithRSA:    "RSA-SHA384",
	x509.SHA512WithRSA:    "RSA-SHA512",
	x509.SHA256WithRSAPSS: "RSASSA-PSS",
	x509.SHA384WithRSAPSS: "RSASSA-PSS",
	x509.SHA512WithRSAPSS: "RSASSA-PSS",
	x509.ECDSAWithSHA1:    "ecdsa-with-SHA1",
	x509.ECDSAWithSHA256:  "ecdsa-with-SHA256",
	x509.ECDSAWithSHA384:  "ecdsa-with-SHA384",
	x509.ECDSAWithSHA512:  "ecdsa-with-SHA512",
	x509.PureEd25519:      "ED25519",
}

// signatureName is the algorithm as OpenSSL and so HAProxy name it; empty for one that crypto/x509 does not know.
func signatureName(algorithm x509.SignatureAlgorithm) string { return signatures[algorithm] }

// keyName is the key's algorithm and size as HAProxy names it, such as RSA2048 or EC256; empty for one that crypto/x509
// does not know.
func keyName(key any) string {
	switch key := key.(type) {
	case *rsa.PublicKey:
		if size := key.N.BitLen(); size != 2048 {
			return "RSA" + strconv.Itoa(size)
		}
		return "RSA2048"
	case *ecdsa.PublicKey:
		if size := key.Params().BitSize; size != 256 {
			return "EC" + strconv.Itoa(size)
		}
		return "EC256"
	case ed25519.PublicKey:
		return "ED25519"
	default:
		return ""
	}
}

// groups are IANA's names of the groups that crypto/tls negotiates (TLS Supported Groups).
var groups = map[tls.CurveID]string{
	tls.CurveP256:          "secp256r1",
	tls.CurveP384:          "secp384r1",
	tls.CurveP521:          "secp521r1",
	tls.X25519:             "x25519",
	tls.X25519MLKEM768:     "X25519MLKEM768",
	tls.SecP256r1MLKEM768:  "SecP256r1MLKEM768",
	tls.SecP384r1MLKEM1024: "SecP384r1MLKEM1024",
}

func groupName(group tls.CurveID) string {
	if name, ok := groups[group]; ok {
		return name
	}
	return fmt.Sprintf("0x%04X", uint16(group))
}

// schemes are IANA's names of the signature schemes that crypto/tls negotiates (TLS SignatureScheme).
var schemes = map[tls.SignatureScheme]string{
	tls.PSSWithSHA256:          "rsa_pss_rsae_sha256",
	tls.PSSWithSHA384:          "rsa_pss_rsae_sha384",
	tls.PSSWithSHA512:          "rsa_pss_rsae_sha512",
	tls.PKCS1WithSHA1:          "rsa_pkcs1_sha1",
	tls.PKCS1WithSHA256:        "rsa_pkcs1_sha256",
	tls.PKCS1WithSHA384:        "rsa_pkcs1_sha384",
	tls.PKCS1WithSHA512:        "rsa_pkcs1_sha512",
	tls.ECDSAWithSHA1:          "ecdsa_sha1",
	tls.ECDSAWithP256AndSHA256: "ecdsa_secp256r1_sha256",
	tls.ECDSAWithP384AndSHA384: "ecdsa_secp384r1_sha384",
	tls.ECDSAWithP521AndSHA512: "ecdsa_secp521r1_sha512",
	tls.Ed25519:                "ed25519",
}

func schemeName(scheme tls.SignatureScheme) string {
	if name, ok := schemes[scheme]; ok {
		return name
	}
	return fmt.Sprintf("0x%04X", uint16(scheme))
}
