package e2e

import (
	"bufio"
	"fmt"
	"strings"
	"testing"
)

// Two redis-servers behind one port, told apart by the name that redis-cli is given for SNI. Redis reads no PROXY header.
func TestRedisTenants(t *testing.T) {
	t.Parallel()
	g := newTenants(t, "redis.example", "starttls: \"\"", "send_proxy: off", [2]string{newRedis(t).address, newRedis(t).address})
	ask := func(name string, words ...string) string {
		t.Helper()
		arguments := []string{"-h", "127.0.0.1", "-p", g.port(), "--tls", "--sni", name, "--cacert", ca().rootFile(t)}
		return strings.TrimSpace(run(t, "", program(t, "redis-cli"), append(arguments, words...)...))
	}
	large := strings.Repeat("x", 100000)
	for _, step := range []struct {
		name, want string
		words      []string
	}{
		{"tenant1.redis.example", "OK", []string{"set", "key", large}},
		{"tenant2.redis.example", "0", []string{"exists", "key"}},
		{"tenant1.redis.example", large, []string{"get", "key"}},
	} {
		if got := ask(step.name, step.words...); got != step.want {
			t.Errorf("%s: %.20v: got %.100q", step.name, step.words, got)
		}
	}
}

// A protocol of lines, whose server speaks first, over openssl s_client: two servers behind one port. Each knows the client's
// address and the name from the PROXY header.
func TestLineProtocol(t *testing.T) {
	t.Parallel()
	var servers [2]string
	for i := range servers {
		servers[i] = newBackend(t, func(p *peer) {
			defer p.Close()
			fmt.Fprintf(p, "server %d welcomes %v of %s\n", i+1, p.header.Source.Addr(), p.header.Authority)
			for lines := bufio.NewScanner(p); lines.Scan() && lines.Text() != "bye"; {
				fmt.Fprintf(p, "%s\n", strings.ToUpper(lines.Text()))
			}
		}).address
	}
	g := newTenants(t, "line.example", "default_name: tenant2.line.example", "send_proxy: v2", servers)
	for i, sni := range [][]string{
		{"-servername", "tenant1.line.example", "-verify_hostname", "tenant1.line.example"},
		{"-servername", "tenant2.line.example", "-verify_hostname", "tenant2.line.example"},
		{"-noservername", "-verify_hostname", "tenant2.line.example"},
	} {
		server := min(i+1, 2)
		want := fmt.Sprintf("server %[1]d welcomes 127.0.0.9 of tenant%[1]d.line.example\nFIRST\nSECOND\n", server)
		if got := g.openssl("first\nsecond\nbye\n", sni...); got.code != 0 || got.stdout != want {
			t.Errorf("%v: %d, %q, want %q: %s", sni, got.code, got.stdout, want, got.stderr)
		}
	}
}

// openssl runs s_client from 127.0.0.9, quietly: what it prints is what the server said.
func (g *gate) openssl(input string, arguments ...string) result {
	g.t.Helper()
	all := []string{"s_client", "-quiet", "-bind", "127.0.0.9:0", "-connect", g.address, "-verify_return_error", "-CAfile", ca().rootFile(g.t)}
	return execute(g.t, input, program(g.t, "openssl"), append(all, arguments...)...)
}

// openssl s_client does STARTTLS with each of the protocols, and then has what the server says: of the mail servers not their
// greeting, which the client has had already.
func TestStartTLSWithOpenSSL(t *testing.T) {
	t.Parallel()
	for protocol, greeting := range map[string]string{
		"smtp": "220 inner ESMTP\r\n", "imap": "* OK inner\r\n", "pop3": "+OK inner\r\n", "ldap": "",
	} {
		w := newMail(t, protocol)
		w.backend.does(func(p *peer) {
			defer p.Close()
			fmt.Fprint(p, greeting)
			lines := bufio.NewScanner(p)
			lines.Scan()
			fmt.Fprintf(p, "heard %q of %v\n", lines.Text(), p.header.Source.Addr())
		})
		want := "heard \"first line\" of 127.0.0.9\n"
		got := w.openssl("first line\n", "-starttls", protocol, "-servername", "a.example", "-verify_hostname", "a.example")
		if got.code != 0 || !strings.HasSuffix(got.stdout, want) || strings.Contains(got.stdout, "inner") {
			t.Errorf("%s: %d, %q, want %q: %s", protocol, got.code, got.stdout, want, got.stderr)
		}
	}
}
