package control

import (
	"bytes"
	"fmt"
	"net/http"
	"strings"

	"hellogate/breaker"
)

// getMetrics answers in Prometheus' text format. No label has a value that clients or stores could make up: a host name is
// never a label.
func (s *Server) getMetrics(w http.ResponseWriter, r *http.Request) {
	if err := parameters(r); err != nil {
		refuse(w, http.StatusBadRequest, err)
		return
	}
	w.Header().Set("Content-Type", "text/plain; version=0.0.4")
	var text bytes.Buffer // one write, and what is looked at is not held up by who reads
	m := metrics{&text, "hellogate_"}
	s.buildMetrics(m)
	s.trafficMetrics(m)
	s.cacheMetrics(m)
	s.diskMetrics(m)
	s.permissionMetrics(m)
	s.storeMetrics(m)
	s.acmeMetrics(m)
	s.hookMetrics(m)
	s.backendMetrics(m)
	s.processMetrics(metrics{&text, ""})
	w.Write(text.Bytes())
}

// metrics writes metrics, their names with what they all begin with.
type metrics struct {
	out    *bytes.Buffer
	prefix string
}

// head begins a metric.
func (m metrics) head(name, kind, help string) {
	fmt.Fprintf(m.out, "# HELP %[1]s%[2]s %[3]s\n# TYPE %[1]s%[2]s %[4]s\n", m.prefix, name, help, kind)
}

// line writes a value, with labels given as name, value and so on.
func (m metrics) line(name string, value any, labels ...string) {
	pairs := make([]string, 0, len(labels)/2)
	for i := 0; i+1 < len(labels); i += 2 {
		pairs = append(pairs, labels[i]+`="`+escapeLabel.Replace(labels[i+1])+`"`)
	}
	text := ""
	if len(pairs) > 0 {
		text = "{" + strings.Join(pairs, ",") + "}"
	}
	fmt.Fprintf(m.out, "%s%s%s %v\n", m.prefix, name, text, value)
}

var escapeLabel = strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`)

func (m metrics) gauge(name, help string, value any) {
	m.head(name, "gauge", help)
	m.line(name, value)
}

func (m metrics) counter(name, help string, value any) {
	m.head(name, "counter", help)
	m.line(name, value)
}

func (s *Server) cacheMetrics(m metrics) {
	stats := s.options.Certificates.Stats()
	m.gauge("cache_entries", "Names that have a certificate.", stats.Entries)
	m.gauge("cache_bytes", "Memory that the cache takes.", stats.Bytes)
	m.gauge("cache_limit_bytes", "Memory that the cache may take.", stats.LimitBytes)
	m.gauge("cache_negative", "Names that a no is remembered of.", stats.Negative)
	m.gauge("cache_failing", "Names that a failure is remembered of.", stats.Failing)
	m.gauge("cache_withdrawn", "Names that are served although their store denies them.", stats.Withdrawn)
	m.gauge("cache_pinned", "Names whose certificate was put there by hand.", stats.Pinned)
	m.head("certificates_total", "counter", "Look-ups, by what answered them.")
	for _, source := range []struct {
		name  string
		count uint64
	}{
		{"hit", stats.Hits},
		{"stale", stats.Stale},
		{"pinned", stats.PinnedHits},
		{"miss", stats.Misses + stats.Coalesced},
		{"remembered", stats.Remembered},
		{"limited", stats.Limited},
	} {
		m.line("certificates_total", source.count, "source", source.name)
	}
	m.counter("cache_evictions_total", "Names that had to make room.", stats.Evictions)
	m.counter("cache_refreshes_total", "Requests to stores that no client waited for.", stats.Refreshes)
	m.counter("cache_loaded_total", "Names that were taken from the disk tier.", stats.Loaded)
}

func (s *Server) diskMetrics(m metrics) {
	disk := s.disk()
	if disk == nil {
		return
	}
	m.gauge("disk_records", "Names in the disk tier.", disk.Records)
	m.gauge("disk_bytes", "Size of the disk tier's file.", disk.FileBytes)
	m.gauge("disk_failing", "Whether the disk tier can't be written to.", one(disk.LastError != ""))
	m.counter("disk_written_total", "Records written to the disk tier.", disk.Written)
	m.counter("disk_dropped_total", "Records that could not be written to the disk tier.", disk.Dropped)
	m.counter("disk_damaged_total", "Records of the disk tier that were found damaged.", disk.Damaged)
}

func (s *Server) permissionMetrics(m metrics) {
	status := s.permission()
	if status == nil {
		return
	}
	m.head("permission_total", "counter", "Questions whether a name may be looked up, by what came of them.")
	for _, result := range []struct {
		name  string
		count uint64
	}{
		{"yes", status.Yes},
		{"no", status.No},
		{"failed", status.Failed},
		{"cut_off", status.CutOff},
		{"remembered", status.Remembered},
	} {
		m.line("permission_total", result.count, "result", result.name)
	}
	m.gauge("permission_held", "Names whose permission is remembered.", status.Held)
	m.head("permission_breaker_state", "gauge", "1 for the state that permission's breaker is in.")
	for _, state := range states {
		m.line("permission_breaker_state", one(status.Breaker == state.String()), "state", state.String())
	}
}

func (s *Server) hookMetrics(m metrics) {
	if s.options.Hooks == nil {
		return
	}
	stats := s.options.Hooks.Stats()
	m.head("hooks_total", "counter", "Events for the command, by what came of its call.")
	m.line("hooks_total", stats.Runs-stats.Failed, "result", "ok")
	m.line("hooks_total", stats.Failed, "result", "failed")
	m.line("hooks_total", stats.Dropped, "result", "dropped")
}

// states are those of a breaker.
var states = []breaker.State{breaker.Closed, breaker.Open, breaker.HalfOpen}

func (s *Server) storeMetrics(m metrics) {
	m.head("store_requests_total", "counter", "Requests to a store, by what came of them.")
	list := s.storeList()
	for _, store := range list {
		status := store.Status()
		for _, result := range []struct {
			name  string
			count uint64
		}{
			{"bundle", status.Requests - status.Unknown - status.Failed - status.CutOff},
			{"unknown", status.Unknown},
			{"failed", status.Failed},
			{"cut_off", status.CutOff},
		} {
			m.line("store_requests_total", result.count, "store", status.Name, "result", result.name)
		}
	}
	m.head("breaker_state", "gauge", "1 for the state that a store's breaker is in.")
	for _, store := range list {
		status := store.Status()
		for _, state := range states {
			m.line("breaker_state", one(status.State == state), "store", status.Name, "state", state.String())
		}
	}
	m.head("store_watching", "gauge", "Whether changes in a store that can tell of them are seen.")
	for _, store := range s.stores() {
		if store.Watching != nil {
			m.line("store_watching", one(*store.Watching), "store", store.Name)
		}
	}
}

func one(is bool) int {
	if is {
		return 1
	}
	return 0
}
