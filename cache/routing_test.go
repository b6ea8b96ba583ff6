package cache

import (
	"context"
	"slices"
	"testing"
	"time"

	"hellogate/store"
	"hellogate/store/certtest"
)

func routes(to store.Routing, issued certtest.Issued) func(store.Request) (*store.Bundle, error) {
	return func(store.Request) (*store.Bundle, error) {
		return &store.Bundle{Store: "shelf", Pairs: []store.Pair{issued.Pair}, Routing: &to}, nil
	}
}

func (l *lab) routedTo(name string, want ...string) {
	l.t.Helper()
	got, err := l.Get(context.Background(), Query{Name: name})
	if err != nil {
		l.t.Fatal(err)
	}
	var servers []string
	if got.Routing != nil {
		servers = got.Routing.Servers
	}
	if !slices.Equal(servers, want) {
		l.t.Fatalf("%s is routed to %q, want %q", name, servers, want)
	}
}

// Routing is of the name that was asked for, is asked for again at its first use after its time, and is used until there is
// an answer.
func TestRouting(t *testing.T) {
	run(t, nil, func(t *testing.T, l *lab) {
		issued := l.ca.Issue(t, "a.example", "b.example")
		l.shelf.set("a.example", routes(store.Routing{Servers: []string{"10.0.0.1:1"}}, issued))
		l.routedTo("a.example", "10.0.0.1:1")
		l.routedTo("b.example") // an alias, which is fetched for itself and is unknown
		l.sleep(time.Hour)
		l.asked("a.example", 1)
		l.shelf.set("a.example", routes(store.Routing{Servers: []string{"10.0.0.2:2"}}, issued))
		l.routedTo("a.example", "10.0.0.1:1")
		l.sleep(0)
		l.routedTo("a.example", "10.0.0.2:2")
		l.asked("a.example", 2)
		l.shelf.set("a.example", failing(errDown))
		l.sleep(2 * time.Minute)
		for range 100 {
			l.routedTo("a.example", "10.0.0.2:2")
		}
		l.sleep(0)
		l.asked("a.example", 3)
		l.Flush("a.example")
		l.shelf.set("a.example", gives(issued))
		l.routedTo("a.example")
	})
}
