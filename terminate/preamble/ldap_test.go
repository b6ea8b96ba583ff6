package preamble

import (
	"strings"
	"testing"
)

const starttls = "0\x1d\x02\x01\x01w\x18\x80\x161.3.6.1.4.1.1466.20037"

// ldapMessage makes a message of an operation; everything has to be shorter than 128 bytes.
func ldapMessage(id, operation, controls string) string {
	body := "\x02" + string(rune(len(id))) + id + operation + controls
	return "0" + string(rune(len(body))) + body
}

func ldapExtended(name, rest string) string {
	body := "\x80" + string(rune(len(name))) + name + rest
	return "w" + string(rune(len(body))) + body
}

// ldapResult is an answer.
func ldapResult(id, tag string, code rune, text, name string) string {
	body := "\x0a\x01" + string(code) + "\x04\x00\x04" + string(rune(len(text))) + text
	if name != "" {
		body += "\x8a" + string(rune(len(name))) + name
	}
	return ldapMessage(id, tag+string(rune(len(body)))+body, "")
}

func TestLDAPClients(t *testing.T) {
	ready := "<" + "0\x24\x02\x01\x01x\x1f\x0a\x01\x00\x04\x00\x04\x00\x8a\x16" + "1.3.6.1.4.1.1466.20037"
	notice := "<" + ldapResult("\x00", "x", 2, "no StartTLS request", "1.3.6.1.4.1.1466.20036")
	bind := ldapMessage("\x01", "\x60\x07\x02\x01\x03\x04\x00\x80\x00", "")
	first := func(id, tag string) string { return "<" + ldapResult(id, tag, 13, "StartTLS first", "") }
	negotiate(t, ldap{}, []client{
		{name: "StartTLS", script: talk{">" + starttls, ready}},
		{name: "lengths as of Windows", script: talk{
			">0\x84\x00\x00\x00\x28\x02\x04\x01\x02\x03\x04w\x84\x00\x00\x00\x1c\x80\x84\x00\x00\x00\x161.3.6.1.4.1.1466.20037",
			"<" + ldapResult("\x01\x02\x03\x04", "x", 0, "", oidStartTLS),
		}},
		{name: "a bind, then TLS", script: talk{">" + bind, first("\x01", "\x61"), ">" + starttls, ready}},
		{name: "another extended operation", script: talk{
			">" + ldapMessage("\x02", ldapExtended("1.3.6.1.4.1.4203.1.11.3", ""), ""), first("\x02", "x"),
			">" + starttls, ready,
		}},
		{name: "all that can be asked", script: talk{
			">" + ldapMessage("\x01", "\x63\x00", ""), first("\x01", "\x65"), ">" + ldapMessage("\x02", "\x66\x00", ""), first("\x02", "\x67"),
			">" + ldapMessage("\x03", "\x68\x00", ""), first("\x03", "\x69"), ">" + ldapMessage("\x04", "\x4a\x00", ""), first("\x04", "\x6b"),
			">" + ldapMessage("\x05", "\x6c\x00", ""), first("\x05", "\x6d"), ">" + ldapMessage("\x06", "\x6e\x00", ""), first("\x06", "\x6f"),
			">" + ldapMessage("\x07", "\x50\x01\x06", ""), ">" + ldapMessage("\x08", "\x42\x00", ""),
		}, fault: Plaintext, says: "the client wants compare without TLS"},
		{name: "a bind and away", script: talk{">" + bind, first("\x01", "\x61")}, fault: Plaintext},
		{name: "unbind", script: talk{">" + ldapMessage("\x01", "\x42\x00", "")}, fault: ClosedEarly},
		{name: "nothing", fault: ClosedEarly},
		{name: "a length below zero, where an int has 32 bits", script: talk{">0\x84\xff\xff\xff\xf0", notice}, fault: Malformed},
		{name: "a length just below that", script: talk{">0\x84\x7f\xff\xff\xff", notice}, fault: Malformed},
		{name: "half", script: talk{">" + starttls[:20]}, fault: ClosedEarly},
		{
			name: "bytes behind StartTLS", script: talk{">" + starttls + bind, "<" + ldapResult("\x01", "x", 1, "nothing may follow StartTLS before its answer", oidStartTLS)},
			segment: true, fault: Injection,
		},
		{name: "with a value", script: talk{
			">" + ldapMessage("\x01", ldapExtended(oidStartTLS, "\x81\x01x"), ""),
			"<" + ldapResult("\x01", "x", 2, "StartTLS takes no value", oidStartTLS),
		}, fault: ClosedEarly},
		{name: "a control of Java", script: talk{">" + ldapMessage("\x01", ldapExtended(oidStartTLS, ""), "\xa0\x1b0\x19\x04\x172.16.840.1.113730.3.4.2"), ready}},
		{name: "a control that may be ignored", script: talk{">" + ldapMessage("\x01", ldapExtended(oidStartTLS, ""), "\xa0\x080\x06\x04\x011\x01\x01\x00"), ready}},
		{name: "a critical control", script: talk{
			">" + ldapMessage("\x01", ldapExtended(oidStartTLS, ""), "\xa0\x080\x06\x04\x011\x01\x01\xff"),
			"<" + ldapResult("\x01", "x", 12, "no such control of StartTLS", oidStartTLS),
		}, fault: ClosedEarly},
		{name: "controls that are none", script: talk{
			">" + ldapMessage("\x01", ldapExtended(oidStartTLS, ""), "\xa0\x02xx"),
			"<" + ldapResult("\x01", "x", 2, "the controls are malformed", oidStartTLS),
		}, fault: ClosedEarly},
		{name: "the id of a notice", script: talk{">" + ldapMessage("\x00", ldapExtended(oidStartTLS, ""), ""), notice}, fault: Malformed},
		{name: "an unknown operation", script: talk{">" + ldapMessage("\x7f", "\x7e\x00", ""), notice}, fault: Malformed},
		{name: "an id with a sign", script: talk{">0\x05\x02\x01\x80\x42\x00", notice}, fault: Malformed},
		{name: "an id of five bytes", script: talk{">0\x09\x02\x05\x01\x01\x01\x01\x01\x42\x00", notice}, fault: Malformed},
		{name: "an id with a zero before it", script: talk{">0\x06\x02\x02\x00\x01\x42\x00", notice}, fault: Malformed},
		{name: "no operation", script: talk{">0\x03\x02\x01\x01", notice}, fault: Malformed},
		{name: "more than a message", script: talk{">0\x07\x02\x01\x01\x42\x00\x04\x00", notice}, fault: Malformed},
		{name: "an element longer than the message", script: talk{">0\x05\x02\x01\x01\x42\x01", notice}, fault: Malformed},
		{name: "indefinite length", script: talk{">0\x80", notice}, fault: Malformed},
		{name: "a length of five bytes", script: talk{">0\x85\x00\x00\x00\x00\x01", notice}, fault: Malformed},
		{name: "indefinite length within", script: talk{">0\x05\x02\x01\x01\x42\x80", notice}, fault: Malformed},
		{name: "StartTLS in a search", script: talk{">" + ldapMessage("\x01", "\x63"+ldapExtended(oidStartTLS, "")[1:], ""), first("\x01", "\x65")}, fault: Plaintext},
		{name: "four gigabytes", script: talk{">0\x84\xff\xff\xff\xff", notice}, fault: Malformed},
		{name: "a message too long", script: talk{">0\x82\x0f\xfd", notice}, fault: Malformed},
		{name: "TLS at once", script: talk{">" + hello, notice}, fault: Malformed, says: "TLS where"},
		{name: "HTTP", script: talk{">GET", notice}, fault: Malformed},
		{name: "abandoned again and again", script: talk{">" + strings.Repeat(ldapMessage("\x02", "\x50\x01\x01", ""), 20), notice}, fault: Malformed},
		{name: "binds again and again", script: talk{">" + strings.Repeat(bind, 20), "<" + strings.Repeat(first("\x01", "\x61")[1:], 20), notice}, fault: Plaintext},
	})
}

