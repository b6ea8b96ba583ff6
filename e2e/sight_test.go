package e2e

import (
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// sight is what is told of a certificate besides certStatus.
type sight struct {
	certStatus
	AliasOf string   `json:"alias_of"`
	TookMS  float64  `json:"took_ms"`
	Remarks []string `json:"remarks"`
}

// explain runs the command and gives its text, and the results of its steps by their names.
func (g *gate) explain(name string) (text string, steps map[string]string) {
	g.t.Helper()
	text = g.ctl("explain", name).stdout
	var answer struct {
		Steps []struct{ Step, Result string }
	}
	g.get("/explain/"+name, &answer)
	steps = make(map[string]string)
	for _, step := range answer.Steps {
		steps[step.Step] = step.Result
	}
	return text, steps
}

// wantText checks that a text has each of the patterns.
func wantText(t testing.TB, what, text string, patterns ...string) {
	t.Helper()
	for _, pattern := range patterns {
		if !regexp.MustCompile(pattern).MatchString(text) {
			t.Errorf("%s: no %q in:\n%s", what, pattern, text)
		}
	}
}

// Of several stores, it is told which one answered, when, how long it took, and when it is asked again.
func TestWhichStoreAnswered(t *testing.T) {
	t.Parallel()
	first, second, backend := newStore(t), newStore(t), newBackend(t, echo)
	first.on("a.example", status(404))
	second.on("a.example", after(60*time.Millisecond, second.serveIssued))
	g := start(t, usesBackend(backend.address), fmt.Sprintf(
		"stores: [{name: customers, http: {url: %q}}, {name: archive, http: {url: %q}}]", first.url(), second.url()))
	g.visit("a.example")
	var got sight
	g.get("/certs/a.example", &got)
	if age := time.Since(got.FetchedAt); got.Store != "archive" || got.TookMS < 60 || got.TookMS > 15_000 || age < -time.Second || age > time.Minute {
		t.Errorf("told %+v", got)
	}
	wantText(t, "cert show", g.ctl("cert", "show", "a.example").stdout,
		`from +fetched from archive`, `fetched +20\d\d-.*, in \d+\.\d ms`, `re-fetch in +\d+h`, `expires +20\d\d-.*, in 11h 59m`)
	wantText(t, "cert ls", g.ctl("cert", "ls").stdout, `(?m)^NAME .* STORE`, `(?m)^a\.example +fetched +\d+s +\d+\.\d ms +\d+h.* archive `)
	wantText(t, "status", g.ctl("status").stdout,
		`(?m)^customers +closed +1 +1 +0`, `(?m)^archive +closed +1 +0 +0`, `(?m)^a\.example +fetched from archive`)
	text, _ := g.explain("a.example")
	wantText(t, "explain", text, `fetched from archive \d+s ago in \d+\.\d ms, ecdsa-p256 certificate, asked for again in \d+h`)
}

// The last error of a refresh is told wherever the name is, and status says first that something is wrong.
func TestLastError(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "cache: {ttl: 1s, min_ttl: 1s}")
	w.visit("a.example")
	w.store.on("a.example", status(500))
	w.eventually("the error is told", func() bool { return w.status().Names[0].LastError != "" })
	w.eventually("status begins with it", func() bool {
		return strings.HasPrefix(w.ctl("status").stdout, "DEGRADED") &&
			strings.Contains(w.ctl("status").stdout, "! certificates: 1 could not be fetched again")
	})
	for _, arguments := range [][]string{{"cert", "show", "a.example"}, {"cert", "ls"}, {"status"}, {"explain", "a.example"}} {
		wantExit(t, fmt.Sprint(arguments), w.ctl(arguments...), 0, "500 Internal Server Error")
	}
}

