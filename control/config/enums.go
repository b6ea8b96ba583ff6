package config

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// choice is a text that must be one of a few.
type choice interface{ choices() []string }

// Form is how an HTTP store is asked for a name.
type Form string

// FormPath asks for {url}/{name}, FormCaddy for {url}?server_name={name} and
// what Caddy's stock getter sends besides, FormPeterSSLers for
// {url}/domain/{name}/config.json, or through autocert.
const (
	FormPath        Form = "path"
	FormCaddy       Form = "caddy"
	FormPeterSSLers Form = "peter_sslers"
)

// Layout is how certificates lie in Redis.
type Layout string

// LayoutPrime1 and LayoutPrime2 are what peter_sslers writes with its prime
// styles 1 and 2, LayoutJSON is one JSON text a name.
const (
	LayoutPrime1 Layout = "prime1"
	LayoutPrime2 Layout = "prime2"
	LayoutJSON   Layout = "json"
)

// SANAliases says whether a fetched certificate answers for its other names.
type SANAliases string

// AliasesVerified allows it for chains that verify to known roots, AliasesAll
// for all, AliasesOff for none.
const (
	AliasesVerified SANAliases = "verified"
	AliasesAll      SANAliases = "all"
	AliasesOff      SANAliases = "off"
)

// Occasion is a reason to serve the fallback certificate.
type Occasion string

// OnUnknown is a name that the store does not know, OnFailure one that it could
// not be asked for.
const (
	OnUnknown Occasion = "unknown"
	OnFailure Occasion = "failure"
)

// Balance is how a backend picks a server.
type Balance string

// RoundRobin takes one after the other, LeastConnections the one that has the
// fewest for its weight, RandomTwo the one of two picked at random that has
// fewer. SourceHash always takes the same one for a client's address, and
// NameHash for a name, as long as it is well.
const (
	RoundRobin       Balance = "round_robin"
	LeastConnections Balance = "least_connections"
	RandomTwo        Balance = "random_two"
	SourceHash       Balance = "source_hash"
	NameHash         Balance = "name_hash"
)

// StartTLS is a protocol in which TLS is begun by asking for it. Empty: none, and
// a connection begins with TLS.
type StartTLS string

// StartTLSAuto is of listeners only: TLS or PostgreSQL, by the first bytes.
const (
	StartTLSPostgres StartTLS = "postgres"
	StartTLSSMTP     StartTLS = "smtp"
	StartTLSIMAP     StartTLS = "imap"
	StartTLSPOP3     StartTLS = "pop3"
	StartTLSLDAP     StartTLS = "ldap"
	StartTLSAuto     StartTLS = "auto"
)

// greets reports whether the server is who speaks first.
func (s StartTLS) greets() bool {
	return s == StartTLSSMTP || s == StartTLSIMAP || s == StartTLSPOP3
}

func parseStartTLS(text string) (StartTLS, error) {
	switch text {
	case "":
		return "", nil
	case "mysql":
		return "", errors.New("mysql is none that can be routed by name: its server speaks first, with what the client's password is hashed with")
	}
	return StartTLS(text), checkChoice(StartTLS(""), text)
}

// OnDown is what becomes of the connections to a server that fails its checks.
type OnDown string

// DownKeep lets them go on, DownReset resets them.
const (
	DownKeep  OnDown = "keep"
	DownReset OnDown = "reset"
)

// SendProxy is the version of the PROXY header that a backend gets.
type SendProxy string

// SendProxyOff sends none.
const (
	SendProxyOff SendProxy = "off"
	SendProxyV1  SendProxy = "v1"
	SendProxyV2  SendProxy = "v2"
)

// ProxyTLV is a field of a version 2 PROXY header.
type ProxyTLV string

// The fields that can be sent: the name, the negotiated protocol, the client's
// TLS, the connection's id, the network namespace, and the checksum. TLVSSL has
// the version, the cipher suite and the common name of the client's certificate.
// Those that begin with it are parts of it: how the certificate that the client
// was shown is signed, and what its key is, the group of the key exchange, how the
// handshake was signed, and the client's certificate itself (a kilobyte or more).
const (
	TLVAuthority     ProxyTLV = "authority"
	TLVALPN          ProxyTLV = "alpn"
	TLVSSL           ProxyTLV = "ssl"
	TLVSSLSigAlg     ProxyTLV = "ssl_sig_alg"
	TLVSSLKeyAlg     ProxyTLV = "ssl_key_alg"
	TLVSSLGroup      ProxyTLV = "ssl_group"
	TLVSSLSigScheme  ProxyTLV = "ssl_sig_scheme"
	TLVSSLClientCert ProxyTLV = "ssl_client_cert"
	TLVUniqueID      ProxyTLV = "unique_id"
	TLVNetNS         ProxyTLV = "netns"
	TLVCRC32C        ProxyTLV = "crc32c"
)

