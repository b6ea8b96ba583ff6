package report

import (
	"bytes"
	"io"
	"text/tabwriter"
)

// table writes what fill writes to w, its columns aligned and without blanks at the ends of lines.
func table(out io.Writer, fill func(w io.Writer)) error {
	var aligned bytes.Buffer
	w := tabwriter.NewWriter(&aligned, 0, 0, 2, ' ', 0)
	fill(w)
	w.Flush() // into memory, which takes all
	var trimmed bytes.Buffer
	for line := range bytes.Lines(aligned.Bytes()) {
		trimmed.Write(bytes.TrimRight(line, " \n"))
		trimmed.WriteByte('\n')
	}
	_, err := out.Write(trimmed.Bytes())
	return err
}