// A chain without its intermediate is served, but said to be wrong; so is a certificate that asks for a stapled OCSP response,
// which it does not get.
func TestOddCertificates(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	alone := ca().issue([]string{"alone.example"})
	alone.chain = alone.chain[:1]
	staple := ca().issue([]string{"staple.example"}, func(c *x509.Certificate) {
		feature := must(asn1.Marshal([]int{5})) // status_request, RFC 7633
		c.ExtraExtensions = append(c.ExtraExtensions, pkix.Extension{Id: asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 1, 24}, Value: feature})
	})
	w.store.on("alone.example", bundle(alone))
	w.store.on("staple.example", bundle(staple))
	w.visit("a.example")
	for name, remark := range map[string]string{"alone.example": "intermediate certificate is missing", "staple.example": "stapled OCSP response"} {
		c := w.dial(name, anyCertificate)
		if stapled := c.ConnectionState().OCSPResponse; len(stapled) != 0 {
			t.Errorf("%s: %d bytes were stapled", name, len(stapled))
		}
		c.Close()
		w.await("warning of "+name, func(e entry) bool {
			return e.text("level") == "warn" && e.text("name") == name && strings.Contains(e.text("reason"), remark)
		})
		for _, arguments := range [][]string{{"cert", "show", name}, {"cert", "ls", name}, {"status"}, {"explain", name}} {
			wantExit(t, fmt.Sprint(arguments), w.ctl(arguments...), 0, remark)
		}
	}
	var fine sight
	if w.get("/certs/a.example", &fine); len(fine.Remarks) != 0 {
		t.Errorf("of a good one it is remarked: %q", fine.Remarks)
	}
}

// explain says why a name that a cached certificate lists gets none of it, and of which one it is an alias where it does.
func TestWhyNoAlias(t *testing.T) {
	t.Parallel()
	trusting := fmt.Sprintf("cache: {alias_ca_file: %q}", ca().rootFile(t))
	for overrides, want := range map[string]string{
		"cache: {san_aliases: verified}": `alias +no: the certificate of a\.example names it, but .*(unknown authority|not trusted)`,
		"cache: {san_aliases: off}":      `alias +no: the certificate of a\.example names it, but .*off`,
		trusting:                         `alias +of a\.example, whose certificate names it`,
	} {
		w := newWorld(t, overrides)
		w.store.on("a.example", bundle(ca().issue([]string{"a.example", "b.example"})))
		w.visit("a.example")
		text, _ := w.explain("b.example")
		wantText(t, overrides, text, want)
		if overrides == trusting {
			wantText(t, "cert ls", w.ctl("cert", "ls", "b.example").stdout, `alias of a\.example`)
		}
	}
}

// explain has a step for a wildcard that answers, or says why it does not, and one for permission.
func TestExplainWildcardAndPermission(t *testing.T) {
	t.Parallel()
	p := newPermits(t)
	p.on("denied.example", status(403))
	w := newWorld(t, p.setting(), fmt.Sprintf("cache: {wildcards: true, alias_ca_file: %q}", ca().rootFile(t)))
	w.store.on("a.wild.example", bundle(ca().issue([]string{"a.wild.example", "*.wild.example"})))
	w.visit("a.wild.example")
	text, steps := w.explain("b.wild.example")
	wantText(t, "explain of what a wildcard covers", text, `served`, `wildcard +by \*\.wild\.example`)
	if steps["cached"] != "no" {
		t.Errorf("steps %q", steps)
	}
	w.visit("b.wild.example")
	w.store.wantRequests(t, "b.wild.example", 0)
	p.wantQuestions(t, "b.wild.example", 0)

	if _, steps := w.explain("new.example"); steps["permission"] != "would be asked" || steps["store"] != "would be asked" {
		t.Errorf("of a new name: %q", steps)
	}
	w.refused("denied.example", alertUnrecognizedName)
	text, _ = w.explain("denied.example")
	wantText(t, "explain of a denied name", text, `refused with alert 112 .*: permission for it is denied`, `(?m)^permission +no, as remembered`)
	wantExit(t, "explain --fetch", w.ctl("explain", "new.example", "--fetch"), 0, "fetched", "served from the cache")
}

