// Package report writes what the control API says for people at a terminal.
//
// The rule it guards: what somebody looks for at three in the morning comes first, and nothing from outside
// reaches the terminal unescaped.
package report

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"

	"hellogate/control"
)

// Status writes how a hellogate is doing: what is wrong, then the numbers, then some names.
func Status(out io.Writer, status control.Status) error {
	return table(out, func(w io.Writer) {
		headline(w, status)
		numbers(w, status)
		stores(w, status.Stores)
		orders(w, status.ACME)
		permission(w, status.Permission)
		fmt.Fprintln(w)
		backends(w, status.Backends)
		refused(w, status.Connections.Refused)
		troubledOrders(w, status.ACME)
		certificates(w, "CERTIFICATES IN TROUBLE", status.Troubled)
		certificates(w, sample(status), status.Names)
	})
}

func headline(w io.Writer, status control.Status) {
	fmt.Fprintf(w, "%s: hellogate %s, up %s, pid %d\n", strings.ToUpper(status.State), clean(status.Version), duration(status.Uptime), status.Process.PID)
	for _, problem := range status.Problems {
		fmt.Fprintf(w, "  ! %s\n", clean(problem))
	}
	fmt.Fprintln(w)
}

func numbers(w io.Writer, status control.Status) {
	connections, cache, process := status.Connections, status.Cache, status.Process
	fmt.Fprintf(w, "connections\t%d active of %d, %s in the handshake, %d since the start, %s in, %s out\n",
		connections.Active, connections.Limit, handshakes(connections), connections.Total, size(connections.BytesIn), size(connections.BytesOut))
	listeners(w, status.Listeners)
	fmt.Fprintf(w, "cache\t%s in %s of %s, %s, %d pinned by hand; %d remembered as unknown, %d as failing\n",
		names(cache.Entries), size(cache.Bytes), size(cache.LimitBytes), control.Numbered(cache.Aliases, "of them an alias", "of them aliases"),
		cache.Pinned, cache.Negative, cache.Failing)
	fmt.Fprintf(w, "look-ups\t%s, %d stale, %d pinned, %s, %d joined another's fetch, %d limited; %d evicted\n",
		control.Numbered(cache.Hits, "hit", "hits"), cache.Stale, cache.PinnedHits, control.Numbered(cache.Misses, "miss", "misses"),
		cache.Coalesced, cache.Limited, cache.Evictions)
	fmt.Fprintf(w, "fetches\t%d, %s, %d failed; %d under way, %d waiting\n",
		cache.Fetches, control.Numbered(cache.Refreshes, "of them a refresh", "of them refreshes"), cache.Failures, cache.Fetching, cache.Queued)
	disk(w, status)
	fmt.Fprintf(w, "process\t%s resident, %s, %s", size(process.RSSBytes), openFiles(process.OpenFiles), control.Numbered(process.Goroutines, "goroutine", "goroutines"))
	if process.LogDropped > 0 {
		fmt.Fprintf(w, ", %s dropped", control.Numbered(process.LogDropped, "log line", "log lines"))
	}
	fmt.Fprintf(w, "\nRSA\tsigned by %s", clean(process.RSASignatures))
	if process.RSASignaturesFailed > 0 {
		fmt.Fprintf(w, ", %d that it failed at by Go", process.RSASignaturesFailed)
	}
	fmt.Fprintln(w)
}

// listeners tells of those whose clients say something before their TLS.
func listeners(w io.Writer, all []control.Listener) {
	for _, l := range all {
		if l.StartTLS != "" {
			fmt.Fprintf(w, "listener\t%s: starttls %s\n", clean(l.Name), clean(l.StartTLS))
		}
	}
}

// handshakes says how many are under way, and how many wait for that.
func handshakes(connections control.Connections) string {
	text := strconv.FormatInt(connections.Handshaking, 10)
	if connections.Waiting > 0 {
		text += fmt.Sprintf(" (and %d waiting)", connections.Waiting)
	}
	return text
}

func disk(w io.Writer, status control.Status) {
	tier := status.Disk
	if tier == nil {
		return
	}
	fmt.Fprintf(w, "disk\t%s: %s in %s, %d taken from it, %d written", clean(tier.Path), names(tier.Records), size(tier.FileBytes), status.Cache.Loaded, tier.Written)
	if tier.Damaged > 0 {
		fmt.Fprintf(w, ", %d damaged", tier.Damaged)
	}
	if tier.Dropped > 0 {
		fmt.Fprintf(w, ", %d not written", tier.Dropped)
	}
	if tier.LastError != "" {
		fmt.Fprintf(w, "; fails with %s", clean(tier.LastError))
	}
	fmt.Fprintln(w)
}

func stores(w io.Writer, list []control.StoreStatus) {
	fmt.Fprint(w, "\nSTORE\tBREAKER\tREQUESTS\tUNKNOWN\tFAILED\tCUT OFF\tWATCHING\tLAST ERROR\n")
	for _, store := range list {
		fmt.Fprintf(w, "%s\t%s\t%d\t%d\t%d\t%d\t%s\t%s\n", clean(store.Name), guard(store.Breaker, store.RetryIn),
			store.Requests, store.Unknown, store.Failed, store.CutOff, watching(store), clean(cmp.Or(store.LastError, "-")))
	}
	for _, store := range list {
		if store.WatchProblem != "" {
			fmt.Fprintf(w, "%s: changes: %s\n", clean(store.Name), clean(store.WatchProblem))
		}
	}
}

// guard is the state of a breaker.
func guard(state string, retryIn int64) string {
	if retryIn > 0 {
		state += ", retry in " + duration(retryIn)
	}
	return state
}

// watching says whether changes in a store are seen; - is that it can't tell of any.
func watching(store control.StoreStatus) string {
	switch {
	case store.Watching == nil:
		return "-"
	case *store.Watching:
		return "yes"
	}
	return "no"
}

func permission(w io.Writer, status *control.PermissionStatus) {
	if status == nil {
		return
	}
	fmt.Fprint(w, "\nPERMISSION\tBREAKER\tYES\tNO\tFAILED\tCUT OFF\tREMEMBERED\tLAST ERROR\n")
	fmt.Fprintf(w, "%s\t%s\t%d\t%d\t%d\t%d\t%d\t%s\n", clean(status.URL), guard(status.Breaker, status.RetryIn),
		status.Yes, status.No, status.Failed, status.CutOff, status.Remembered, clean(cmp.Or(status.LastError, "-")))
}

func refused(w io.Writer, reasons map[string]uint64) {
	if len(reasons) == 0 {
		return
	}
	fmt.Fprint(w, "\nENDED EARLY\tCONNECTIONS\n")
	byCount := func(a, b string) int { return cmp.Or(cmp.Compare(reasons[b], reasons[a]), cmp.Compare(a, b)) }
	for _, reason := range slices.SortedFunc(maps.Keys(reasons), byCount) {
		fmt.Fprintf(w, "%s\t%d\n", clean(reason), reasons[reason])
	}
}

func certificates(w io.Writer, title string, certs []control.Cert) {
	if len(certs) == 0 {
		return
	}
	fmt.Fprintf(w, "\n%s\tFROM\tRE-FETCH IN\tEXPIRES IN\tNOTE\n", title)
	for _, cert := range certs {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", cert.Name, origin(cert), refetch(cert), duration(cert.ExpiresIn), note(cert))
	}
}

func sample(status control.Status) string {
	if len(status.Names) < status.Cache.Entries {
		return fmt.Sprintf("NAME (%d of %d)", len(status.Names), status.Cache.Entries)
	}
	return "NAME"
}
