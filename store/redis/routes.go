package redis

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/redis/rueidis"
)

// slots is the number of slots of a cluster.
const slots = 16384

// routes say which server has a key.
type routes struct {
	// masters are the addresses of all the servers that have keys, in order, each once.
	masters []string
	spans   []span // empty: the only master has every key
}

// span says where the slots from first to last are.
type span struct {
	first, last int64
	address     string
}

func (r *routes) owner(key string) (string, error) {
	if len(r.spans) == 0 {
		return r.masters[0], nil
	}
	number := int64(slot(key))
	for _, span := range r.spans {
		if span.first <= number && number <= span.last {
			return span.address, nil
		}
	}
	return "", fail("no node of the cluster has slot %d", number)
}

// slot is the slot of a key: CRC-16/XMODEM of it, or of what stands in its first braces.
func slot(key string) uint16 {
	if _, behind, found := strings.Cut(key, "{"); found {
		if tag, _, closed := strings.Cut(behind, "}"); closed && tag != "" {
			key = tag
		}
	}
	var sum uint16
	for i := range len(key) {
		sum ^= uint16(key[i]) << 8
		for range 8 {
			carry := sum&0x8000 != 0
			if sum <<= 1; carry {
				sum ^= 0x1021
			}
		}
	}
	return sum % slots
}

// fixed reports whether the configuration says where the only server is.
func (s *servers) fixed() bool { return !s.cluster && s.master == "" }

// routes returns where the keys are, as far as it is known.
func (s *servers) routes(ctx context.Context) (*routes, error) {
	if s.fixed() {
		return &routes{masters: s.place.addresses}, nil
	}
	s.mu.Lock()
	found := s.found
	if found == nil {
		found = &making[*routes]{done: make(chan struct{})}
		if err := s.spawnLocked(func() { s.find(found) }); err != nil {
			s.mu.Unlock()
			return nil, err
		}
		s.found = found
	}
	s.mu.Unlock()
	return found.wait(ctx)
}

func (s *servers) find(found *making[*routes]) {
	defer close(found.done)
	ctx, cancel := context.WithTimeout(context.Background(), s.timeout)
	defer cancel()
	if found.value, found.err = s.lookUp(ctx); found.err != nil {
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.found == found {
			s.found = nil
		}
	}
}

// forget has the routes looked up again, unless somebody did since.
func (s *servers) forget(old *routes) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.found != nil && s.found.isDone() && s.found.value == old {
		s.found = nil
	}
}

// renew looks up the routes now and returns them; they take the place of those that are known.
func (s *servers) renew(ctx context.Context) (*routes, error) {
	if s.fixed() {
		return s.routes(ctx)
	}
	found, err := s.lookUp(ctx)
	if err != nil {
		return nil, err
	}
	made := &making[*routes]{done: make(chan struct{}), value: found}
	close(made.done)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.found = made
	return found, nil
}

// lookUp asks those that should know, one after another.
func (s *servers) lookUp(ctx context.Context) (*routes, error) {
	var errs error
	addresses := s.knowing()
	for i, address := range addresses {
		limited, cancel := context.WithTimeout(ctx, s.timeout/time.Duration(len(addresses)-i))
		found, err := s.lookUpAt(limited, address)
		cancel()
		if err == nil {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.known = found.masters
			return found, nil
		}
		if err = fmt.Errorf("%s: %w", address, err); errs != nil {
			err = fmt.Errorf("%w; %w", errs, err)
		}
		errs = err
	}
	return nil, errs
}

// knowing returns who should know: those configured, and of a cluster also those it had, which may have replaced them.
func (s *servers) knowing() []string {
	addresses := slices.Clone(s.place.addresses)
	if !s.cluster {
		return addresses
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, address := range s.known {
		if !slices.Contains(addresses, address) {
			addresses = append(addresses, address)
		}
	}
	return addresses
}

func (s *servers) lookUpAt(ctx context.Context, address string) (*routes, error) {
	peer := peer{address: address, sentinel: s.master != ""}
	client, err := s.client(ctx, peer)
	if err != nil {
		return nil, err
	}
	words := []string{"CLUSTER", "SLOTS"}
	if peer.sentinel {
		words = []string{"SENTINEL", "GET-MASTER-ADDR-BY-NAME", s.master}
	}
	results, err := s.exchange(ctx, client, question{words: words})
	if err == nil {
		err = results[0].Error()
	}
	if _, answered := refusal(err); err != nil && !answered && !rueidis.IsRedisNil(err) {
		s.drop(peer, client)
	}
	switch {
	case rueidis.IsRedisNil(err):
		return nil, fail("the sentinel knows no master %q", s.master)
	case err != nil:
		return nil, err
	case peer.sentinel:
		return parseMaster(results[0])
	}
	return parseSlots(results[0], address)
}

func parseMaster(result rueidis.RedisResult) (*routes, error) {
	parts, err := result.AsStrSlice()
	if err != nil || len(parts) != 2 {
		return nil, malformed("the sentinel's address of the master")
	}
	address, err := withPort(net.JoinHostPort(parts[0], parts[1]), "")
	if err != nil {
		return nil, malformed("the sentinel's address of the master")
	}
	return &routes{masters: []string{address}}, nil
}

var errSlots = malformed("the answer to CLUSTER SLOTS")

// parseSlots reads the answer to CLUSTER SLOTS that the node at asked gave.
func parseSlots(result rueidis.RedisResult, asked string) (*routes, error) {
	ranges, err := result.ToArray()
	if err != nil {
		return nil, errSlots
	}
	found := &routes{}
	for _, entry := range ranges {
		span, err := parseSpan(entry, asked)
		if err != nil {
			return nil, err
		}
		found.spans = append(found.spans, span)
		found.masters = append(found.masters, span.address)
	}
	if len(found.spans) == 0 {
		return nil, fail("the cluster has no slots yet")
	}
	slices.Sort(found.masters)
	found.masters = slices.Compact(found.masters)
	return found, nil
}

// parseSpan reads [first, last, [host, port, ...], replicas...].
func parseSpan(entry rueidis.RedisMessage, asked string) (span, error) {
	parts, err := entry.ToArray()
	if err != nil || len(parts) < 3 {
		return span{}, errSlots
	}
	first, firstErr := parts[0].ToInt64()
	last, lastErr := parts[1].ToInt64()
	master, masterErr := parts[2].ToArray()
	if errors.Join(firstErr, lastErr, masterErr) != nil || len(master) < 2 || first < 0 || last < first || last >= slots {
		return span{}, errSlots
	}
	host, err := master[0].ToString()
	if err != nil && !master[0].IsNil() {
		return span{}, errSlots
	}
	if host == "" {
		// The node does not know how others see it: as we did.
		host, _, _ = net.SplitHostPort(asked)
	}
	port, err := master[1].ToInt64()
	if err != nil {
		return span{}, errSlots
	}
	address, err := withPort(net.JoinHostPort(host, strconv.FormatInt(port, 10)), "")
	if err != nil {
		return span{}, errSlots
	}
	return span{first: first, last: last, address: address}, nil
}
