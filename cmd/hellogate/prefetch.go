package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"hellogate/control"
	"hellogate/control/report"
	"hellogate/sni"
)

func prefetchCommand() *cli.Command {
	return &cli.Command{
		Name:      "prefetch",
		Usage:     "fetch certificates before the first client asks for them",
		UsageText: "hellogate prefetch NAME... [--json] [--control PATH]\nhellogate prefetch - [--json] < FILE",
		Description: "Examples:  hellogate prefetch www.example.com shop.example.com\n" +
			"           hellogate prefetch - < names.txt        one name a line; lines that begin with # are passed by\n\n" +
			"The store is asked even about names that are remembered as unknown: this is how a new customer is brought\n" +
			"in. It exits with 1 when one could not be had. With - it tells on standard error how far it is, and says of the\n" +
			"names only those that could not be had.",
		Flags: []cli.Flag{controlFlag(), jsonFlag("one line of JSON a name")},
		Action: func(c *cli.Context) error {
			switch {
			case c.NArg() == 0:
				return exactly(c, 1, "NAME")
			case slices.Equal(c.Args().Slice(), []string{"-"}):
				return prefetchAll(c)
			}
			names, err := hostNames(c, c.Args().Slice())
			if err != nil {
				return err
			}
			p := newPrefetching(c, func(control.PrefetchResult) bool { return true })
			defer p.asked.Close()
			if err := p.fetch(names); err != nil {
				return err
			}
			return p.conclude()
		},
	}
}

// prefetching is a prefetch of however many names.
type prefetching struct {
	c      *cli.Context
	asked  *control.Client
	out    *output
	shown  func(control.PrefetchResult) bool
	told   func(last bool) // how far it is, when set
	done   int
	missed int
}

func newPrefetching(c *cli.Context, shown func(control.PrefetchResult) bool) *prefetching {
	return &prefetching{c: c, asked: client(c), out: stdout(c), shown: shown}
}

// fetch has names fetched and tells what became of each.
func (p *prefetching) fetch(names []string) error {
	for result, err := range p.asked.Prefetch(p.c.Context, names) {
		if err != nil {
			return err
		}
		if err := p.tell(result); err != nil {
			return err
		}
	}
	return nil
}

func had(result control.PrefetchResult) bool {
	return result.Result == "fetched" || result.Result == "cached"
}

func (p *prefetching) tell(result control.PrefetchResult) error {
	p.done++
	if !had(result) {
		p.missed++
	}
	var err error
	switch {
	case isJSON(p.c):
		err = json.NewEncoder(p.out).Encode(result)
	case p.shown(result):
		err = report.Prefetched(p.out, result)
	}
	if err != nil {
		return p.out.err
	}
	if p.told != nil {
		p.told(false)
	}
	return nil
}

func (p *prefetching) conclude() error {
	if p.missed > 0 {
		return fmt.Errorf("%d of %s could not be had", p.missed, control.Numbered(p.done, "name", "names"))
	}
	return nil
}

const (
	// prefetchBatch is how many names are asked for in one request.
	prefetchBatch = 500
	// prefetchTick is how often it is told how far a prefetch is.
	prefetchTick = time.Second
)

// prefetchAll has all names fetched that standard input has.
func prefetchAll(c *cli.Context) error {
	p := newPrefetching(c, func(result control.PrefetchResult) bool { return !had(result) })
	defer p.asked.Close()
	progress := progress{out: c.App.ErrWriter, began: time.Now(), told: time.Now()}
	p.told = func(last bool) { progress.tell(p, last) }
	batch := make([]string, 0, prefetchBatch)
	err := eachName(c.App.Reader, func(name string, bad error) error {
		if bad != nil {
			return p.tell(control.PrefetchResult{Name: name, Result: "failed", Reason: bad.Error()})
		}
		if batch = append(batch, name); len(batch) < prefetchBatch {
			return nil
		}
		err := p.fetch(batch)
		batch = batch[:0]
		return err
	})
	if err == nil && len(batch) > 0 {
		err = p.fetch(batch)
	}
	if err != nil {
		return err
	}
	p.told(true)
	return p.conclude()
}

// progress tells how far a prefetch is.
type progress struct {
	out         io.Writer
	began, told time.Time
}

func (p *progress) tell(of *prefetching, last bool) {
	now := time.Now()
	if !last && now.Sub(p.told) < prefetchTick {
		return
	}
	p.told = now
	rate := float64(of.done) / max(now.Sub(p.began).Seconds(), 0.001)
	fmt.Fprintf(p.out, "%s, %d could not be had, %.0f a second\n", control.Numbered(of.done, "name", "names"), of.missed, rate)
}

// eachName reads one name a line. What is none is handed on with the reason; the rest is read all the same.
func eachName(from io.Reader, yield func(name string, bad error) error) error {
	lines := bufio.NewScanner(from)
	for number := 1; lines.Scan(); number++ {
		text := strings.TrimSpace(lines.Text())
		if text == "" || strings.HasPrefix(text, "#") {
			continue
		}
		name, err := sni.Parse(text)
		if err != nil {
			name, err = text, fmt.Errorf("line %d: %w", number, err)
		}
		if err := yield(name, err); err != nil {
			return err
		}
	}
	if errors.Is(lines.Err(), bufio.ErrTooLong) {
		return errors.New("standard input: a line of more than 64 KB is no name")
	}
	return lines.Err()
}
