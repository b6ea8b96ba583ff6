package control

import (
	"runtime"
	rtmetrics "runtime/metrics"
	"syscall"
	"time"
)

func (s *Server) buildMetrics(m metrics) {
	m.head("build_info", "gauge", "1, with what runs.")
	m.line("build_info", 1, "version", s.options.Version, "go_version", runtime.Version())
	m.gauge("draining", "Whether open connections are let end, and no new ones accepted.", one(s.draining()))
	m.gauge("ready", "Whether connections are accepted.", one(s.notReady() == nil))
	process := s.process()
	m.counter("log_dropped_total", "Lines that the log lost.", process.LogDropped)
	m.counter("rsa_signatures_failed_total", "RSA signatures that libcrypto failed at and Go made.", process.RSASignaturesFailed)
}

// processMetrics are named as every exporter names them.
func (s *Server) processMetrics(m metrics) {
	if spent, ok := processorTime(); ok {
		m.counter("process_cpu_seconds_total", "Processor time spent, user and system.", spent.Seconds())
	}
	m.gauge("process_start_time_seconds", "When the process began, in seconds since 1970.", float64(s.options.Started.UnixMilli())/1000)
	if resident := residentBytes(); resident > 0 {
		m.gauge("process_resident_memory_bytes", "Resident memory.", resident)
	}
	if open := openFiles(); open >= 0 {
		m.gauge("process_open_fds", "Open file descriptors.", open)
	}
	var files syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &files); err == nil {
		m.gauge("process_max_fds", "File descriptors that may be open.", files.Cur)
	}
	m.head("go_info", "gauge", "1, with the version of Go.")
	m.line("go_info", 1, "version", runtime.Version())
	m.gauge("go_goroutines", "Goroutines.", runtime.NumGoroutine())
	goMetrics(m)
}

// processorTime is what the process has used of it so far.
func processorTime() (spent time.Duration, ok bool) {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		return 0, false
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano()), true
}

// goFigures are read without stopping the program, which runtime.ReadMemStats would.
var goFigures = []struct{ sample, name, kind, help string }{
	{"/memory/classes/heap/objects:bytes", "go_memstats_heap_alloc_bytes", "gauge", "Memory of objects, live or not yet swept."},
	{"/memory/classes/total:bytes", "go_memstats_sys_bytes", "gauge", "Memory that Go got from the system."},
	{"/gc/heap/goal:bytes", "go_memstats_next_gc_bytes", "gauge", "Size of the heap at which the next collection ends."},
	{"/gc/heap/allocs:bytes", "go_memstats_alloc_bytes_total", "counter", "Memory allocated since the start."},
	{"/gc/cycles/total:gc-cycles", "go_gc_cycles_total_gc_cycles_total", "counter", "Garbage collections."},
	{"/cpu/classes/gc/total:cpu-seconds", "go_cpu_classes_gc_total_cpu_seconds_total", "counter", "Processor time that collections took."},
}

func goMetrics(m metrics) {
	samples := make([]rtmetrics.Sample, len(goFigures))
	for i, figure := range goFigures {
		samples[i].Name = figure.sample
	}
	rtmetrics.Read(samples)
	for i, figure := range goFigures {
		switch value := samples[i].Value; value.Kind() {
		case rtmetrics.KindUint64:
			m.head(figure.name, figure.kind, figure.help)
			m.line(figure.name, value.Uint64())
		case rtmetrics.KindFloat64:
			m.head(figure.name, figure.kind, figure.help)
			m.line(figure.name, value.Float64())
		}
	}
}
