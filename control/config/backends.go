package config

import (
	"slices"
	"time"
)

// Backend is a pool of servers.
type Backend struct {
	// Servers are the addresses in it. At least one that is no backup.
	Servers []Server `yaml:"servers"`
	// Balance is how one is picked. Default "round_robin".
	Balance Balance `yaml:"balance"`
	// Queue is for connections that no server has room for.
	Queue Queue `yaml:"queue"`
	// SlowStart is how long a server that came up takes to get its whole share.
	// 0, the default: it has it at once.
	SlowStart time.Duration `yaml:"slow_start"`
	// ResolveInterval is how often the names of servers are resolved again. 0,
	// written "auto", the default: when the answer's time to live is over, at
	// least 1s and at most 1h; every 10s where it is not known, as of a name in
	// the hosts file.
	ResolveInterval time.Duration `yaml:"resolve_interval,auto"`
	// Health asks the servers whether they are well. Nil, the default: nobody
	// asks; "health: {}" does, with every default.
	Health *Health `yaml:"health"`
	// Ejection leaves servers out for a while that connections fail on.
	Ejection Ejection `yaml:"ejection"`
	// PanicThreshold is the share of the servers that must be left; with fewer,
	// all are used, well or not. 0%, the default: only those that are well.
	PanicThreshold Percent `yaml:"panic_threshold"`
	// OnDown is what becomes of the connections to a server that fails its
	// checks. Default "keep".
	OnDown OnDown `yaml:"on_down"`
	// SendProxy is the version of PROXY header sent first. Default "v2".
	SendProxy SendProxy `yaml:"send_proxy"`
	// ProxyTLVs lists what a v2 header also carries, where there is something to
	// say. Default [authority, alpn, ssl, unique_id, crc32c]; netns and the parts
	// of ssl (ssl_sig_alg, ssl_key_alg, ssl_group, ssl_sig_scheme,
	// ssl_client_cert) are there besides.
	ProxyTLVs []ProxyTLV `yaml:"proxy_tlvs"`
	// CustomTLVs are fields of one's own in a v2 header, by their type, 0xE0 to
	// 0xEF. CustomFields returns them as numbers. Empty, the default: none.
	CustomTLVs map[string]Bytes `yaml:"custom_tlvs"`
	// PassTLVs are the fields of an accepted PROXY header that are passed on in
	// a v2 header, in place of those that would be made here. Empty, the default:
	// none.
	PassTLVs []TLVType `yaml:"pass_tlvs"`
	// ConnectTimeout bounds one attempt to reach a server. Default 3s.
	ConnectTimeout time.Duration `yaml:"connect_timeout"`
	// DialTimeout bounds all attempts together, TLS with the server included,
	// waiting in the queue not. Default 10s, or ConnectTimeout if that is longer.
	DialTimeout time.Duration `yaml:"dial_timeout"`
	// Retries is how many more servers are tried after a first one failed,
	// 0 to 100. Default 2.
	Retries int `yaml:"retries"`
	// StartTLS is the protocol in which servers are asked for TLS, before what
	// TLS says, or what a route passes through; no StartTLSAuto. Empty, the
	// default: TLS is begun without a word, but for clients that are passed
	// through: their listener's protocol is their server's, too.
	StartTLS StartTLS `yaml:"starttls"`
	// TLS encrypts what goes to the servers. Nil, the default: it is not;
	// "tls: {}" does, with every default.
	TLS *BackendTLS `yaml:"tls"`
}

// Server is one address in a backend, or as many as its name has.
type Server struct {
	// Address is host:port, unix:/path/of/socket or, for the servers that DNS has
	// under a SRV record, srv://_service._tcp.name. Required.
	Address string `yaml:"address"`
	// Weight is its share against that of others, 0 to 256; 0 takes no new
	// connections. Default 1. Of a SRV record's servers, it is multiplied with
	// the record's weight.
	Weight int `yaml:"weight"`
	// Backup is used only while none of the others can be. Default false.
	Backup bool `yaml:"backup"`
	// MaxConnections is how many it may have at once. 0, the default: no limit.
	MaxConnections int `yaml:"max_connections"`
}

// Queue is where connections wait while every server has its MaxConnections.
type Queue struct {
	// Length is how many may wait; 0: none does. Default 1000.
	Length int `yaml:"length"`
	// Timeout is how long each may. Default 5s.
	Timeout time.Duration `yaml:"timeout"`
}

// Health asks a server whether it is well: by connecting, over TLS where
// connections go over TLS, behind a PROXY header where they have one, and by what
// it then sends, where that is set.
type Health struct {
	// Interval is how often, give or take a tenth. Default 2s.
	Interval time.Duration `yaml:"interval"`
	// Timeout bounds one check whole. Default 1s.
	Timeout time.Duration `yaml:"timeout"`
	// Rise is how many good checks in a row bring a server back. Default 2.
	Rise int `yaml:"rise"`
	// Fall is how many bad ones in a row take it out. Default 3.
	Fall int `yaml:"fall"`
	// Send is what is sent first. Empty, the default: nothing.
	Send Bytes `yaml:"send"`
	// Expect must be among the first bytes that come back, 16k at most. Empty, the
	// default: what comes back is not looked at.
	Expect Bytes `yaml:"expect"`
	// Port is asked in place of the server's own. 0, the default: its own.
	Port int `yaml:"port"`
}

// Ejection leaves a server out that connections fail on, or that resets them
// early, for a while that grows with each time.
type Ejection struct {
	// Failures in a row eject a server; 0: none ever is. Default 5.
	Failures int `yaml:"failures"`
	// Time is how long the first time. Default 10s.
	Time time.Duration `yaml:"time"`
	// MaxTime is how long at most. Default 5m.
	MaxTime time.Duration `yaml:"max_time"`
	// MaxPercent is the share of the servers that may be ejected at once. Default
	// 50%.
	MaxPercent Percent `yaml:"max_percent"`
}

// BackendTLS is how servers are spoken to over TLS.
type BackendTLS struct {
	// CAFile holds the PEM certificates that servers' are verified with. It is
	// read again when it changes. Default: the system's.
	CAFile string `yaml:"ca_file"`
	// ServerName is what servers are asked for by, and their certificates
	// verified with: a host's name or address, or "$name", the default, the name
	// that the client asked for.
	ServerName string `yaml:"server_name"`
	// CertFile and KeyFile are the client certificate, PEM, shown to servers.
	// Both are read again when they change. Optional, but only together.
	CertFile string `yaml:"cert_file"`
	// KeyFile is the private key of CertFile.
	KeyFile string `yaml:"key_file"`
	// InsecureSkipVerify trusts whoever answers. Default false.
	InsecureSkipVerify bool `yaml:"insecure_skip_verify"`
	// PassALPN offers servers the protocol that was negotiated with the client,
	// where one was. Default true. It is of no meaning beside ALPN.
	PassALPN bool `yaml:"pass_alpn"`
	// ALPN lists the protocols offered to servers, whatever the client's. Empty,
	// the default: see PassALPN.
	ALPN []string `yaml:"alpn"`
	// MinVersion is the oldest version spoken. Default "1.2".
	MinVersion TLSVersion `yaml:"min_version"`
}

// ClientName is what BackendTLS.ServerName is for the name that the client asked
// for.
const ClientName = "$name"

// Carries reports whether the header that b's servers get has the TLV.
func (b Backend) Carries(tlv ProxyTLV) bool {
	return b.SendProxy == SendProxyV2 && slices.Contains(b.ProxyTLVs, tlv)
}
