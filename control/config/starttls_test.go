package config

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestStartTLS(t *testing.T) {
	text := strings.Replace(withBackend("starttls: imap, tls: {}"), `":443"`, `":143", starttls: imap`, 1)
	config := mustParse(t, text)
	if l, b := config.Listeners[0].StartTLS, config.Backends["mail"].StartTLS; l != StartTLSIMAP || b != StartTLSIMAP {
		t.Errorf("listener %q, backend %q", l, b)
	}
	if len(config.Warnings) > 0 {
		t.Errorf("warnings: %q", config.Warnings)
	}
	mustParse(t, withBackend("starttls: ''")+"routes: [{action: passthrough, backend: mail}]\n")
	mustParse(t, withBackend("starttls: ldap")+"routes: [{action: passthrough, backend: mail}]\n")
}

func TestStartTLSProblems(t *testing.T) {
	for _, test := range []struct {
		name, text string
		want       []string
	}{
		{"unknown", strings.Replace(least, `":443"`, `":443", starttls: postgress`, 1), []string{
			`2:41: listeners[0].starttls: "postgress" is not one of postgres, smtp, imap, pop3, ldap, auto; did you mean postgres?`,
		}},
		{"mysql", strings.Replace(least, `":443"`, `":443", starttls: mysql`, 1), []string{
			"2:41: listeners[0].starttls: mysql is none that can be routed by name: its server speaks first, with what the client's password is hashed with",
		}},
		{"a header that is guessed", strings.Replace(least, `":443"`, `":25", starttls: smtp, accept_proxy: {from: [10.0.0.0/8], required: false}`, 1), []string{
			"2:91: listeners[0].accept_proxy.required: clients of smtp say nothing before they are greeted: whether there is a header can't be guessed",
		}},
		{"servers of any protocol", withBackend("starttls: auto, tls: {}"), []string{
			"4:67: backends.mail.starttls: auto is for listeners: name the protocol that the servers speak",
		}},
		{"servers without TLS", withBackend("starttls: ldap"), []string{
			"4:67: backends.mail.starttls: of no use without tls: nothing that goes to these servers is encrypted",
		}},
		{"servers that have greeted before", withBackend("starttls: imap, tls: {}"), []string{
			"4:67: backends.mail.starttls: clients of listeners[0] begin with TLS and await a greeting, which imap servers have sent before it",
		}},
		{"servers of another protocol", strings.Replace(withBackend("starttls: ldap, tls: {}"), `":443"`, `":443", starttls: postgres`, 1), []string{
			"4:67: backends.mail.starttls: listeners[0] brings clients of postgres here",
		}},
		{"servers without TLS, others passed through", `
listeners: [{address: ":443"}]
stores: [{dir: {path: /etc/certs}}]
backends:
  mail: {servers: [{address: "10.0.0.5:143"}], starttls: ldap}
  chat: {servers: [{address: "10.0.0.6:143"}], starttls: ldap}
routes: [{backend: mail}, {match: {names: [a.example]}, action: passthrough, backend: chat}]
`, []string{
			"5:58: backends.mail.starttls: of no use without tls: nothing that goes to these servers is encrypted",
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			wantProblems(t, test.text, test.want)
		})
	}
}

// Servers of PostgreSQL that are spoken to over TLS without a word before it are most likely meant to be asked.
func TestStartTLSWarning(t *testing.T) {
	postgres := func(listener, backend, routes string) string {
		return strings.Replace(withBackend(backend), `":443"`, `":5432"`+listener, 1) + routes
	}
	const warning = "test.yaml:4:57: backends.mail.tls: listeners[0] brings PostgreSQL clients here, and servers before PostgreSQL 17 begin TLS only with starttls: postgres"
	for _, test := range []struct {
		name, text string
		want       []string
	}{
		{"not asked", postgres(", starttls: postgres", "tls: {}", ""), []string{warning}},
		{"asked", postgres(", starttls: postgres", "tls: {}, starttls: postgres", ""), nil},
		{"not PostgreSQL", postgres(", starttls: imap", "tls: {}", ""), nil},
		{"not encrypted", postgres(", starttls: postgres", "retries: 1", ""), nil},
		{
			"from another listener", postgres(`, starttls: postgres}, {address: ":443"`, "tls: {}", "routes: [{match: {listeners: [':443']}, backend: mail}]\n"), nil,
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			if diff := cmp.Diff(test.want, mustParse(t, test.text).Warnings); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}