// cert ls --expiring lists what expires within a time, and nothing else.
func TestExpiringWithin(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.store.on("week.example", bundle(ca().issue([]string{"week.example"}, valid(-time.Hour, 6*24*time.Hour))))
	w.store.on("month.example", bundle(ca().issue([]string{"month.example"}, valid(-time.Hour, 30*24*time.Hour))))
	w.store.on("day.example", bundle(ca().issue([]string{"day.example"}, valid(-time.Hour, 20*time.Hour))))
	for _, name := range []string{"week.example", "month.example", "day.example"} {
		w.visit(name)
	}
	for within, want := range map[string][]string{
		"7d": {"day.example", "week.example"}, "24h": {"day.example"}, "1h": nil, "31d": {"day.example", "month.example", "week.example"},
	} {
		got := w.ctl("cert", "ls", "--expiring", within)
		wantExit(t, within, got, 0)
		var names []string
		for _, line := range strings.Split(strings.TrimSpace(got.stdout), "\n") {
			if name, _, _ := strings.Cut(line, " "); strings.HasSuffix(name, ".example") {
				names = append(names, name)
			}
		}
		if slices.Sort(names); !slices.Equal(names, want) {
			t.Errorf("within %s: %q, want %q", within, names, want)
		}
	}
	for _, wrong := range []string{"soon", "-1h", ""} {
		if got := w.ctl("cert", "ls", "--expiring", wrong); got.code != 2 {
			t.Errorf("--expiring %q: exit %d, want 2", wrong, got.code)
		}
	}
}

// status tells of the disk tier: where it is and what it holds.
func TestStatusOfTheDiskTier(t *testing.T) {
	t.Parallel()
	w, tier := newPinWorld(t)
	w.visit("a.example")
	w.eventually("it holds a name", func() bool {
		return regexp.MustCompile(`(?m)^disk +` + regexp.QuoteMeta(tier) + `: 1 name in \d+`).MatchString(w.ctl("status").stdout)
	})
	without := newWorld(t)
	if text := without.ctl("status").stdout; regexp.MustCompile(`(?m)^disk`).MatchString(text) {
		t.Errorf("without cache.dir:\n%s", text)
	}
}

// A disk tier that another process has is a problem that status begins with; clients are served without it, and a pin would
// not last.
func TestStatusWithoutItsDiskTier(t *testing.T) {
	t.Parallel()
	w, tier := newPinWorld(t)
	second := start(t, usesStore(w.store), usesBackend(w.backend.address), fmt.Sprintf("cache: {dir: %q}", tier))
	second.visit("a.example")
	wantText(t, "status", second.ctl("status").stdout, `^DEGRADED`, `! no disk tier, nothing survives a restart: .*`+regexp.QuoteMeta(tier)+`: in use`)
	wantExit(t, "cert put", second.put("a.example", ca().issue([]string{"a.example"})), 1)
	if text := w.ctl("status").stdout; !strings.HasPrefix(text, "OK") {
		t.Errorf("status of the one that has it:\n%s", text)
	}
}

var (
	metricComment = regexp.MustCompile(`^# (HELP|TYPE) ([a-zA-Z_:][a-zA-Z0-9_:]*) (.+)$`)
	metricSample  = regexp.MustCompile(`^([a-zA-Z_:][a-zA-Z0-9_:]*)(\{[^}]*\})? (\S+)$`)
	metricLabels  = regexp.MustCompile(`^\{[a-zA-Z_][a-zA-Z0-9_]*="(?:[^"\\\n]|\\[\\"n])*"(?:,[a-zA-Z_][a-zA-Z0-9_]*="(?:[^"\\\n]|\\[\\"n])*")*\}$`)
)

