package demo

import (
	"bytes"
	"text/template"
)

// configuration is the load balancer's, as a newcomer would write it.
func (d *demo) configuration(address string) []byte {
	return fill(configurationText, struct {
		Place
		Listen string
	}{d.place, address})
}

// instructions are the commands to try, as they can be pasted.
func (p Place) instructions() string { return string(fill(instructionsText, p)) }

func fill(text *template.Template, values any) []byte {
	var filled bytes.Buffer
	if err := text.Execute(&filled, values); err != nil {
		panic(err) // the templates and their values are both of this package
	}
	return filled.Bytes()
}

var configurationText = template.Must(template.New("configuration").Parse(`listeners:
  - address: "{{.Listen}}"
stores:
  - http:
      url: {{.Store}}
      token_file: {{.TokenFile}}
cache:
  alias_ca_file: {{.CAFile}}
backends:
  echo:
    servers: [{address: "{{.Backend}}"}]
    send_proxy: v2
routes:
  - match: {names: ["*"]}
    backend: echo
limits: {connections: 1000, drain_timeout: 2s}
control: {socket: {{.Control}}}
log: {format: text}
`))

var instructionsText = template.Must(template.New("instructions").Parse(`hellogate demo, all of it on loopback:

  load balancer       {{.Address}}, configured by {{.Config}}
  certificate store   {{.Store}}/NAME makes a certificate for any name that it is asked for
  backend             {{.Backend}} shows the PROXY header it got, then echoes what it is sent

Try, in another terminal, with any name:

  curl --cacert {{.CAFile}} --connect-to ::{{.Address}} https://shop.example/

  (echo hello; sleep 1) | openssl s_client -quiet -no_ign_eof -verify_return_error -CAfile {{.CAFile}} -connect {{.Address}} -servername db.example

  {{.Command}} status --control {{.Control}}
  {{.Command}} explain shop.example --control {{.Control}}
  {{.Command}} flush shop.example --control {{.Control}}
  curl --unix-socket {{.Control}} http://hellogate/status

The store knows nothing of names that end in .invalid: a client that asks for one is refused, with the TLS alert
unrecognized_name. This says so, step by step:

  {{.Command}} explain shop.invalid --fetch --control {{.Control}}

Ctrl-C ends it and removes its files. What follows is the load balancer's log.

`))
