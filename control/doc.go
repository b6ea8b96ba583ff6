// Package control is how a running hellogate is looked at and told what to do: HTTP and JSON over a Unix
// socket, and the client that the commands use.
//
// The rule it guards: the control plane never hurts the data plane. Connections, bodies and times are
// bounded, lists are streamed without a lock, and whatever changes state is logged with who asked for it.
// No answer holds key material.
package control