// parseMetrics reads Prometheus' text format strictly, and gives the values by series.
func parseMetrics(t testing.TB, text string) map[string]float64 {
	t.Helper()
	if !strings.HasSuffix(text, "\n") {
		t.Error("the last line has no end")
	}
	kinds, series, current := map[string]string{}, map[string]float64{}, ""
	for line := range strings.Lines(text) {
		line = strings.TrimSuffix(line, "\n")
		if comment := metricComment.FindStringSubmatch(line); comment != nil {
			if current = comment[2]; comment[1] == "TYPE" {
				if kinds[current] != "" || !slices.Contains([]string{"counter", "gauge", "histogram"}, comment[3]) {
					t.Errorf("again, or of no type: %s", line)
				}
				kinds[current] = comment[3]
			}
			continue
		}
		sample := metricSample.FindStringSubmatch(line)
		if sample == nil || sample[2] != "" && !metricLabels.MatchString(sample[2]) {
			t.Errorf("no sample: %q", line)
			continue
		}
		value, err := strconv.ParseFloat(sample[3], 64)
		_, again := series[sample[1]+sample[2]]
		name := sample[1]
		if kinds[current] == "histogram" {
			name = regexp.MustCompile(`_(bucket|sum|count)$`).ReplaceAllString(name, "")
		}
		if err != nil || again || name != current || kinds[current] == "" {
			t.Errorf("no number, again, or not below its type: %q", line)
		}
		series[sample[1]+sample[2]] = value
	}
	return series
}

// /metrics is Prometheus' text format, counts what happened, and has no name of a host anywhere.
func TestMetrics(t *testing.T) {
	t.Parallel()
	w, _ := newPinWorld(t, "lookups: {rate: 1, burst: 2, per_client: 0}")
	wantExit(t, "cert put", w.put("pinned.example", ca().issue([]string{"pinned.example"})), 0)
	w.visit("pinned.example")
	w.store.on("broken.example", status(500))
	w.visit("a.example")
	w.visit("a.example")
	w.refused("broken.example", alertInternalError)
	w.store.onAll(status(404))
	_, _, unknown := w.exhaust("127.0.0.1")
	var text string
	var got map[string]float64
	w.eventually("all connections are over", func() bool {
		text = w.curl("http://localhost/metrics").stdout
		got = parseMetrics(t, text)
		return got["hellogate_connections_active"] == 0
	})
	if strings.Contains(text, ".example") {
		t.Errorf("the name of a host is in:\n%s", text)
	}
	store := fmt.Sprintf("{store=%q,", w.store.url())
	for series, want := range map[string]float64{
		"hellogate_cache_negative":                                                        float64(unknown),
		"hellogate_connections_total":                                                     float64(5 + unknown),
		`hellogate_refused_total{reason="limited"}`:                                       1,
		`hellogate_refused_total{reason="no_cert"}`:                                       float64(unknown),
		`hellogate_bytes_total{direction="in"}`:                                           float64(len("hello pinned.example") + 2*len("hello a.example")),
		`hellogate_certificates_total{source="hit"}`:                                      1,
		`hellogate_certificates_total{source="pinned"}`:                                   1,
		`hellogate_certificates_total{source="limited"}`:                                  1,
		"hellogate_store_requests_total" + store + `result="bundle"}`:                     1,
		"hellogate_store_requests_total" + store + `result="failed"}`:                     1,
		"hellogate_store_requests_total" + store + `result="unknown"}`:                    float64(unknown),
		"hellogate_breaker_state" + store + `state="closed"}`:                             1,
		"hellogate_breaker_state" + store + `state="open"}`:                               0,
		fmt.Sprintf("hellogate_server_up{backend=\"main\",server=%q}", w.backend.address): 1,
		"hellogate_cache_entries":                                                         2,
		"hellogate_cache_pinned":                                                          1,
	} {
		if value, there := got[series]; !there || value != want {
			t.Errorf("%s is %v (%v), want %v", series, value, there, want)
		}
	}
	if got["hellogate_cache_bytes"] <= 0 {
		t.Error("the cache takes no bytes")
	}
}
