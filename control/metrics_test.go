package control

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"hellogate/terminate"
	"hellogate/terminate/pool"
)

// What connections negotiated and how long they took, and how servers are, is there under these names.
func TestMetricsOfTraffic(t *testing.T) {
	at := time.Now()
	traffic := fakeTraffic{stats: terminate.Stats{
		Handshaking: 4, Waiting: 5,
		Handshakes: []terminate.HandshakeCount{{Version: "TLS 1.3", Group: "X25519MLKEM768", Resumed: true, Count: 6}},
		Preambles:  []terminate.PreambleCount{{Protocol: "auto", Result: "direct", Count: 7}},
		Cancels:    terminate.Cancels{Passed: 1, Unknown: 2, Failed: 3},
		Stages:     []terminate.StageTimes{{Stage: "hello", Sum: 1500 * time.Millisecond}},
	}}
	traffic.stats.Stages[0].Buckets[0], traffic.stats.Stages[0].Buckets[2], traffic.stats.Stages[0].Buckets[len(terminate.StageBounds)] = 1, 2, 3
	_, text, _ := serve(t, func(o *Options) {
		o.Traffic = traffic
		o.Draining = func() bool { return true }
		o.Backends = pools(pool.Status{Name: "mail", Queued: 7, Panic: true, Servers: []pool.ServerStatus{
			{Address: "a:1", Endpoint: "10.0.0.1:1", Weight: 2, Connections: 3, Picked: 10, Failures: 1, EarlyResets: 4, CheckedAt: at, CheckLatency: time.Millisecond},
			{Address: "b:1", State: pool.StateDisabled},
			{Address: "a:1", Endpoint: "10.0.0.2:1", State: pool.StateEjected, Weight: 2, Connections: 4, Picked: 20, CheckedAt: at, CheckLatency: 2 * time.Millisecond, CheckError: "refused"},
		}})
	}).ask(t, "GET", "/metrics", "")
	for _, want := range []string{
		"hellogate_handshakes_active 4", "hellogate_handshakes_waiting 5", "hellogate_connections_limit 100", "hellogate_draining 1", "hellogate_ready 0",
		`hellogate_handshakes_total{version="TLS 1.3",group="X25519MLKEM768",resumed="true"} 6`,
		`hellogate_preambles_total{protocol="auto",result="direct"} 7`, `hellogate_cancels_total{result="passed"} 1`,
		`hellogate_cancels_total{result="unknown"} 2`, `hellogate_cancels_total{result="failed"} 3`,
		`hellogate_stage_seconds_bucket{stage="hello",le="0.0001"} 1`, `hellogate_stage_seconds_bucket{stage="hello",le="0.00025"} 1`,
		`hellogate_stage_seconds_bucket{stage="hello",le="0.0005"} 3`, `hellogate_stage_seconds_bucket{stage="hello",le="10"} 3`,
		`hellogate_stage_seconds_bucket{stage="hello",le="+Inf"} 6`, `hellogate_stage_seconds_sum{stage="hello"} 1.5`, `hellogate_stage_seconds_count{stage="hello"} 6`,
		`hellogate_backend_queued{backend="mail"} 7`, `hellogate_backend_panic{backend="mail"} 1`,
		`hellogate_server_up{backend="mail",server="a:1"} 1`, `hellogate_server_up{backend="mail",server="b:1"} 0`,
		`hellogate_server_state{backend="mail",server="a:1",state="up"} 1`, `hellogate_server_state{backend="mail",server="a:1",state="ejected"} 1`,
		`hellogate_server_state{backend="mail",server="b:1",state="disabled"} 1`, `hellogate_server_state{backend="mail",server="b:1",state="up"} 0`,
		`hellogate_server_weight{backend="mail",server="a:1"} 4`, `hellogate_server_connections{backend="mail",server="a:1"} 7`,
		`hellogate_server_connections_total{backend="mail",server="a:1"} 30`, `hellogate_server_failures_total{backend="mail",server="a:1"} 1`,
		`hellogate_server_early_resets_total{backend="mail",server="a:1"} 4`, `hellogate_server_check_seconds{backend="mail",server="a:1"} 0.002`,
		`hellogate_server_check_failed{backend="mail",server="a:1"} 1`,
		`hellogate_build_info{version="1.2.3",go_version="go1.`, "process_cpu_seconds_total ", "process_start_time_seconds ", "go_goroutines ",
		"go_memstats_heap_alloc_bytes ", "go_gc_cycles_total_gc_cycles_total ",
	} {
		if !strings.Contains("\n"+text, "\n"+want) {
			t.Errorf("no %s", want)
		}
	}
	for _, never := range []string{`check_seconds{backend="mail",server="b:1"}`, "10.0.0.1:1"} {
		if strings.Contains(text, never) {
			t.Errorf("%s is there", never)
		}
	}
	if t.Failed() {
		t.Log(text)
	}
}

// What a server's addresses counted that have left DNS stays counted, and nothing is counted twice.
func TestCountersDoNotFall(t *testing.T) {
	at := func(endpoint string, picked, failures uint64) pool.ServerStatus {
		return pool.ServerStatus{Address: "db:1", Endpoint: endpoint, Picked: picked, Failures: failures}
	}
	status := pool.Status{Name: "db"}
	r := serve(t, func(o *Options) { o.Backends = func() []Pool { return []Pool{fakePool{&status}} } })
	for i, c := range []struct {
		servers         []pool.ServerStatus
		total, failures int
	}{
		{[]pool.ServerStatus{at("10.0.0.1:1", 10, 1), at("10.0.0.2:1", 20, 0)}, 30, 1},
		{[]pool.ServerStatus{at("10.0.0.2:1", 25, 0)}, 30, 1}, // the first took 10 with it; the 5 that are new are not told from it
		{[]pool.ServerStatus{at("10.0.0.2:1", 27, 0), at("10.0.0.3:1", 1, 4)}, 33, 5},
		{[]pool.ServerStatus{at("10.0.0.2:1", 27, 0), at("10.0.0.3:1", 1, 4)}, 33, 5},
		{nil, 0, 0}, // not configured any more
		{[]pool.ServerStatus{at("10.0.0.2:1", 2, 0)}, 2, 0},
	} {
		status.Servers = c.servers
		_, text, _ := r.ask(t, "GET", "/metrics", "")
		for _, want := range []string{
			fmt.Sprintf("hellogate_server_connections_total{backend=\"db\",server=\"db:1\"} %d\n", c.total),
			fmt.Sprintf("hellogate_server_failures_total{backend=\"db\",server=\"db:1\"} %d\n", c.failures),
		} {
			if strings.Contains(text, want) == (c.servers == nil) {
				t.Errorf("%d: of %s: %s", i, want, text[strings.Index(text, "# HELP hellogate_server_up"):])
			}
		}
	}
}

// Where clients say something before their TLS, status and explain tell of it.
func TestStartTLSIsTold(t *testing.T) {
	smtp, err := terminate.ParseStartTLS("smtp")
	if err != nil {
		t.Fatal(err)
	}
	api := serve(t, func(o *Options) { o.Traffic = fakeTraffic{inside: smtp} })
	for path, want := range map[string]string{
		"/status":                            `"listeners":[{"name":"inside","address":"","starttls":"smtp"},{"name":"outside","address":""}]`,
		"/explain/a.example?listener=inside": `"steps":[{"step":"listener","result":"inside, where clients ask for TLS first (starttls: smtp)"},`,
	} {
		if _, text, _ := api.ask(t, "GET", path, ""); !strings.Contains(text, want) {
			t.Errorf("%s: %s", path, text)
		}
	}
}
