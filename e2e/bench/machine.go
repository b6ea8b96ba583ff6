package main

import (
	"context"
	"debug/buildinfo"
	"os"
	"runtime"
	"strconv"
	"strings"
	"time"

	"hellogate/e2e/bench/result"
)

// machine describes where and on what the benchmark runs, as far as the system tells.
func machine(ctx context.Context, proxies []proxy) result.Machine {
	m := result.Machine{
		Date: time.Now(), Processors: runtime.NumCPU(), Processor: afterColon("/proc/cpuinfo", "model name"),
		Kernel: firstLine("/proc/sys/kernel/osrelease"), Versions: map[string]string{},
	}
	kibibytes, _, _ := strings.Cut(afterColon("/proc/meminfo", "MemTotal"), " ")
	if total, err := strconv.ParseInt(kibibytes, 10, 64); err == nil {
		m.Memory = total << 10
	}
	for _, p := range proxies {
		m.Versions[p.name] = p.release(ctx)
		if p.name == result.Hellogate {
			m.Go, m.Revision = builtFrom(p.program)
		}
	}
	return m
}

// builtFrom reads out of a Go binary what built it, and from which revision, marked with + where that was changed.
func builtFrom(path string) (version, revision string) {
	info, err := buildinfo.ReadFile(path)
	if err != nil {
		return "", ""
	}
	settings := map[string]string{}
	for _, setting := range info.Settings {
		settings[setting.Key] = setting.Value
	}
	revision = settings["vcs.revision"]
	revision = revision[:min(len(revision), 12)]
	if settings["vcs.modified"] == "true" {
		revision += "+"
	}
	return info.GoVersion, revision
}

func firstLine(path string) string {
	text, err := os.ReadFile(path)
	if err != nil {
		return ""
	}
	line, _, _ := strings.Cut(string(text), "\n")
	return line
}

// afterColon is the value of the first line of a file that begins with key.
func afterColon(path, key string) string {
	text, err := os.ReadFile(path)
	if err != nil {
		return ""
	}
	for line := range strings.Lines(string(text)) {
		if name, value, found := strings.Cut(line, ":"); found && strings.TrimSpace(name) == key {
			return strings.TrimSpace(value)
		}
	}
	return ""
}
