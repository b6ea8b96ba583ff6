package dir

import (
	"errors"
	"io"
	"os"
	"slices"
	"strings"
	"time"
)

// maxIssuers bounds the folders that are taken for those of Caddy's issuers; it has one for each authority it uses.
// Where there are more, they are something else.
const maxIssuers = 64

// listing is what was last seen of a folder that may hold issuers.
type listing struct {
	stamp string
	begun time.Time
	took  time.Duration
	found []string
	// watched: any change of it makes it be forgotten.
	watched bool
}

// issuers returns the folders that may be Caddy's for an issuer.
func (d *Dir) issuers(root *os.Root) []string {
	return slices.Concat(d.issuersIn(root, "certificates"), d.issuersIn(root, "."))
}

func (d *Dir) issuersIn(root *os.Root, container string) []string {
	keeper := d.kept()
	watched := keeper != nil && keeper.sees(container)
	d.mu.Lock()
	held, events := d.listed[container], d.events
	d.mu.Unlock()
	if watched && held.watched {
		return held.found
	}
	info, err := root.Stat(container)
	if err != nil {
		return nil
	}
	if held.holds(stamp(info)) && !watched {
		return held.found
	}
	made := listing{stamp: stamp(info), begun: time.Now(), watched: watched}
	if made.found, err = listIssuers(root, container); err != nil {
		return held.found
	}
	made.took = time.Since(made.begun)
	if made.begun.Sub(changeTime(info)) < tick {
		made.stamp = "" // it could change again and look the same
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.events == events {
		d.listed[container] = made
	}
	return made.found
}

// forgetIssuers is for when there may be others.
func (d *Dir) forgetIssuers() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.events++
	clear(d.listed)
}

// holds says whether the listing may still be used. A large folder in which files come and go all the time is not
// listed for each of them.
func (l listing) holds(stamp string) bool {
	return l.stamp == stamp || time.Since(l.begun) < min(20*l.took, time.Second)
}

func listIssuers(root *os.Root, container string) ([]string, error) {
	opened, err := root.Open(container)
	if err != nil {
		return nil, err
	}
	defer opened.Close()
	var found []string
	for {
		entries, err := opened.ReadDir(1024)
		for _, entry := range entries {
			if entry.IsDir() && mayBeIssuer(container, entry.Name()) {
				found = append(found, strings.TrimPrefix(container+"/"+entry.Name(), "./"))
			}
		}
		switch {
		case len(found) > maxIssuers:
			return nil, nil
		case errors.Is(err, io.EOF):
			slices.Sort(found)
			return found, nil
		case err != nil:
			return nil, err
		}
	}
}

func mayBeIssuer(container, name string) bool {
	if strings.HasPrefix(name, ".") {
		return false
	}
	return container != "." || !slices.Contains([]string{"live", "archive", "domains", "staging", "certificates"}, name)
}
