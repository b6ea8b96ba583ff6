package main

import (
	"slices"

	"hellogate/e2e/bench/certs"
	"hellogate/e2e/bench/load"
	"hellogate/e2e/bench/result"
)

// kind is how a test is measured.
type kind int

const (
	rate     kind = iota // processor time of an operation
	hot                  // the same over one name and over many, in turns
	memory               // resident memory of a connection
	flood                // both, of refused names
	names                // resident memory of a name in the cache
	preamble             // processor time of an operation that begins with TLS, and that asks for it, in turns
	reload               // time that a new configuration takes
)

// test is a thing that is measured, and how.
type test struct {
	result.Test
	kind        kind
	plan        load.Plan
	operations  int64
	certificate string   // ecdsa or rsa; none: from the store, which hellogate alone can ask
	postQuantum bool     // the proxy is not held to X25519 and P-256
	disk        bool     // what is cached is kept on disk, too
	resumed     bool     // all operations but a few have to be resumed handshakes
	limit       string   // the proxy's that is reached: see setting
	not         []string // proxies that can't do it
}

const (
	microseconds   = "µs"
	milliseconds   = "ms"
	secondsPerGB   = "s/GB"
	kibibytes      = "KiB"
	mebibytes      = "MiB"
	bytesEach      = "B"
	hotOne         = "hot-1"
	hotMany        = "hot-many"
	unknown        = "unknown"
	unknownMemory  = "unknown-rss"
	preambleNone   = "preamble-none"
	preambleAsked  = "preamble-postgres"
	hotNames       = 1000
	hotSlices      = 5
	preambleSlices = 40
	idleTransfer   = 1_000_000
	refusedNames   = 10_000
	ownNames       = 20_000
	ownRoutes      = 10_000
	reloads        = 5
	handshakesEach = "handshake, an echo of one byte, the end"
)

// fixed is the only name that a test with certificates in files asks for.
var fixed = load.Names{Suffix: certs.Name}

