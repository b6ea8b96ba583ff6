package soak

import (
	"context"
	"fmt"
	"math"
	"os"
	"strconv"
	"strings"
	"time"
)

// sample is what hellogate takes at one moment.
type sample struct {
	at          time.Duration // since the load began
	rss         float64       // MiB
	descriptors float64
	beyond      float64 // descriptors beyond the sockets that clients and backends have open
	goroutines  float64
	threads     float64
	active      int64 // connections
}

func (s sample) String() string {
	return fmt.Sprintf("%8s  %7.1f MiB  %4.0f fds (%+4.0f)  %4.0f goroutines  %3.0f threads  %4d connections",
		s.at.Round(time.Second/10), s.rss, s.descriptors, s.beyond, s.goroutines, s.threads, s.active)
}

// sample asks the kernel, and hellogate for what the kernel does not know.
func (w *world) sample() sample {
	var s sample
	sockets := w.clients.Load() + w.servers.Load()
	status, err := w.control.Status(context.Background())
	if err != nil {
		w.faults.add("status: %v", err)
		return s
	}
	s.rss, s.threads = float64(w.proc("VmRSS:"))/1024, float64(w.proc("Threads:"))
	s.goroutines, s.active = float64(status.Process.Goroutines), status.Connections.Active
	s.descriptors = w.countDescriptors(status.Process.OpenFiles)
	s.beyond = s.descriptors - float64(sockets)
	return s
}

// proc is a number of /proc/PID/status.
func (w *world) proc(label string) int64 {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", w.command.Process.Pid))
	if err != nil {
		w.faults.add("%v", err)
		return 0
	}
	_, rest, _ := strings.Cut(string(text), label)
	fields := strings.Fields(rest)
	if len(fields) == 0 {
		return 0
	}
	number, _ := strconv.ParseInt(fields[0], 10, 64)
	return number
}

// countDescriptors counts /proc/PID/fd, which only root may read of a process that nobody may attach to.
func (w *world) countDescriptors(said int) float64 {
	files, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", w.command.Process.Pid))
	if err != nil {
		return float64(said)
	}
	return float64(len(files))
}

// observe takes samples until the load ends, and says some of them.
func (w *world) observe() {
	began := time.Now()
	every := min(max(w.duration/200, 250*time.Millisecond), 5*time.Second)
	said := time.Duration(-1)
	for w.wait(every) {
		s := w.sample()
		s.at = time.Since(began)
		w.samples = append(w.samples, s)
		if said < 0 || s.at-said >= w.duration/20 {
			said = s.at
			w.t.Log(s)
		}
	}
}

const residentMemory = "resident MiB"

// gauge is one of a sample's figures, and by how much it may rise over the second half of the load.
type gauge struct {
	name  string
	of    func(sample) float64
	least float64 // so much may always be
	share float64 // or such a part of the mean
}

// The bounds let pass what chance, the collector and a store that hangs do in a minute. What leaks shows at the end, and
// in the slopes of a long run, for which they are half as wide.
var gauges = []gauge{
	{residentMemory, func(s sample) float64 { return s.rss }, 24, 0.35},
	{"descriptors", func(s sample) float64 { return s.descriptors }, 200, 0.5},
	{"descriptors beyond its connections", func(s sample) float64 { return s.beyond }, 120, 0},
	{"goroutines", func(s sample) float64 { return s.goroutines }, 200, 0.5},
	{"threads", func(s sample) float64 { return s.threads }, 20, 0.5},
}

// slope is the least-squares line through a gauge's samples.
type slope struct {
	perMinute float64
	deviation float64 // standard error of perMinute
	mean      float64
	span      time.Duration
}

func fit(samples []sample, of func(sample) float64) slope {
	n := float64(len(samples))
	var sumX, sumY float64
	for _, s := range samples {
		sumX, sumY = sumX+s.at.Minutes(), sumY+of(s)
	}
	meanX, meanY := sumX/n, sumY/n
	var xx, xy float64
	for _, s := range samples {
		dx := s.at.Minutes() - meanX
		xx, xy = xx+dx*dx, xy+dx*(of(s)-meanY)
	}
	line := slope{perMinute: xy / xx, mean: meanY, span: samples[len(samples)-1].at - samples[0].at}
	var rest float64
	for _, s := range samples {
		off := of(s) - meanY - line.perMinute*(s.at.Minutes()-meanX)
		rest += off * off
	}
	line.deviation = math.Sqrt(rest / (n - 2) / xx)
	return line
}

// rise is by how much the line rises over its span.
func (s slope) rise() float64 { return s.perMinute * s.span.Minutes() }

// isSure reports whether chance alone hardly makes such a slope.
func (s slope) isSure() bool { return s.perMinute > 3*s.deviation }

// checkSlopes says how each gauge went over the second half of the load, and what rose that should not.
func (w *world) checkSlopes() {
	half := w.samples[len(w.samples)/2:]
	if len(half) < 3 {
		w.t.Log("too few samples for a slope")
		return
	}
	for _, g := range gauges {
		line := fit(half, g.of)
		w.t.Logf("%-36s mean %8.1f, slope %+8.2f a minute (± %.2f), %+.1f over %v", g.name, line.mean, line.perMinute, line.deviation,
			line.rise(), line.span.Round(time.Second))
		allowed := max(g.least, g.share*line.mean)
		if w.duration >= isLong {
			allowed /= 2
		}
		if line.rise() > allowed && line.isSure() && w.judges(g) {
			w.t.Errorf("%s rise by %.1f over the last %v, more than %.1f: %+.2f a minute", g.name, line.rise(), line.span.Round(time.Second),
				allowed, line.perMinute)
		}
	}
}

// judges reports whether a gauge's slope says anything: not where one scenario alone has its own ups and downs, nor of the
// memory that the race detector takes.
func (w *world) judges(g gauge) bool { return w.only == "" && !(withRace && g.name == residentMemory) }

// What may be left when the load has gone, beyond what there was before it.
const (
	moreDescriptors = 4
	moreGoroutines  = 6
	moreMemory      = 40 // MiB
)

// checkEnd waits until hellogate is back where it was before the load, as it has to be within a minute.
func (w *world) checkEnd(before sample) {
	limit := time.Minute + slack
	began := time.Now()
	after, ok := w.settle(limit, func(s sample) bool {
		return s.active == 0 && s.descriptors <= before.descriptors+moreDescriptors &&
			s.goroutines <= before.goroutines+moreGoroutines && (withRace || s.rss <= before.rss+moreMemory)
	})
	w.t.Logf("before  %v\nafter   %v, %v after the load; %.1f MiB at most", before, after, time.Since(began).Round(time.Second),
		float64(w.proc("VmHWM:"))/1024)
	if !ok {
		w.t.Errorf("not back to where it was %v after the load, with %d sockets of clients and %d of backends open; its goroutines:\n%.20000s",
			limit, w.clients.Load(), w.servers.Load(), w.goroutines())
	}
}

// settle waits until a sample is as it should be, and gives the last.
func (w *world) settle(limit time.Duration, is func(sample) bool) (last sample, ok bool) {
	for began := time.Now(); ; time.Sleep(250 * time.Millisecond) {
		if last = w.sample(); is(last) {
			return last, true
		}
		if time.Since(began) > limit {
			return last, false
		}
	}
}
