package disk

import (
	"bufio"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"
)

const crashKeys = 200

// versioned is what the child keeps under a key, the version last.
func versioned(key, version int) Record {
	record := sample(key)
	record.Value = append(filling(version*crashKeys+key, 200+version%1500), fmt.Appendf(nil, " %d", version)...)
	record.Shared = chain(version % 5)
	return record
}

func versionOf(record Record) (int, error) {
	text := string(record.Value[strings.LastIndexByte(string(record.Value), ' ')+1:])
	return strconv.Atoi(text)
}

// childWrites writes, deletes and says what is on the disk, until it is killed.
func childWrites() {
	p := defaultPace
	p.every, p.firstSweep, p.sweepEvery, p.sweepPause = 0, 0, 0, 0
	tier, err := open(Options{Dir: os.Getenv("DISK_DIR"), KeyFile: os.Getenv("DISK_KEY"), Log: zerolog.New(os.Stderr)}, p)
	if err != nil {
		fmt.Println("error", err)
		return
	}
	version, err := strconv.Atoi(os.Getenv("DISK_VERSION"))
	if err != nil {
		fmt.Println("error", err)
		return
	}
	for ; ; version++ {
		var done []string
		for range 1 + version%20 {
			key := rand.IntN(crashKeys)
			if rand.IntN(4) == 0 {
				fmt.Printf("deleting %d %d\n", key, version)
				tier.Delete(sample(key).Key)
				done = append(done, fmt.Sprintf("deleted %d %d", key, version))
			} else {
				tier.Put(versioned(key, version))
				done = append(done, fmt.Sprintf("written %d %d", key, version))
			}
		}
		if err := tier.Sync(context.Background()); err != nil {
			fmt.Println("error", err)
			return
		}
		fmt.Println(strings.Join(done, "\n"))
	}
}

// Killed at any instant, nothing is lost that Sync said is on the disk, and all that is there is whole.
func TestKill(t *testing.T) {
	// On a real disk: a kill between two syncs matters, not only one between two writes.
	l := &lab{t: t, pace: quick(), log: &lines{}}
	l.options = Options{Dir: filepath.Join(t.TempDir(), "tier"), KeyFile: writeKey(t, 1), Log: zerolog.New(l.log)}
	rounds := 20
	if raceEnabled || testing.Short() {
		rounds = 6
	}
	known := knowledge{make(map[int]int), make(map[int]int)}
	version, reported := 1, 0
	for range rounds {
		var lines int
		version, lines = l.killed(known, version)
		reported += lines
		l.open()
		l.survived(known)
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		l.log.has(t, 0, "disk tier:")
	}
	if reported < 10*rounds {
		t.Fatalf("only %d changes in %d rounds", reported, rounds)
	}
	t.Logf("%d changes in %d rounds", reported, rounds)
}

// knowledge is what a child said of its keys.
type knowledge struct {
	last     map[int]int // the version that is on the disk, negative if the key was deleted then
	deleting map[int]int // the version that the key may have been deleted in
}

// killed runs a child, kills it, and adds to known what it said. It returns the version that the next child begins with.
func (l *lab) killed(known knowledge, version int) (next, lines int) {
	l.t.Helper()
	command := exec.Command(os.Args[0])
	command.Env = append(os.Environ(), childVariable+"=write", "DISK_DIR="+l.options.Dir, "DISK_KEY="+l.options.KeyFile,
		"DISK_VERSION="+strconv.Itoa(version))
	command.Stderr = os.Stderr
	stdout, err := command.StdoutPipe()
	if err != nil {
		l.t.Fatal(err)
	}
	if err := command.Start(); err != nil {
		l.t.Fatal(err)
	}
	var killer *time.Timer
	input := bufio.NewScanner(stdout)
	for input.Scan() {
		if killer == nil {
			killer = time.AfterFunc(time.Duration(rand.IntN(150))*time.Millisecond, func() { command.Process.Kill() })
		}
		var what string
		var key, at int
		if _, err := fmt.Sscanf(input.Text(), "%s %d %d", &what, &key, &at); err != nil {
			l.t.Fatalf("the child says %q", input.Text())
		}
		lines++
		next = max(next, at)
		switch what {
		case "deleting":
			known.deleting[key] = at
		case "deleted":
			known.last[key] = -at
		case "written":
			known.last[key] = at
		}
	}
	if killer == nil {
		l.t.Fatal("the child did nothing")
	}
	command.Wait()
	killer.Stop()
	return next + 2, lines // the child may have written one version more than it said
}

// survived checks what is there against what the children said.
func (l *lab) survived(known knowledge) {
	l.t.Helper()
	for key := range crashKeys {
		record, found := l.Get(sample(key).Key)
		last := known.last[key]
		if !found {
			if last > 0 && known.deleting[key] <= last {
				l.t.Fatalf("key %d is gone, its version %d was on the disk", key, last)
			}
			continue
		}
		version, err := versionOf(record)
		if err != nil || difference(versioned(key, version), record) != "" {
			l.t.Fatalf("%q is not whole: %v", record.Key, err)
		}
		if version < last || version <= -last {
			l.t.Fatalf("%q has the version %d, but %d was on the disk (negative: deleted)", record.Key, version, last)
		}
	}
}
