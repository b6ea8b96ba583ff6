// Package systemd speaks with systemd: it takes the sockets that a socket unit has opened, and tells the service manager how
// the service is doing. Other service managers speak the same.
//
// The rule it guards: without a service manager everything works the same and nothing is said; and what is told can't keep the
// service from its work: every message has a deadline, and one that is lost is an error to be logged, no more.
package systemd
