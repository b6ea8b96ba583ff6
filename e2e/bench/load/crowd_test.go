package load

import (
	"net"
	"strings"
	"sync"
	"testing"
)

// A crowd first reaches the limit, then counts who is refused, and nobody else.
func TestCrowd(t *testing.T) {
	tests := []struct {
		name    string
		admits  int    // connections, before others are refused
		refuse  string // what others are sent
		linger  int    // -1: their end is orderly, 0: a reset
		opening string // why nothing can be measured
	}{
		{"a reset", 1, "", 0, ""},
		{"an orderly end", 1, "", -1, ""},
		{"everyone refused", 0, "", 0, ""},
		{"nobody refused", 1000, "", 0, "none is refused"},
		{"words", 1, "no", -1, "refused with words"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			address := refuser(t, test.admits, test.refuse, test.linger)
			c, err := newCrowd(Plan{Address: address, Connections: 3})
			if test.opening != "" {
				if err == nil || !strings.Contains(err.Error(), test.opening) {
					t.Errorf("%v", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			defer c.close()
			var tally tally
			c.round(100, &tally)
			if got := tally.result(0); got.Operations != 100 || got.Errors != 0 {
				t.Errorf("%+v", got)
			}
		})
	}
}

// refuser admits so many connections, and ends the others.
func refuser(t *testing.T, admits int, words string, linger int) (address string) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var accepting sync.WaitGroup
	t.Cleanup(func() {
		listener.Close()
		accepting.Wait()
	})
	accepting.Go(func() {
		for number := 1; ; number++ {
			connection, err := listener.Accept()
			if err != nil {
				return
			}
			if number <= admits {
				defer connection.Close()
				continue
			}
			_, _ = connection.Write([]byte(words))
			_ = connection.(*net.TCPConn).SetLinger(linger)
			connection.Close()
		}
	})
	return listener.Addr().String()
}
