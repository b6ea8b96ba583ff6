package pool

import (
	"cmp"
	"errors"
	"fmt"
	"time"

	"github.com/rs/zerolog"
)

// MaxWeight is the largest weight a server can have.
const MaxWeight = 256

// Options is what a pool is made of.
type Options struct {
	Name    string // of the backend
	Servers []ServerOptions
	Balance Balance
	Queue   Queue
	// SlowStart is how long the weight of a server rises that came up, was enabled, or joined a pool that was at work: from
	// a tenth, in even steps. Servers that are there when the process starts have their weight at once. 0: all do.
	SlowStart time.Duration
	// ResolveInterval is how long after its last answer a name is looked up again, give or take a tenth. 0: as long as the
	// answer lives, at least 1 s and at most 1 h; 10 s where that is not known, as of a name in the hosts file, and of an
	// answer that came by TCP.
	ResolveInterval time.Duration
	// PanicThreshold is a share of the servers that are not backups, in percent: when fewer of them are well, that is taken
	// for the fault of the checks, or for more load than the rest can carry, and all of them are used. Backups that are well
	// come first when no other server is. 0: never, as HAProxy and nginx have it, which is right unless the servers are
	// many: a server that its checks call dead costs a client a connect timeout, and with few servers half of them being
	// dead is nothing out of the way. Envoy's is 50.
	PanicThreshold int
	Ejection       Ejection
	// OnDown, when set, is told of each server that its checks found down. An ejection is none: new connections failing says
	// little about those that are open. It is called with no lock held, and must not block.
	OnDown   func(*Server)
	Resolver Resolver // nil: the system's
	// Log takes a line for each change of a server's state.
	Log zerolog.Logger
}

// ServerOptions is a server as configured.
type ServerOptions struct {
	Address        string // see ParseAddress
	Weight         int    // 0 to MaxWeight; 0: it gets no new connections
	Backup         bool   // used when no other server can be
	MaxConnections int    // at each address that it has; 0: no limit
}

// Queue bounds the connections that wait, for a server with a free place or for the first answer of DNS.
type Queue struct {
	Length  int           // 0: 1024; below 0: none waits
	Timeout time.Duration // 0: 5 s
}

// Ejection says when a server gets no new connections for a while because connections to it failed.
//
// The retry on another server saves such a connection, so that what is at stake is its connect timeout. The numbers of
// the peers: Envoy ejects after 5 in a row for 30 s more each time up to 300 s, and a tenth of the servers at most; nginx
// after 1 for 10 s, all servers if need be; HAProxy (observe layer4) marks it down after 10 until its checks pass again.
type Ejection struct {
	// Failures in a row to connect that eject. One may be a full backlog, or a packet lost. 0: 5; below 0: none do.
	Failures int
	// Resets in a row that eject, by the server before it had sent a byte, from clients of at least ResetClients networks
	// (IPv6: /64): a client may be able to bring a server to reset it, and must not shut others out. 0: 5 and 3; Resets
	// below 0: none do.
	Resets, ResetClients int
	// Base is how long the first ejection lasts, give or take a tenth; each further one lasts twice as long, up to Max. For
	// each stretch as long as its last ejection that a server goes without another, the next is halved again. After an
	// ejection one failure, or one reset, is enough for the next. 0: 10 s and 5 min.
	Base, Max time.Duration
	// MaxEjected is the share of the servers that may be ejected at a time, in percent, rounded down, of backups and others
	// each. The last one that is well is never ejected. 0: 50; below 0: none are.
	MaxEjected int
}

func (o Options) withDefaults() Options {
	o.Queue.Length = cmp.Or(o.Queue.Length, 1024)
	o.Queue.Timeout = cmp.Or(o.Queue.Timeout, 5*time.Second)
	o.Ejection = o.Ejection.withDefaults()
	return o
}

func (e Ejection) withDefaults() Ejection {
	e.Failures = cmp.Or(e.Failures, 5)
	e.Resets = cmp.Or(e.Resets, 5)
	e.ResetClients = cmp.Or(e.ResetClients, 3)
	e.Base = cmp.Or(e.Base, 10*time.Second)
	e.Max = max(e.Base, cmp.Or(e.Max, 5*time.Minute))
	e.MaxEjected = cmp.Or(e.MaxEjected, 50)
	return e
}

// Check returns what New and Update would find wrong.
func (o Options) Check() error {
	_, err := o.parse()
	return err
}

// parse returns the servers' addresses.
func (o Options) parse() ([]Address, error) {
	if err := o.checkNumbers(); err != nil {
		return nil, fmt.Errorf("backend %s: %w", o.Name, err)
	}
	addresses := make([]Address, len(o.Servers))
	seen := make(map[string]bool)
	for i, server := range o.Servers {
		address, err := server.parse()
		if err == nil && seen[address.text] {
			err = errors.New("it is there twice")
		}
		if err != nil {
			return nil, fmt.Errorf("backend %s: server %s: %w", o.Name, server.Address, err)
		}
		addresses[i], seen[address.text] = address, true
	}
	return addresses, nil
}

func (o Options) checkNumbers() error {
	switch {
	case len(o.Servers) == 0:
		return errors.New("it has no servers")
	case int(o.Balance) >= len(balances):
		return fmt.Errorf("balance %d is unknown", o.Balance)
	case o.PanicThreshold < 0 || o.PanicThreshold > 100:
		return fmt.Errorf("panic threshold %d is no percentage", o.PanicThreshold)
	case o.Ejection.MaxEjected > 100:
		return fmt.Errorf("at most %d percent ejected is no percentage", o.Ejection.MaxEjected)
	case min(o.SlowStart, o.ResolveInterval, o.Queue.Timeout, o.Ejection.Base, o.Ejection.Max) < 0:
		return errors.New("a duration is below zero")
	}
	return nil
}

func (o ServerOptions) parse() (Address, error) {
	switch {
	case o.Weight < 0 || o.Weight > MaxWeight:
		return Address{}, fmt.Errorf("weight %d is not from 0 to %d", o.Weight, MaxWeight)
	case o.MaxConnections < 0:
		return Address{}, fmt.Errorf("max_connections %d is below zero", o.MaxConnections)
	}
	return ParseAddress(o.Address)
}
