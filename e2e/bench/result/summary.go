package result

import (
	"cmp"
	"math"
	"slices"
)

// Verdicts on hellogate.
const (
	Ahead  = "ahead"
	Behind = "behind"
	Tie    = "tie"
)

// tieShare is the difference below which two medians are a tie however little their runs spread: from one start of a
// process to the next, the placement of its memory alone moves a figure by some per cent.
const tieShare = 0.08

// Row is what the runs of one test, on one number of threads, come to.
type Row struct {
	Test    string          `json:"test"`
	Threads int             `json:"threads"`
	Cells   map[string]Cell `json:"cells"`             // by proxy
	Against string          `json:"against,omitempty"` // the peer, or the test, that hellogate is compared with
	Ratio   float64         `json:"ratio,omitempty"`   // hellogate's median by that one's
	Verdict string          `json:"verdict,omitempty"`
}

// Cell is what the runs of one proxy come to. Those that failed don't count, and those that were disturbed don't
// where two that weren't are left.
type Cell struct {
	Median      float64 `json:"median"`
	Min         float64 `json:"min"`
	Max         float64 `json:"max"`
	Runs        int     `json:"runs"`
	Failed      int     `json:"failed,omitempty"`
	Disturbed   int     `json:"disturbed,omitempty"` // that count
	Unsupported bool    `json:"unsupported,omitempty"`
}

// Spread is how far the outermost run is from the median, as a share of it.
func (c Cell) Spread() float64 {
	if c.Median == 0 {
		return 0
	}
	return max(c.Max-c.Median, c.Median-c.Min) / math.Abs(c.Median)
}

// Summarize gives a row for each test and number of threads that there are runs of, by threads, then as tests are.
func Summarize(tests []Test, runs []Run) []Row {
	var rows []Row
	for _, threads := range threadCounts(runs) {
		first := len(rows)
		for _, test := range tests {
			cells := cellsOf(test.Name, threads, runs)
			if len(cells) > 0 {
				rows = append(rows, Row{Test: test.Name, Threads: threads, Cells: cells})
			}
		}
		compareRows(rows[first:], tests)
	}
	return rows
}

func threadCounts(runs []Run) []int {
	var counts []int
	for _, run := range runs {
		if !slices.Contains(counts, run.Threads) {
			counts = append(counts, run.Threads)
		}
	}
	slices.Sort(counts)
	return counts
}

func cellsOf(test string, threads int, runs []Run) map[string]Cell {
	byProxy := map[string][]Run{}
	for _, run := range runs {
		if run.Test == test && run.Threads == threads {
			byProxy[run.Proxy] = append(byProxy[run.Proxy], run)
		}
	}
	cells := map[string]Cell{}
	for proxy, runs := range byProxy {
		cells[proxy] = cellOf(runs)
	}
	return cells
}

func cellOf(runs []Run) (cell Cell) {
	var quiet, all []float64
	for _, run := range runs {
		switch {
		case run.Unsupported:
			cell.Unsupported = true
			continue
		case run.Error != "":
			cell.Failed++
			continue
		case run.Disturbed:
			cell.Disturbed++
		default:
			quiet = append(quiet, run.Value)
		}
		all = append(all, run.Value)
	}
	if len(quiet) >= 2 {
		all, cell.Disturbed = quiet, 0
	}
	if cell.Runs = len(all); cell.Runs > 0 {
		cell.Median, cell.Min, cell.Max = Median(all), slices.Min(all), slices.Max(all)
	}
	return cell
}

// Median is the middle one of values, or the mean of the middle two. There has to be one.
func Median(values []float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	middle := len(sorted) / 2
	if len(sorted)%2 == 1 {
		return sorted[middle]
	}
	return (sorted[middle-1] + sorted[middle]) / 2
}

// compareRows compares hellogate in each row with what its test says. The rows are of one number of threads.
func compareRows(rows []Row, tests []Test) {
	for i := range rows {
		row := &rows[i]
		test := tests[slices.IndexFunc(tests, func(t Test) bool { return t.Name == row.Test })]
		name, other := opponent(test, *row, rows)
		mine := row.Cells[Hellogate]
		if mine.Runs == 0 || other.Runs == 0 || mine.Median <= 0 || other.Median <= 0 {
			continue
		}
		row.Against, row.Ratio, row.Verdict = name, mine.Median/other.Median, verdict(mine, other)
	}
}

func opponent(test Test, row Row, rows []Row) (name string, cell Cell) {
	switch {
	case test.Against == BestPeer:
		return bestPeer(row)
	case slices.Contains(Peers, test.Against):
		return test.Against, row.Cells[test.Against]
	}
	for _, other := range rows {
		if other.Test == test.Against {
			return other.Test, other.Cells[Hellogate]
		}
	}
	return "", Cell{}
}

func bestPeer(row Row) (name string, cell Cell) {
	measured := slices.DeleteFunc(slices.Clone(Peers), func(peer string) bool { return row.Cells[peer].Runs == 0 })
	if len(measured) == 0 {
		return "", Cell{}
	}
	name = slices.MinFunc(measured, func(a, b string) int { return cmp.Compare(row.Cells[a].Median, row.Cells[b].Median) })
	return name, row.Cells[name]
}

// verdict is a tie when the medians differ by less than tieShare, or when any run of the one is on the other side of
// any run of the other: when their ranges overlap.
func verdict(mine, other Cell) string {
	overlap := mine.Min <= other.Max && other.Min <= mine.Max
	switch {
	case overlap, math.Abs(mine.Median/other.Median-1) < tieShare:
		return Tie
	case mine.Median < other.Median:
		return Ahead
	}
	return Behind
}
