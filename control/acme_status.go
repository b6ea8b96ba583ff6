package control

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"hellogate/cache"
)

// ACMEStatus is how a store that orders certificates is doing.
type ACMEStatus struct {
	Store    string         `json:"store"`
	Names    map[string]int `json:"names"`              // by state
	Expiring int            `json:"expiring"`           // of them, those whose renewal failed and that are in the last tenth of their life
	NextAt   *time.Time     `json:"next_at,omitempty"`  // when the next is due or tried again
	Troubled []ACMEName     `json:"troubled,omitempty"` // the first to expire first, up to 20
}

// orderLooks remembers the last look at what stores order for a few seconds.
type orderLooks struct {
	mu   sync.Mutex
	at   time.Time
	last []ACMEStatus
}

func (s *Server) acmeStatuses(now time.Time) []ACMEStatus {
	looks := &s.orders
	looks.mu.Lock()
	defer looks.mu.Unlock()
	if looks.at.IsZero() || now.Sub(looks.at) >= looksEvery {
		looks.at, looks.last = now, nil
		for _, orders := range s.acme() {
			looks.last = append(looks.last, acmeStatusOf(orders, now))
		}
	}
	return looks.last
}

func acmeStatusOf(orders ACME, now time.Time) ACMEStatus {
	status := ACMEStatus{Store: orders.Name(), Names: map[string]int{}}
	for name := range orders.Names() {
		status.Names[name.State]++
		if name.NextAt != nil && (status.NextAt == nil || name.NextAt.Before(*status.NextAt)) {
			status.NextAt = name.NextAt
		}
		if name.State == ACMEFailed || name.State == ACMEExpired {
			status.Expiring += count(name.expiring(now))
			status.keep(name)
		}
	}
	return status
}

// expiring reports whether a name whose renewal fails has a certificate that will soon be none.
func (n ACMEName) expiring(now time.Time) bool {
	if n.NotAfter == nil || n.DueAt == nil || n.State == ACMEExpired {
		return false
	}
	// It is due at a third of its life, as a rule.
	left, renewal := n.NotAfter.Sub(now), n.NotAfter.Sub(*n.DueAt)
	return left < renewal*3/10
}

func (s *ACMEStatus) keep(name ACMEName) {
	at, _ := slices.BinarySearchFunc(s.Troubled, name, func(a, b ACMEName) int {
		return cmp.Or(a.end().Compare(b.end()), strings.Compare(a.Name, b.Name))
	})
	if at < sampleSize {
		s.Troubled = slices.Insert(s.Troubled, at, name)
		s.Troubled = s.Troubled[:min(len(s.Troubled), sampleSize)]
	}
}

// end is when a name is without a certificate; the zero time: it is already.
func (n ACMEName) end() time.Time {
	if n.NotAfter == nil {
		return time.Time{}
	}
	return *n.NotAfter
}

// acmeProblems says in words what is wrong with what stores order.
func acmeProblems(statuses []ACMEStatus) (list []string) {
	for _, status := range statuses {
		for _, each := range []struct {
			count     int
			one, many string
		}{
			{status.Names[ACMEExpired], "certificate has expired and could not be renewed", "certificates have expired and could not be renewed"},
			{status.Expiring, "certificate expires soon and could not be renewed", "certificates expire soon and could not be renewed"},
			{status.Names[ACMEFailed] - status.Expiring, "name's order failed at the last try", "names' orders failed at the last try"},
		} {
			if each.count > 0 {
				list = append(list, fmt.Sprintf("acme %s: %s", status.Store, Numbered(each.count, each.one, each.many)))
			}
		}
	}
	return list
}

// orderOf is what is known of the order for a certificate in the cache; nil: its store orders none.
func (s *Server) orderOf(ctx context.Context, info cache.Info) *ACMEName {
	_, found, ok := s.ordersFor(ctx, info.Name)
	if !ok || found.Store != info.Store {
		return nil
	}
	return &found
}

// ordered says when a name is renewed, what its last try did and when the next is.
func (s *Server) ordered(ctx context.Context, explanation *Explanation) {
	if _, found, ok := s.ordersFor(ctx, explanation.Name); ok {
		explanation.add("acme", found.Describe(time.Now()))
	}
}

// Describe says in words how a name is, as from now.
func (n ACMEName) Describe(now time.Time) string {
	parts := []string{n.State}
	if n.NotAfter != nil {
		parts[0] += " until " + n.NotAfter.UTC().Format(time.RFC3339)
	}
	if n.DueAt != nil && n.State != ACMEFailed {
		parts = append(parts, "due "+n.DueAt.UTC().Format(time.RFC3339))
	}
	if last := n.Last; last != nil && last.At != nil {
		text := fmt.Sprintf("last try %v ago: %s", now.Sub(*last.At).Round(time.Second), cmp.Or(last.Error, last.Result))
		if steps := len(last.Steps); steps > 0 && last.Error != "" {
			text += " (after " + cmp.Or(last.Steps[steps-1].Type, "nothing") + ")"
		}
		parts = append(parts, text)
	}
	if n.Errors > 0 {
		parts = append(parts, Numbered(n.Errors, "error", "errors")+" in a row")
	}
	if n.NextAt != nil && (n.DueAt == nil || !n.NextAt.Equal(*n.DueAt)) {
		parts = append(parts, "next try "+n.NextAt.UTC().Format(time.RFC3339))
	}
	if n.Name != "" && strings.HasPrefix(n.Name, "*.") {
		parts[0] = n.Name + " " + parts[0]
	}
	return strings.Join(parts, "; ")
}

// acmeMetrics are those of the stores that order. A name is no label.
func (s *Server) acmeMetrics(m metrics) {
	statuses := s.acmeStatuses(time.Now())
	if len(statuses) == 0 {
		return
	}
	m.head("acme_orders_total", "counter", "Orders of certificates that ended, by what came of them.")
	for _, orders := range s.acme() {
		counts := orders.Orders()
		for _, result := range slices.Sorted(maps.Keys(counts)) {
			m.line("acme_orders_total", counts[result], "store", orders.Name(), "result", result)
		}
	}
	m.head("acme_names", "gauge", "Names that certificates are ordered for, by state.")
	for _, status := range statuses {
		for _, state := range acmeStates {
			m.line("acme_names", status.Names[state], "store", status.Store, "state", state)
		}
	}
	m.head("acme_expiring", "gauge", "Certificates that expire soon and could not be renewed.")
	for _, status := range statuses {
		m.line("acme_expiring", status.Expiring, "store", status.Store)
	}
	m.head("acme_next_timestamp_seconds", "gauge", "When the next certificate is due, or tried again.")
	for _, status := range statuses {
		if status.NextAt != nil {
			m.line("acme_next_timestamp_seconds", status.NextAt.Unix(), "store", status.Store)
		}
	}
}
