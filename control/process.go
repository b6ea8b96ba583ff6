package control

import (
	"bytes"
	"os"
	"runtime"
	"strconv"
)

// Process is what the process itself takes.
type Process struct {
	PID        int    `json:"pid"`
	Goroutines int    `json:"goroutines"`
	OpenFiles  int    `json:"open_files"` // -1: not known on this system
	RSSBytes   int64  `json:"rss_bytes"`  // 0: not known on this system
	LogDropped uint64 `json:"log_dropped"`

	RSASignatures       string `json:"rsa_signatures"`        // what makes them: libcrypto and its version, or Go and why
	RSASignaturesFailed uint64 `json:"rsa_signatures_failed"` // that libcrypto failed at and Go made
}

func (s *Server) process() Process {
	process := Process{
		PID:        os.Getpid(),
		Goroutines: runtime.NumGoroutine(),
		OpenFiles:  openFiles(),
		RSSBytes:   residentBytes(),

		RSASignatures: s.options.RSASignatures,
	}
	if s.options.LogDropped != nil {
		process.LogDropped = s.options.LogDropped()
	}
	if s.options.RSASignaturesFailed != nil {
		process.RSASignaturesFailed = s.options.RSASignaturesFailed()
	}
	return process
}

// openFiles counts file descriptors, less the one that it takes to count them.
func openFiles() int {
	for _, path := range []string{"/proc/self/fd", "/dev/fd"} {
		if directory, err := os.Open(path); err == nil {
			defer directory.Close()
			names, _ := directory.Readdirnames(-1)
			return len(names) - 1
		}
	}
	return -1
}

// residentBytes is the second number of /proc/self/statm, in pages.
func residentBytes() int64 {
	text, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		return 0
	}
	fields := bytes.Fields(text)
	if len(fields) < 2 {
		return 0
	}
	pages, err := strconv.ParseInt(string(fields[1]), 10, 64)
	if err != nil {
		return 0
	}
	return pages * int64(os.Getpagesize())
}
