package config

import (
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

// RoundRobin takes one after the other.
const RoundRobin Balance = "round_robin"

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

// The fields that can be sent: the name, the negotiated protocol, the TLS
// version and cipher, the connection's id, and the checksum.
const (
	TLVAuthority ProxyTLV = "authority"
	TLVALPN      ProxyTLV = "alpn"
	TLVSSL       ProxyTLV = "ssl"
	TLVUniqueID  ProxyTLV = "unique_id"
	TLVCRC32C    ProxyTLV = "crc32c"
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
)

// Action is what a route does with a connection.
type Action string

// Terminate ends TLS here and passes the plaintext on; Reject refuses.
const (
	Terminate Action = "terminate"
	Reject    Action = "reject"
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
func (Balance) choices() []string    { return []string{"round_robin"} }
func (SendProxy) choices() []string  { return []string{"off", "v1", "v2"} }
func (ProxyTLV) choices() []string {
	return []string{"authority", "alpn", "ssl", "unique_id", "crc32c"}
}

func (Event) choices() []string {
	return []string{"fetched", "renewed", "withdrawn", "expiring", "failed", "flushed"}
}
func (Action) choices() []string     { return []string{"terminate", "reject"} }
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
