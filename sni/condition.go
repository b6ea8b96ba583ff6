package sni

import (
	"fmt"
	"net/netip"
	"slices"
)

// A Query is what is known of a client when its route is picked.
type Query struct {
	Name      string     // accepted by [Normalize]; empty when the client sent none
	Protocols []string   // that it offers (ALPN)
	Client    netip.Addr // the zero Addr fulfils no condition on addresses
	Listener  string     // the name of the one that it came in at
}

// A Condition is something that a rule asks of a client.
type Condition string

// The conditions.
const (
	ConditionName     Condition = "name" // of a regular expression; patterns that do not match are not looked at
	ConditionALPN     Condition = "alpn"
	ConditionClient   Condition = "client_ips"
	ConditionListener Condition = "listeners"
)

// conditions are what a rule asks besides the name. Each kind that is not empty
// must hold; nil asks for nothing.
type conditions struct {
	protocols []string // any of them; sorted, each once
	clients   clients
	listeners []string // any of them; sorted, each once
}

func newConditions(protocols, listeners []string, ranges []netip.Prefix) (*conditions, error) {
	if i := slices.IndexFunc(ranges, func(r netip.Prefix) bool { return !r.IsValid() }); i >= 0 {
		return nil, fmt.Errorf("no range of addresses: %v", ranges[i])
	}
	made := &conditions{sorted(protocols), newClients(ranges), sorted(listeners)}
	if made.count() == 0 {
		return nil, nil
	}
	return made, nil
}

func sorted(texts []string) []string {
	texts = slices.Clone(texts)
	slices.Sort(texts)
	return slices.Compact(texts)
}

// count returns how many kinds of conditions there are.
func (c *conditions) count() int {
	count := 0
	if c == nil {
		return count
	}
	for _, length := range []int{len(c.protocols), len(c.clients.v4) + len(c.clients.v6), len(c.listeners)} {
		count += min(length, 1)
	}
	return count
}

func (c *conditions) hold(query *Query) bool {
	return c == nil || c.holdProtocols(query) && c.holdClient(query) && c.holdListener(query)
}

func (c *conditions) holdProtocols(query *Query) bool {
	if len(c.protocols) == 0 {
		return true
	}
	for _, offered := range query.Protocols {
		if slices.Contains(c.protocols, offered) {
			return true
		}
	}
	return false
}

func (c *conditions) holdClient(query *Query) bool {
	return c.clients.empty() || c.clients.contains(query.Client)
}

func (c *conditions) holdListener(query *Query) bool {
	return len(c.listeners) == 0 || slices.Contains(c.listeners, query.Listener)
}

// missed returns the conditions that do not hold.
func (c *conditions) missed(query *Query) []Condition {
	var missed []Condition
	if c == nil {
		return missed
	}
	if !c.holdProtocols(query) {
		missed = append(missed, ConditionALPN)
	}
	if !c.holdClient(query) {
		missed = append(missed, ConditionClient)
	}
	if !c.holdListener(query) {
		missed = append(missed, ConditionListener)
	}
	return missed
}

// takes reports whether c holds for every client that other holds for, each kind
// of condition looked at by itself.
func (c *conditions) takes(other *conditions) bool {
	switch {
	case c == nil:
		return true
	case other == nil:
		return false
	}
	return (c.clients.empty() || !other.clients.empty() && c.clients.coversAll(other.clients)) &&
		includes(c.protocols, other.protocols) && includes(c.listeners, other.listeners)
}

// includes reports whether any of wide is a condition that holds wherever any of
// narrow does. None is no condition.
func includes(wide, narrow []string) bool {
	if len(wide) == 0 {
		return true
	}
	return len(narrow) > 0 && !slices.ContainsFunc(narrow, func(text string) bool { return !slices.Contains(wide, text) })
}

func (c *conditions) equal(other *conditions) bool { return c.takes(other) && other.takes(c) }