// isPartOfSSL reports whether t is sent within TLVSSL.
func (t ProxyTLV) isPartOfSSL() bool { return strings.HasPrefix(string(t), string(TLVSSL)+"_") }

// ClientAuthMode says whether clients show a certificate.
type ClientAuthMode string

// ClientAuthOff asks for none, ClientAuthRequest for one that a client may keep
// to itself, and ClientAuthRequire refuses clients without one. One that is shown
// must be good in either case.
const (
	ClientAuthOff     ClientAuthMode = "off"
	ClientAuthRequest ClientAuthMode = "request"
	ClientAuthRequire ClientAuthMode = "require"
)

// Event is what a hook can be called for.
type Event string

// A certificate was fetched for the first time, renewed, withdrawn by its
// store, is about to expire, could not be fetched, or was flushed.
const (
	EventFetched   Event = "fetched"
	EventRenewed   Event = "renewed"
	EventWithdrawn Event = "withdrawn"
	EventExpiring  Event = "expiring"
	EventFailed    Event = "failed"
	EventFlushed   Event = "flushed"
	// What an ACME store tells: an order begins, a challenge is set up, the order
	// ended with a certificate, that is in effect, it is about to expire, the order
	// failed, and the certificate was revoked.
	EventACMERenewing       Event = "acme_renewing"
	EventACMEChallengeSetup Event = "acme_challenge_setup"
	EventACMERenewed        Event = "acme_renewed"
	EventACMEInstalled      Event = "acme_installed"
	EventACMEExpiring       Event = "acme_expiring"
	EventACMEErrored        Event = "acme_errored"
	EventACMERevoked        Event = "acme_revoked"
)

// Action is what a route does with a connection.
type Action string

// Terminate ends TLS here and passes the plaintext on, Passthrough passes on what
// comes, without a look at more than the ClientHello; Reject refuses.
const (
	Terminate   Action = "terminate"
	Passthrough Action = "passthrough"
	Reject      Action = "reject"
)

// Truncation is how a client's end of stream without close_notify is passed on.
type Truncation string

// TruncationFIN ends the backend's stream, TruncationReset aborts it.
const (
	TruncationFIN   Truncation = "fin"
	TruncationReset Truncation = "reset"
)

// LogLevel is the least severity that is logged, by zerolog's names.
type LogLevel string

// LogInfo is the default level.
const LogInfo LogLevel = "info"

// LogFormat is how a log line looks.
type LogFormat string

// LogJSON is for machines, LogText for people.
const (
	LogJSON LogFormat = "json"
	LogText LogFormat = "text"
)

func (Form) choices() []string       { return []string{"path", "caddy", "peter_sslers"} }
func (Layout) choices() []string     { return []string{"prime1", "prime2", "json"} }
func (SANAliases) choices() []string { return []string{"verified", "all", "off"} }
func (Occasion) choices() []string   { return []string{"unknown", "failure"} }
func (SendProxy) choices() []string  { return []string{"off", "v1", "v2"} }
func (OnDown) choices() []string     { return []string{"keep", "reset"} }
func (StartTLS) choices() []string {
	return []string{"postgres", "smtp", "imap", "pop3", "ldap", "auto"}
}

func (Balance) choices() []string {
	return []string{"round_robin", "least_connections", "random_two", "source_hash", "name_hash"}
}

func (ProxyTLV) choices() []string {
	return []string{
		"authority", "alpn", "ssl", "ssl_sig_alg", "ssl_key_alg", "ssl_group", "ssl_sig_scheme", "ssl_client_cert",
		"unique_id", "netns", "crc32c",
	}
}
func (ClientAuthMode) choices() []string { return []string{"off", "request", "require"} }

func (Event) choices() []string {
	return []string{
		"fetched", "renewed", "withdrawn", "expiring", "failed", "flushed",
		"acme_renewing", "acme_challenge_setup", "acme_renewed", "acme_installed", "acme_expiring", "acme_errored", "acme_revoked",
	}
}
func (Action) choices() []string     { return []string{"terminate", "passthrough", "reject"} }
func (Truncation) choices() []string { return []string{"fin", "reset"} }
func (LogLevel) choices() []string   { return []string{"trace", "debug", "info", "warn", "error"} }
func (LogFormat) choices() []string  { return []string{"json", "text"} }

// checkChoice says what is wrong with text as one of kind's choices.
func checkChoice(kind choice, text string) error {
	choices := kind.choices()
	if slices.Contains(choices, text) {
		return nil
	}
	return fmt.Errorf("%s is not one of %s%s", quote(text), strings.Join(choices, ", "), didYouMean(text, choices))
}
