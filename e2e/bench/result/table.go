package result

import (
	"fmt"
	"io"
	"math"
	"slices"
	"strings"
	"text/tabwriter"
)

// Print prints the report for people: what was measured on, a table for each number of threads, and what to know when
// reading it.
func (r *Report) Print(w io.Writer, markdown bool) error {
	rows := Summarize(r.Tests, r.Runs)
	var text strings.Builder
	for _, line := range r.Machine.lines() {
		text.WriteString(line + "\n")
	}
	for _, threads := range threadCounts(r.Runs) {
		fmt.Fprintf(&text, "\n%s:\n\n", count(threads, "thread"))
		table := r.table(rows, threads)
		if markdown {
			writeMarkdown(&text, table)
		} else {
			writePlain(&text, table)
		}
	}
	for _, note := range r.notes(rows) {
		text.WriteString("\n" + note + "\n")
	}
	_, err := io.WriteString(w, text.String())
	return err
}

func (m Machine) lines() []string {
	first := fmt.Sprintf("%s, %s of %s, Linux %s, hellogate built with %s",
		m.Date.Format("2006-01-02"), count(m.Processors, "processor"), m.Processor, m.Kernel, m.Go)
	if m.Revision != "" {
		first += " from " + m.Revision
	}
	var versions []string
	for _, peer := range Peers {
		if version := m.Versions[peer]; version != "" {
			versions = append(versions, version)
		}
	}
	lines := []string{first}
	if len(versions) > 0 {
		lines = append(lines, "peers: "+strings.Join(versions, "; "))
	}
	return append(lines, m.Placement...)
}

// table gives the cells of one number of threads as text, the heading first.
func (r *Report) table(rows []Row, threads int) [][]string {
	proxies := r.proxies()
	table := [][]string{append(append([]string{"test", "unit"}, proxies...), "ratio", "")}
	for _, row := range rows {
		if row.Threads != threads {
			continue
		}
		test := r.Tests[slices.IndexFunc(r.Tests, func(t Test) bool { return t.Name == row.Test })]
		line := []string{test.Name, test.Unit}
		for _, proxy := range proxies {
			cell, measured := row.Cells[proxy]
			line = append(line, cell.text(measured))
		}
		table = append(table, append(line, row.comparison()...))
	}
	return table
}

// proxies are the columns: the peers, then whatever else was measured, hellogate last.
func (r *Report) proxies() []string {
	measured := map[string]bool{}
	for _, run := range r.Runs {
		measured[run.Proxy] = true
	}
	var columns, others []string
	for proxy := range measured {
		if proxy != Hellogate && !slices.Contains(Peers, proxy) {
			others = append(others, proxy)
		}
	}
	slices.Sort(others)
	for _, proxy := range slices.Concat(Peers, others, []string{Hellogate}) {
		if measured[proxy] {
			columns = append(columns, proxy)
		}
	}
	return columns
}

func (c Cell) text(measured bool) string {
	switch {
	case !measured:
		return ""
	case c.Runs == 0 && c.Failed > 0:
		return "failed"
	case c.Runs == 0:
		return "-"
	}
	text := Number(c.Median)
	if c.Runs > 1 {
		text += fmt.Sprintf(" ±%.0f%%", 100*c.Spread())
	}
	if c.Failed > 0 || c.Disturbed > 0 {
		text += " !"
	}
	return text
}

func (r Row) comparison() []string {
	if r.Verdict == "" {
		return []string{"", ""}
	}
	return []string{fmt.Sprintf("%.2f of %s", r.Ratio, r.Against), r.Verdict}
}

// Number writes a value with three significant digits, or all that stand before the point.
func Number(value float64) string {
	if value == 0 {
		return "0"
	}
	decimals := 2 - int(math.Floor(math.Log10(math.Abs(value))))
	return fmt.Sprintf("%.*f", min(max(decimals, 0), 3), value)
}

func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

func writePlain(w io.Writer, table [][]string) {
	aligned := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, line := range table {
		fmt.Fprintln(aligned, strings.Join(line, "\t"))
	}
	aligned.Flush()
}

func writeMarkdown(w io.Writer, table [][]string) {
	for i, line := range table {
		fmt.Fprintf(w, "| %s |\n", strings.Join(line, " | "))
		if i == 0 {
			fmt.Fprintln(w, strings.Repeat("|---", len(line))+"|")
		}
	}
}
