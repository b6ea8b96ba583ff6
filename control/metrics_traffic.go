package control

import (
	"maps"
	"slices"
	"strconv"
	"time"

	"hellogate/terminate"
)

func (s *Server) trafficMetrics(m metrics) {
	stats := s.options.Traffic.Stats()
	m.gauge("connections_active", "Open connections.", stats.Active)
	m.counter("connections_total", "Connections accepted.", stats.Total)
	m.gauge("connections_limit", "Connections that may be open.", stats.Limit)
	m.gauge("handshakes_active", "Handshakes under way.", stats.Handshaking)
	m.gauge("handshakes_waiting", "Connections that wait for their handshake to begin.", stats.Waiting)
	m.head("handshakes_total", "counter", "Completed handshakes, by what was negotiated.")
	for _, kind := range stats.Handshakes {
		m.line("handshakes_total", kind.Count, "version", kind.Version, "group", kind.Group, "resumed", strconv.FormatBool(kind.Resumed))
	}
	m.head("preambles_total", "counter", "What clients said before their TLS, by the listener's protocol and by what came of it.")
	for _, kind := range stats.Preambles {
		m.line("preambles_total", kind.Count, "protocol", kind.Protocol, "result", kind.Result)
	}
	m.head("cancels_total", "counter", "Requests of PostgreSQL's clients to cancel a query, by what became of them.")
	m.line("cancels_total", stats.Cancels.Passed, "result", "passed")
	m.line("cancels_total", stats.Cancels.Unknown, "result", "unknown")
	m.line("cancels_total", stats.Cancels.Failed, "result", "failed")
	m.head("refused_total", "counter", "Connections that did not end well, by reason.")
	for _, reason := range slices.Sorted(maps.Keys(stats.Refused)) {
		m.line("refused_total", stats.Refused[reason], "reason", reason)
	}
	m.head("bytes_total", "counter", "Plaintext bytes of connections that are over, from and to clients.")
	m.line("bytes_total", stats.BytesIn, "direction", "in")
	m.line("bytes_total", stats.BytesOut, "direction", "out")
	m.head("stage_seconds", "histogram", "How long connections that are over took for a stage.")
	for _, stage := range stats.Stages {
		m.histogram("stage_seconds", stage)
	}
}

// histogram writes the lines of one stage, whose buckets count what the smaller ones have, too.
func (m metrics) histogram(name string, stage terminate.StageTimes) {
	total := uint64(0)
	for i, count := range stage.Buckets {
		total += count
		m.line(name+"_bucket", total, "stage", stage.Stage, "le", boundary(i))
	}
	m.line(name+"_sum", stage.Sum.Seconds(), "stage", stage.Stage)
	m.line(name+"_count", total, "stage", stage.Stage)
}

// boundary is the upper bound of a bucket.
func boundary(bucket int) string {
	if bucket == len(terminate.StageBounds) {
		return "+Inf"
	}
	return strconv.FormatFloat(time.Duration(terminate.StageBounds[bucket]).Seconds(), 'g', -1, 64)
}
