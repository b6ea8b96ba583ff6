package e2e

import (
	"fmt"
	"testing"
)

// Servers that want TLS themselves are asked for it as the client's protocol has it, where the client's session ends here, and
// where it is passed through to the server's own certificate. Each of them refuses to go on without TLS.
func TestStartTLSToServer(t *testing.T) {
	t.Parallel()
	own := ca().issue([]string{"server.internal", "a.example"})
	certFile, keyFile := own.write(t, shortFolder(t), "own")
	dovecot := []string{"ssl = required", "ssl_cert = <" + certFile, "ssl_key = <" + keyFile}
	for protocol, test := range map[string]struct {
		server func(testing.TB) string
		words  []string
	}{
		"smtp": {
			server: func(t testing.TB) string {
				return newPostfix(t, "a.example", "smtpd_tls_security_level = encrypt", "smtpd_tls_cert_file = "+certFile, "smtpd_tls_key_file = "+keyFile).address
			},
			words: []string{"EHLO client.example\r\n", "250 ", "MAIL FROM:<a@a.example>\r\n", "250 2.1.0 ", "QUIT\r\n", "221 "},
		},
		"imap": {
			server: func(t testing.TB) string { return newDovecot(t, "imap", "one", dovecot...).address },
			words:  []string{"b LOGIN user one\r\n", "b OK ", "c LOGOUT\r\n", "c OK "},
		},
		"pop3": {
			server: func(t testing.TB) string { return newDovecot(t, "pop3", "one", dovecot...).address },
			words:  []string{"USER user\r\n", "+OK", "PASS one\r\n", "+OK Logged in.", "QUIT\r\n", "+OK "},
		},
		"ldap": {
			server: func(t testing.TB) string {
				address, _ := newSlapd(t, "one", "TLSCertificateFile "+certFile, "TLSCertificateKeyFile "+keyFile, "security ssf=1")
				return address
			},
			words: []string{"\x30\x0c\x02\x01\x02\x60\x07\x02\x01\x03\x04\x00\x80\x00", "\x61\x07\x0a\x01\x00"},
		},
	} {
		t.Run(protocol, func(t *testing.T) {
			t.Parallel()
			server := test.server(t)
			encrypted := fmt.Sprintf(", starttls: %s, tls: {ca_file: %q, server_name: server.internal}", protocol, ca().rootFile(t))
			for action, more := range map[string]string{"terminate": encrypted, "passthrough": ""} {
				g := startListener(t, "starttls: "+protocol, usesStore(newStore(t)),
					fmt.Sprintf("routes: [{action: %s, backend: main}]", action),
					fmt.Sprintf("backends: {main: {servers: [{address: %q}], proxy_tlvs: []%s}}", server, more))
				c := g.startTLS(protocol)
				if isOwn := c.fingerprint() == own.fingerprint(); isOwn != (action == "passthrough") {
					t.Errorf("%s: the certificate is the server's own: %v", action, isOwn)
				}
				dialogue(t, c, test.words...)
				c.Close()
				g.access("stage", "splice") // how it ended is the server's: some leave out the close_notify
			}
		})
	}
}

// A client that names nobody goes by the listener's default name, and is refused by an alert where there is none.
func TestStartTLSWithoutName(t *testing.T) {
	t.Parallel()
	for protocol, words := range startTLSWords {
		for more, alert := range map[string]int{", default_name: a.example": 0, "": alertMissingExtension} {
			w := newMail(t, protocol+more, "backends: {main: {send_proxy: v2}}")
			w.backend.does(leave)
			conn := dialRaw(t, w.address)
			dialogue(t, conn, words...)
			c, err := handshakeOver(conn, "")
			if (err == nil) != (alert == 0) || c.wire.alert() != alert {
				t.Errorf("%s%s: alert %d, want %d: %v", protocol, more, c.wire.alert(), alert, err)
			}
			if alert == 0 {
				p := w.backend.next(t)
				if p.header.Authority != "a.example" {
					t.Errorf("%s: the server is told of %q", protocol, p.header.Authority)
				}
				p.Close()
			}
			conn.Close()
		}
	}
}
