package result

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

var sample = &Report{
	Machine: Machine{
		Date: time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC), Processor: "a processor", Processors: 2, Kernel: "6.18", Go: "go1.26.8",
		Revision: "0123456789ab+", Versions: map[string]string{HAProxy: "HAProxy version 2.6", "nginx": "nginx/1.22"},
		Placement: []string{"threads 1: the proxy on processor [0]"},
	},
	Settings: Settings{Repetitions: 2, MaxForeign: .1},
	Tests: []Test{
		{Name: "hs", Unit: "µs", What: "a handshake", Against: BestPeer},
		{Name: "mlkem", Unit: "µs", What: "another", Against: BestPeer},
		{Name: "cold", Unit: "µs", What: "a miss"},
		{Name: "idle", Unit: "KiB", What: "never run"},
	},
	Runs: []Run{
		{Test: "hs", Proxy: Hellogate, Threads: 1, Value: 210},
		{Test: "hs", Proxy: Hellogate, Threads: 1, Value: 230},
		{Test: "hs", Proxy: HAProxy, Threads: 1, Value: 319},
		{Test: "hs", Proxy: "nginx", Threads: 1, Value: 290, Disturbed: true},
		{Test: "mlkem", Proxy: Hellogate, Threads: 1, Value: 310},
		{Test: "mlkem", Proxy: HAProxy, Threads: 1, Unsupported: true},
		{Test: "mlkem", Proxy: "nginx", Threads: 1, Error: "no port"},
		{Test: "cold", Proxy: Hellogate, Threads: 2, Value: 600},
	},
}

const sampleHead = `2026-11-22, 2 processors of a processor, Linux 6.18, hellogate built with go1.26.8 from 0123456789ab+
peers: HAProxy version 2.6; nginx/1.22
threads 1: the proxy on processor [0]

1 thread:

`

const sampleNotes = `
Median ± the outermost run, of 2 repetitions. Lower is better. The ratio is hellogate's median by the other's; a tie is a difference under 8 %, or ranges of runs that overlap.

- hs: a handshake
- mlkem: another
- cold: a miss

!: with runs that failed, and do not count, or that other processes disturbed (with more than 0.10 processors), and do.

failed: mlkem, nginx, 1 thread: no port
`

func TestPrintPlain(t *testing.T) {
	const want = sampleHead + `test   unit  haproxy  nginx   hellogate  ratio          |
hs     µs    319      290 !   220 ±5%    0.76 of nginx  ahead
mlkem  µs    -        failed  310                       |

2 threads:

test  unit  haproxy  nginx  hellogate  ratio  |
cold  µs                    600               |
` + sampleNotes
	// The bars stand for the ends of lines that would end in blanks.
	checkPrint(t, false, strings.ReplaceAll(want, "|\n", "\n"))
}

func TestPrintMarkdown(t *testing.T) {
	checkPrint(t, true, sampleHead+`| test | unit | haproxy | nginx | hellogate | ratio |  |
|---|---|---|---|---|---|---|
| hs | µs | 319 | 290 ! | 220 ±5% | 0.76 of nginx | ahead |
| mlkem | µs | - | failed | 310 |  |  |

2 threads:

| test | unit | haproxy | nginx | hellogate | ratio |  |
|---|---|---|---|---|---|---|
| cold | µs |  |  | 600 |  |  |
`+sampleNotes)
}

func checkPrint(t *testing.T, markdown bool, want string) {
	t.Helper()
	var text strings.Builder
	if err := sample.Print(&text, markdown); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, text.String()); diff != "" {
		t.Error(diff)
	}
}
