package result

import (
	"fmt"
	"strings"
)

// notes say how the table is read and what went wrong.
func (r *Report) notes(rows []Row) []string {
	notes := []string{
		fmt.Sprintf("Median ± the outermost run, of %s. Lower is better. The ratio is hellogate's median by the other's; "+
			"a tie is a difference under %.0f %%, or ranges of runs that overlap.", count(r.Settings.Repetitions, "repetition"), 100*tieShare),
	}
	if legend := r.legend(rows); legend != "" {
		notes = append(notes, legend)
	}
	if marked(rows) {
		notes = append(notes, fmt.Sprintf("!: with runs that failed, and do not count, or that other processes disturbed (with more than %.2f processors), and do.", r.Settings.MaxForeign))
	}
	var failed []string
	for _, run := range r.Runs {
		if run.Error != "" {
			failed = append(failed, fmt.Sprintf("failed: %s, %s, %s: %s", run.Test, run.Proxy, count(run.Threads, "thread"), run.Error))
		}
	}
	if len(failed) > 0 {
		notes = append(notes, strings.Join(failed, "\n"))
	}
	return notes
}

// legend says what the tests that were run are.
func (r *Report) legend(rows []Row) string {
	shown := map[string]bool{}
	for _, row := range rows {
		shown[row.Test] = true
	}
	var lines []string
	for _, test := range r.Tests {
		if shown[test.Name] {
			lines = append(lines, fmt.Sprintf("- %s: %s", test.Name, test.What))
		}
	}
	return strings.Join(lines, "\n")
}

func marked(rows []Row) bool {
	for _, row := range rows {
		for _, cell := range row.Cells {
			if cell.Failed > 0 || cell.Disturbed > 0 {
				return true
			}
		}
	}
	return false
}

// Failed counts the runs that could not be measured.
func (r *Report) Failed() (failed int) {
	for _, run := range r.Runs {
		if run.Error != "" {
			failed++
		}
	}
	return failed
}
