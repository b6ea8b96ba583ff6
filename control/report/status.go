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
	"strings"

	"hellogate/control"
)

// Status writes how a hellogate is doing: what is wrong, then the numbers, then some names.
func Status(out io.Writer, status control.Status) error {
	return table(out, func(w io.Writer) {
		headline(w, status)
		numbers(w, status)
		stores(w, status.Stores)
		fmt.Fprintln(w)
		backends(w, status.Backends)
		refused(w, status.Connections.Refused)
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
	fmt.Fprintf(w, "connections\t%d active of %d, %d in the handshake, %d since the start, %s in, %s out\n",
		connections.Active, connections.Limit, connections.Handshaking, connections.Total, size(connections.BytesIn), size(connections.BytesOut))
	fmt.Fprintf(w, "cache\t%d names in %s of %s, %d of them aliases, %d pinned by hand; %d remembered as unknown, %d as failing\n",
		cache.Entries, size(cache.Bytes), size(cache.LimitBytes), cache.Aliases, cache.Pinned, cache.Negative, cache.Failing)
	fmt.Fprintf(w, "look-ups\t%d hits, %d stale, %d pinned, %d misses, %d joined another's fetch, %d limited; %d evicted\n",
		cache.Hits, cache.Stale, cache.PinnedHits, cache.Misses, cache.Coalesced, cache.Limited, cache.Evictions)
	fmt.Fprintf(w, "fetches\t%d, %d of them refreshes, %d failed; %d under way, %d waiting\n",
		cache.Fetches, cache.Refreshes, cache.Failures, cache.Fetching, cache.Queued)
	disk(w, status)
	fmt.Fprintf(w, "process\t%s resident, %s open files, %d goroutines", size(process.RSSBytes), known(process.OpenFiles), process.Goroutines)
	if process.LogDropped > 0 {
		fmt.Fprintf(w, ", %d log lines dropped", process.LogDropped)
	}
	fmt.Fprintf(w, "\nRSA\tsigned by %s", clean(process.RSASignatures))
	if process.RSASignaturesFailed > 0 {
		fmt.Fprintf(w, ", %d that it failed at by Go", process.RSASignaturesFailed)
	}
	fmt.Fprintln(w)
}

func disk(w io.Writer, status control.Status) {
	tier := status.Disk
	if tier == nil {
		return
	}
	fmt.Fprintf(w, "disk\t%s: %d names in %s, %d taken from it, %d written", clean(tier.Path), tier.Records, size(tier.FileBytes), status.Cache.Loaded, tier.Written)
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
	fmt.Fprint(w, "\nSTORE\tBREAKER\tREQUESTS\tUNKNOWN\tFAILED\tCUT OFF\tLAST ERROR\n")
	for _, store := range list {
		state := store.Breaker
		if store.RetryIn > 0 {
			state += ", retry in " + duration(store.RetryIn)
		}
		fmt.Fprintf(w, "%s\t%s\t%d\t%d\t%d\t%d\t%s\n", clean(store.Name), state, store.Requests, store.Unknown, store.Failed, store.CutOff, clean(cmp.Or(store.LastError, "-")))
	}
}

// Backends writes the state of the pools.
func Backends(out io.Writer, list []control.Backend) error {
	return table(out, func(w io.Writer) { backends(w, list) })
}

func backends(w io.Writer, list []control.Backend) {
	fmt.Fprint(w, "BACKEND\tSERVER\tSTATE\tCONNECTIONS\tFAILURES\tLAST ERROR\n")
	for _, backend := range list {
		for _, server := range backend.Servers {
			fmt.Fprintf(w, "%s\t%s\t%s\t%d\t%d\t%s\n", clean(backend.Name), clean(server.Address), server.State, server.Connections, server.Failures, clean(cmp.Or(server.LastError, "-")))
		}
	}
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
