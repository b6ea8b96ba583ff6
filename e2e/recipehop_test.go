package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
)

// runHop runs an HAProxy at address that reads the PROXY header and passes the rest on to a server that does not. Its log,
// in a file, tells of each connection.
func runHop(t testing.TB, address, server, log string) {
	t.Helper()
	config := filepath.Join(shortFolder(t), "haproxy.cfg")
	writeFile(t, config, fmt.Sprintf(`
global
    maxconn 200
    log stdout format raw local0
defaults
    mode tcp
    log global
    timeout connect 2s
    timeout client 1h
    timeout server 1h
frontend hop
    bind %s accept-proxy
    log-format "client %%ci:%%cp authority %%[fc_pp_authority] server %%si"
    default_backend server
backend server
    server server %s
`, address, server))
	hop := exec.Command(program(t, "haproxy"), "-db", "-f", config)
	file := must(os.Create(log))
	defer file.Close()
	hop.Stdout, hop.Stderr = file, t.Output()
	runPeer(t, address, hop, syscall.SIGTERM)
}