func TestLDAPServers(t *testing.T) {
	asked := "<" + starttls
	request(t, ldap{}, []server{
		{name: "as OpenLDAP", script: talk{asked, ">0\x0c\x02\x01\x01x\x07\x0a\x01\x00\x04\x00\x04\x00"}},
		{name: "with the name", script: talk{asked, ">" + ldapResult("\x01", "x", 0, "", oidStartTLS)}},
		{
			name: "no StartTLS", script: talk{asked, ">" + ldapResult("\x01", "x", 2, "unsupported extended operation", "")}, fault: Plaintext,
			says: `result 2: "unsupported extended operation"`,
		},
		{name: "a notice of disconnection", script: talk{asked, ">" + ldapResult("\x00", "x", 52, "busy", oidDisconnection)}, fault: Plaintext, says: "busy"},
		{name: "the answer to something else", script: talk{asked, ">" + ldapResult("\x02", "x", 0, "", "")}, fault: Malformed},
		{name: "another answer", script: talk{asked, ">" + ldapResult("\x01", "\x61", 0, "", "")}, fault: Malformed},
		{name: "half an answer", script: talk{asked, ">0\x0a\x02\x01\x01x\x05\x0a\x01\x00\x04\x00"}, fault: Malformed},
		{name: "bytes behind the answer", script: talk{asked, ">" + ldapResult("\x01", "x", 0, "", "") + "0"}, segment: true, fault: Injection},
		{name: "SSH", script: talk{asked, ">SSH-2.0"}, fault: Malformed},
		{name: "away", script: talk{asked}, fault: ClosedEarly},
	})
}