// tests are all that can be measured, in the order of the table.
var tests = []test{
	{
		Test:        result.Test{Name: "hs-ecdsa", Unit: microseconds, What: "full " + handshakesEach + "; ECDSA P-256, X25519", Against: result.BestPeer},
		plan:        load.Plan{Mode: load.Handshake, Names: fixed, Connections: 16},
		operations:  5000,
		certificate: "ecdsa",
	},
	{
		Test:        result.Test{Name: "hs-ecdsa-mlkem", Unit: microseconds, What: "the same with X25519MLKEM768; -: can't negotiate it", Against: result.BestPeer},
		plan:        load.Plan{Mode: load.Handshake, Names: fixed, Connections: 16, Group: "X25519MLKEM768"},
		operations:  4000,
		certificate: "ecdsa", postQuantum: true,
	},
	{
		Test:        result.Test{Name: "hs-rsa", Unit: microseconds, What: "full " + handshakesEach + "; RSA-2048, X25519", Against: result.BestPeer},
		plan:        load.Plan{Mode: load.Handshake, Names: fixed, Connections: 16},
		operations:  2000,
		certificate: "rsa",
	},
	{
		Test:        result.Test{Name: "resume", Unit: microseconds, What: "resumed " + handshakesEach, Against: result.BestPeer},
		plan:        load.Plan{Mode: load.Resume, Names: fixed, Connections: 16},
		operations:  5000,
		certificate: "ecdsa", resumed: true,
	},
	{
		Test:        result.Test{Name: "down", Unit: secondsPerGB, What: "bulk from the backend to the client over 4 connections", Against: result.BestPeer},
		plan:        load.Plan{Mode: load.Down, Names: fixed, Connections: 4},
		operations:  2_000_000_000,
		certificate: "ecdsa",
	},
	{
		Test:        result.Test{Name: "up", Unit: secondsPerGB, What: "bulk from the client to the backend over 4 connections", Against: result.BestPeer},
		plan:        load.Plan{Mode: load.Up, Names: fixed, Connections: 4},
		operations:  2_000_000_000,
		certificate: "ecdsa",
	},
	{
		Test: result.Test{
			Name: "passthrough-down", Unit: secondsPerGB, Against: result.HAProxy,
			What: "bulk from the backend to the client over 4 connections that are passed through by the name in their ClientHello; HAProxy with option splice-auto, " +
				"and splice-request and splice-response, without which it rarely splices this; nginx with ssl_preread; behind the ClientHello the bytes are not encrypted, which no proxy looks at",
		},
		plan:        load.Plan{Mode: load.Down, Names: fixed, Connections: 4, Plain: true},
		operations:  4_000_000_000,
		certificate: "ecdsa",
		not:         []string{"hitch"},
	},
	{
		Test: result.Test{
			Name: "passthrough-up", Unit: secondsPerGB, Against: result.HAProxy, What: "the same from the client to the backend",
		},
		plan:        load.Plan{Mode: load.Up, Names: fixed, Connections: 4, Plain: true},
		operations:  4_000_000_000,
		certificate: "ecdsa",
		not:         []string{"hitch"},
	},
	{
		Test:        result.Test{Name: "pingpong", Unit: microseconds, What: "64 bytes and their echo, on 50 connections", Against: result.BestPeer},
		plan:        load.Plan{Mode: load.PingPong, Names: fixed, Connections: 50},
		operations:  80_000,
		certificate: "ecdsa",
	},
	{
		Test:        result.Test{Name: "idle", Unit: kibibytes, What: "resident memory of an idle connection, of {connections}, {settle} after the last was made", Against: result.HAProxy},
		kind:        memory,
		plan:        load.Plan{Mode: load.Hold, Names: fixed},
		certificate: "ecdsa",
	},
	{
		Test:        result.Test{Name: "idle-1mb", Unit: kibibytes, What: "the same after each connection moved 1 MB each way, of {connections-1mb}", Against: result.HAProxy},
		kind:        memory,
		plan:        load.Plan{Mode: load.Hold, Names: fixed, Transfer: idleTransfer},
		certificate: "ecdsa",
	},
	{
		Test:       result.Test{Name: "cold-miss", Unit: microseconds, What: "full " + handshakesEach + ", for a name never seen, fetched from a store over HTTP; hellogate's share"},
		plan:       load.Plan{Mode: load.Handshake, Names: load.Names{Prefix: "c", Suffix: certs.NewNames}, Connections: 16},
		operations: 3000,
	},
	{
		Test:       result.Test{Name: hotOne, Unit: microseconds, What: "full " + handshakesEach + ", with one name in the cache"},
		kind:       hot,
		plan:       load.Plan{Mode: load.Handshake, Connections: 16},
		operations: 2500,
	},
	{
		Test: result.Test{Name: hotMany, Unit: microseconds, What: "the same over {hot} names, with {names} in the cache", Against: hotOne},
		kind: hot,
	},
	{
		Test:        result.Test{Name: preambleNone, Unit: microseconds, What: "resumed " + handshakesEach + ", beside preamble-postgres"},
		kind:        preamble,
		plan:        load.Plan{Mode: load.Resume, Names: fixed, Connections: 16},
		operations:  500,
		certificate: "ecdsa", resumed: true,
		not: result.Peers,
	},
	{
		Test: result.Test{
			Name: preambleAsked, Unit: microseconds, Against: preambleNone,
			What: "the same with PostgreSQL's request for TLS before it, at a listener with starttls: postgres, and PostgreSQL's first message and its answer, with a key, in place of the echo; in turns, over one instance",
		},
		kind: preamble,
	},
	{
		Test:       result.Test{Name: unknown, Unit: microseconds, What: "a handshake refused with alert 112, for a name that the store does not know"},
		kind:       flood,
		plan:       load.Plan{Mode: load.Refused, Names: load.Names{Prefix: "u", Suffix: certs.UnknownNames}, Connections: 16},
		operations: refusedNames,
	},
	{
		Test: result.Test{Name: unknownMemory, Unit: mebibytes, What: "resident memory gained by {refused} of those, {settle} later"},
		kind: flood,
	},
	{
		Test: result.Test{
			Name: "refuse", Unit: microseconds, Against: result.HAProxy,
			What: "a connection refused at accept, as limits.connections is reached; HAProxy with tcp-request connection reject, nginx with deny; the flood is what one processor makes of it",
		},
		plan:        load.Plan{Mode: load.Limited, Connections: 16},
		operations:  50_000,
		certificate: "ecdsa", limit: "connections",
		not: []string{"hitch"},
	},
	{
		Test: result.Test{
			Name: "refuse-ip", Unit: microseconds, Against: result.HAProxy,
			What: "the same, as limits.connections_per_ip is reached; HAProxy with tcp-request connection reject if sc0_conn_cur is too high, nginx with limit_conn",
		},
		plan:        load.Plan{Mode: load.Limited, Connections: 16},
		operations:  50_000,
		certificate: "ecdsa", limit: "connections_per_ip",
		not: []string{"hitch"},
	},
	{
		Test: result.Test{
			Name: "reload", Unit: milliseconds,
			What: "time of a reload with {routes} routes, half of them new, and {connections} connections, each of which has a byte echoed afterwards; hellogate's alone: no peer swaps its configuration within a process",
		},
		kind:        reload,
		plan:        load.Plan{Mode: load.Keep, Names: fixed},
		certificate: "ecdsa",
		not:         result.Peers,
	},
	{
		Test: result.Test{Name: "name-ecdsa", Unit: bytesEach, What: "resident memory of a name in the cache with an ECDSA P-256 certificate of its own under a shared intermediate, of {own}, {settle} after the last was fetched"},
		kind: names,
		plan: load.Plan{Mode: load.Handshake, Names: load.Names{Prefix: "k", Suffix: certs.KeptNames}},
	},
	{
		Test: result.Test{Name: "name-rsa", Unit: bytesEach, What: "the same with RSA-2048 certificates"},
		kind: names,
		plan: load.Plan{Mode: load.Handshake, Names: load.Names{Prefix: "r", Suffix: certs.KeptRSANames}},
	},
	{
		Test: result.Test{Name: "name-ecdsa-disk", Unit: bytesEach, What: "name-ecdsa with the disk tier, without the pages of its file"},
		kind: names, disk: true,
		plan: load.Plan{Mode: load.Handshake, Names: load.Names{Prefix: "k", Suffix: certs.KeptNames}},
	},
	{
		Test: result.Test{Name: "name-rsa-disk", Unit: bytesEach, What: "name-rsa with the disk tier, without the pages of its file"},
		kind: names, disk: true,
		plan: load.Plan{Mode: load.Handshake, Names: load.Names{Prefix: "r", Suffix: certs.KeptRSANames}},
	},
}

func testNames() (names []string) {
	for _, t := range tests {
		names = append(names, t.Name)
	}
	return names
}

// selected are the tests of a kind that were asked for. One of a pair that is measured together brings the other.
func selected(o options, kinds ...kind) (chosen []test) {
	for _, t := range tests {
		switch {
		case !slices.Contains(kinds, t.kind) || t.plan.Mode == "":
		case t.kind == hot && wanted(o.tests, hotMany), t.kind == flood && wanted(o.tests, unknownMemory),
			t.kind == preamble && wanted(o.tests, preambleAsked), wanted(o.tests, t.Name):
			chosen = append(chosen, t)
		}
	}
	return chosen
}

// value is a measured round in the test's unit.
func (t test) value(processorSeconds float64, operations int64) float64 {
	if t.Unit == secondsPerGB {
		return processorSeconds * 1e9 / float64(operations)
	}
	return processorSeconds * 1e6 / float64(operations)
}
