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

// mailServer is a server of mail that was started by a test.
type mailServer struct {
	address string
	log     string // path of its log
}

// newDovecot runs a Dovecot of one protocol, imap or pop3, that reads the PROXY header. Everybody's password is the given one,
// and no password is taken from a client whose connection is not encrypted; more is
// further lines of its configuration.
func newDovecot(t testing.TB, protocol, password string, more ...string) mailServer {
	t.Helper()
	needsRoot(t, "Dovecot")
	path, address, folder := program(t, "dovecot"), freeAddress(t), openFolder(t)
	nobody, homes := account(t, "nobody"), filepath.Join(folder, "home")
	if err := os.Mkdir(homes, 0o755); err != nil {
		t.Fatal(err)
	}
	give(t, homes, nobody)
	config, log := filepath.Join(folder, "dovecot.conf"), filepath.Join(folder, "log")
	writeFile(t, config, fmt.Sprintf(`
base_dir = %[1]s/run
log_path = %[1]s/log
protocols = %[2]s
listen = 127.0.0.1
ssl = no
disable_plaintext_auth = yes
auth_failure_delay = 0
service anvil {
  unix_listener anvil-auth-penalty {
    mode = 0
  }
}
haproxy_trusted_networks = 127.0.0.1/32
mail_location = maildir:~/mail
first_valid_uid = 1
service %[2]s-login {
  inet_listener %[2]s {
    port = %[3]d
    haproxy = yes
  }
  inet_listener %[2]ss {
    port = 0
  }
}
passdb {
  driver = static
  args = password=%[4]s
}
userdb {
  driver = static
  args = uid=%[5]s gid=%[6]s home=%[1]s/home/%%u
}
%[7]s
`, folder, protocol, portOf(address), password, nobody.Uid, nobody.Gid, strings.Join(more, "\n")))
	runPeer(t, address, exec.Command(path, "-F", "-c", config), syscall.SIGTERM)
	return mailServer{address: address, log: log}
}

// newPostfix runs a Postfix that reads the PROXY header and takes mail for one domain, which it throws away.
func newPostfix(t testing.TB, domain string, more ...string) mailServer {
	t.Helper()
	needsRoot(t, "Postfix")
	path, address, folder := program(t, "postfix"), freeAddress(t), openFolder(t)
	for _, name := range []string{"etc", "queue", "data"} {
		if err := os.Mkdir(filepath.Join(folder, name), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	give(t, filepath.Join(folder, "data"), account(t, "postfix"))
	writeFile(t, filepath.Join(folder, "etc", "main.cf"), fmt.Sprintf(`
compatibility_level = 3.6
queue_directory = %[1]s/queue
data_directory = %[1]s/data
maillog_file = %[1]s/log
maillog_file_prefixes = %[1]s
myhostname = %[2]s
mydestination = %[2]s
mynetworks =
inet_protocols = ipv4
smtpd_peername_lookup = no
alias_maps =
local_recipient_maps =
local_transport = discard:
%[3]s
`, folder, domain, strings.Join(more, "\n")))
	writeFile(t, filepath.Join(folder, "etc", "master.cf"), address+` inet n - n - - smtpd
  -o smtpd_upstream_proxy_protocol=haproxy
postlog unix-dgram n - n - 1 postlogd
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
discard unix - - n - - discard
anvil unix - - n - 1 anvil
tlsmgr unix - - n 1000? 1 tlsmgr
`)
	etc := filepath.Join(folder, "etc")
	run(t, "", path, "-c", etc, "start")
	t.Cleanup(func() { execute(t, "", path, "-c", etc, "stop") })
	awaitListener(t, address)
	return mailServer{address: address, log: filepath.Join(folder, "log")}
}

// curlFor runs curl from 127.0.0.9 against a URL, in which HOST stands for the name and the port of the listener, and gives what
// it printed.
func (g *gate) curlFor(name, url, input string, arguments ...string) result {
	g.t.Helper()
	all := []string{
		"-sS", "--max-time", "20", "--interface", "127.0.0.9", "--cacert", ca().rootFile(g.t),
		"--resolve", fmt.Sprintf("%s:%s:127.0.0.1", name, g.port()),
	}
	return execute(g.t, input, program(g.t, "curl"), append(append(all, arguments...), fmt.Sprintf(url, name+":"+g.port()))...)
}

// fetches checks what curl gets.
func (g *gate) fetches(name, url, want string, arguments ...string) {
	g.t.Helper()
	if got := g.curlFor(name, url, "", arguments...); got.code != 0 || got.stdout != want {
		g.t.Errorf("curl %s: %d, %q, want %q: %s", fmt.Sprintf(url, name), got.code, got.stdout, want, got.stderr)
	}
}
