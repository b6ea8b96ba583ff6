package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// newSlapd runs a slapd that reads the PROXY header, and has one entry, dc=NAME.
func newSlapd(t testing.TB, name string, more ...string) (address, log string) {
	t.Helper()
	address, folder := freeAddress(t), openFolder(t)
	config, log := filepath.Join(folder, "slapd.conf"), filepath.Join(folder, "log")
	if err := os.Mkdir(filepath.Join(folder, "data"), 0o700); err != nil {
		t.Fatal(err)
	}
	writeFile(t, config, fmt.Sprintf(`
include /etc/ldap/schema/core.schema
pidfile %[1]s/pid
%[3]s
database ldif
suffix dc=%[2]s
directory %[1]s/data
rootdn cn=admin,dc=%[2]s
access to * by * read
`, folder, name, strings.Join(more, "\n")))
	entry := fmt.Sprintf("dn: dc=%[1]s\nobjectClass: dcObject\nobjectClass: organization\no: %[1]s\ndc: %[1]s\n", name)
	run(t, entry, program(t, "slapadd"), "-f", config)
	slapd := exec.Command(program(t, "slapd"), "-h", "pldap://"+address, "-f", config, "-d", "stats")
	file := must(os.Create(log))
	defer file.Close()
	slapd.Stderr = file
	runPeer(t, address, slapd, syscall.SIGTERM)
	return address, log
}
