package pool

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
)

// maxEndpoints bounds what one name stands for: an answer over TCP has room for thousands.
const maxEndpoints = 256

// answers asks DNS what an address stands for. It remembers the hosts that an SRV record named, for the time when one of
// them can't be looked up.
type answers struct {
	address Address
	hosts   map[string][]netip.Addr
}

// lookup may return both, what it found and what went wrong with the rest.
func (a *answers) lookup(ctx context.Context, resolver Resolver) ([]endpoint, error) {
	ctx, cancel := context.WithTimeout(ctx, lookupTimeout)
	defer cancel()
	ask := a.lookupHost
	if a.address.srv {
		ask = a.lookupSRV
	}
	found, err := ask(ctx, resolver)
	slices.SortStableFunc(found, func(x, y endpoint) int { return cmp.Compare(x.address, y.address) })
	if len(found) > maxEndpoints {
		err = errors.Join(err, fmt.Errorf("look up %s: it has %d addresses, of which %d are used", a.address, len(found), maxEndpoints))
		found = found[:maxEndpoints]
	}
	return found, err
}

func (a *answers) lookupHost(ctx context.Context, resolver Resolver) ([]endpoint, error) {
	found, err := resolver.LookupNetIP(ctx, "ip", a.address.host)
	if err != nil {
		return nil, fmt.Errorf("look up %s: %w", a.address.host, err)
	}
	return endpoints(found, net.SRV{Port: a.address.port}), nil
}

// endpoints are the places that a host has, an SRV record says how.
func endpoints(addresses []netip.Addr, record net.SRV) []endpoint {
	var found []endpoint
	for _, ip := range addresses {
		place := tcpEndpoint(netip.AddrPortFrom(ip.Unmap(), record.Port))
		place.weight = int(record.Weight)
		found = append(found, place)
	}
	return found
}

// lookupSRV asks for the records, and for the hosts in them.
func (a *answers) lookupSRV(ctx context.Context, resolver Resolver) ([]endpoint, error) {
	_, records, err := resolver.LookupSRV(ctx, "", "", a.address.host)
	if err != nil && len(records) == 0 { // with records, it says that others were malformed
		return nil, fmt.Errorf("look up SRV records of %s: %w", a.address.host, err)
	}
	records = slices.DeleteFunc(slices.Clone(records), func(record *net.SRV) bool { return record.Target == "." || record.Port == 0 })
	slices.SortStableFunc(records, func(x, y *net.SRV) int { return cmp.Compare(x.Priority, y.Priority) })
	heaviest := heaviest(records)
	hosts := make(map[string][]netip.Addr)
	var found []endpoint
	var failed error
	for _, record := range records {
		addresses, err := a.host(ctx, resolver, record.Target)
		if failed == nil {
			failed = err
		}
		hosts[record.Target] = addresses
		for _, place := range endpoints(addresses, net.SRV{Port: record.Port, Weight: scaled(record.Weight, heaviest)}) {
			place.backup = record.Priority != records[0].Priority
			found = append(found, place)
		}
	}
	a.hosts = hosts
	return found, failed
}

// host looks up a host of an SRV record. The last answer stands when there is no new one.
func (a *answers) host(ctx context.Context, resolver Resolver, name string) ([]netip.Addr, error) {
	addresses, err := resolver.LookupNetIP(ctx, "ip", name)
	if err != nil {
		return a.hosts[name], fmt.Errorf("look up %s, of the SRV records of %s: %w", name, a.address.host, err)
	}
	return addresses, nil
}

func heaviest(records []*net.SRV) (weight uint16) {
	for _, record := range records {
		weight = max(weight, record.Weight)
	}
	return weight
}

// scaled brings the weight of an SRV record into the range of ours. One of 0 is to be used rarely, beside others (RFC
// 2782), and is the usual one where weights mean nothing.
func scaled(weight, heaviest uint16) uint16 {
	if heaviest > MaxWeight {
		weight = uint16(int(weight) * MaxWeight / int(heaviest))
	}
	return max(weight, 1)
}
