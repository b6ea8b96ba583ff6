package e2e

import (
	"strings"
	"testing"
)

const letter = "From: a@a.example\r\nTo: user@b.example\r\nSubject: e2e\r\n\r\nhello\r\n"

// Two Dovecots behind one port, told apart by name, with STARTTLS and with TLS from the first byte. Curl stores a message and
// reads it. Dovecot knows the client's address, and, told by the PROXY header of the client's TLS, takes its password.
func TestDovecotIMAP(t *testing.T) {
	t.Parallel()
	first, second := newDovecot(t, "imap", "one"), newDovecot(t, "imap", "two")
	servers := [2]string{first.address, second.address}
	file := shortFolder(t) + "/letter"
	writeFile(t, file, letter)
	for scheme, listener := range map[string]string{"imap": "starttls: imap", "imaps": "starttls: \"\""} {
		g := newTenants(t, "mail.example", listener, "send_proxy: v2", servers)
		url, user := scheme+"://%s", scheme+"-user"
		if got := g.curlFor("tenant1.mail.example", url+"/INBOX", "", "--ssl-reqd", "-u", user+":one", "-T", file); got.code != 0 {
			t.Errorf("%s: storing a message: %s", scheme, got.stderr)
		}
		g.fetches("tenant1.mail.example", url+"/INBOX;MAILINDEX=1", letter, "--ssl-reqd", "-u", user+":one")
		g.fetches("tenant2.mail.example", url+"/INBOX?ALL", "* SEARCH\r\n", "--ssl-reqd", "-u", user+":two")
		if got := g.curlFor("tenant2.mail.example", url+"/INBOX", "", "--ssl-reqd", "-u", user+":one"); got.code == 0 {
			t.Errorf("%s: tenant2 takes the password of tenant1: %s", scheme, got.stdout)
		}
		for _, server := range []mailServer{first, second} {
			awaitText(t, server.log, "Login: user=<"+user+">, method=PLAIN, rip=127.0.0.9, lip=127.0.0.1, mpid=")
		}
	}
}

// The same with POP3, where STARTTLS is called STLS.
func TestDovecotPOP3(t *testing.T) {
	t.Parallel()
	first, second := newDovecot(t, "pop3", "one"), newDovecot(t, "pop3", "two")
	servers := [2]string{first.address, second.address}
	for scheme, listener := range map[string]string{"pop3": "starttls: pop3", "pop3s": "starttls: \"\""} {
		g := newTenants(t, "mail.example", listener, "send_proxy: v2", servers)
		g.fetches("tenant1.mail.example", scheme+"://%s/", "\r\n", "--ssl-reqd", "-u", scheme+":one")
		g.fetches("tenant2.mail.example", scheme+"://%s/", "\r\n", "--ssl-reqd", "-u", scheme+":two")
		if got := g.curlFor("tenant2.mail.example", scheme+"://%s/", "", "--ssl-reqd", "-u", scheme+":one"); got.code == 0 {
			t.Errorf("%s: tenant2 takes the password of tenant1: %s", scheme, got.stdout)
		}
		for _, server := range []mailServer{first, second} {
			awaitText(t, server.log, "Login: user=<"+scheme+">, method=PLAIN, rip=127.0.0.9, lip=127.0.0.1, mpid=")
		}
	}
}

// Two Postfixes behind one port, told apart by name, with STARTTLS and with TLS from the first byte. Each takes mail for its own
// domain, relays nothing, and knows the client's address.
func TestPostfix(t *testing.T) {
	t.Parallel()
	first, second := newPostfix(t, "tenant1.mail.example"), newPostfix(t, "tenant2.mail.example")
	servers := [2]string{first.address, second.address}
	for scheme, listener := range map[string]string{"smtp": "starttls: smtp", "smtps": "starttls: \"\""} {
		g := newTenants(t, "mail.example", listener, "send_proxy: v2", servers)
		send := func(name, to string) result {
			t.Helper()
			return g.curlFor(name, scheme+"://%s/client.example", letter, "--ssl-reqd", "--mail-from", scheme+"@a.example", "--mail-rcpt", to, "-T", "-")
		}
		for name, server := range map[string]mailServer{"tenant1.mail.example": first, "tenant2.mail.example": second} {
			if got := send(name, scheme+"-user@"+name); got.code != 0 {
				t.Errorf("%s: mail to %s: %s", scheme, name, got.stderr)
			}
			awaitText(t, server.log, "client=unknown[127.0.0.9]")
			awaitText(t, server.log, "to=<"+scheme+"-user@"+name+">")
		}
		if got := send("tenant1.mail.example", "user@tenant2.mail.example"); got.code == 0 || !strings.Contains(got.stderr, "454") {
			t.Errorf("%s: tenant1 takes mail for tenant2: %d %s", scheme, got.code, got.stderr)
		}
	}
}

// A server that has no time for a client says so in its greeting. The client reads that, which it has not seen before, in place of
// an answer, and the connection ends.
func TestMailServerRefuses(t *testing.T) {
	t.Parallel()
	for protocol, greeting := range map[string]string{
		"smtp": "554 5.3.2 busy\r\n", "imap": "* BYE busy\r\n", "pop3": "-ERR busy\r\n",
	} {
		w := newMail(t, protocol)
		w.backend.does(func(p *peer) {
			p.Write([]byte(greeting))
			p.Close()
		})
		c := w.startTLS(protocol)
		if got := c.rest(t); got != greeting {
			t.Errorf("%s: heard %q, want %q", protocol, got, greeting)
		}
		c.Close()
		w.access("reason", "server_refused")
	}
}

// newMail is a world whose listener begins with a protocol.
func newMail(t testing.TB, protocol string, overrides ...string) *world {
	t.Helper()
	w := &world{store: newStore(t), backend: newBackend(t, echo)}
	w.gate = startListener(t, "starttls: "+protocol, append([]string{usesStore(w.store), usesBackend(w.backend.address)}, overrides...)...)
	return w
}
