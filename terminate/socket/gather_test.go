package socket

import (
	"errors"
	"net"
	"testing"
	"time"
)

// A listener that lets connections come together misses none: neither those that come meanwhile, nor one that comes long
// after the last, nor its end.
func TestGather(t *testing.T) {
	l, at := listenOn(t, startGroup(t), "tcp", "127.0.0.1:0")
	accepted := make(chan error)
	go func() {
		for {
			c, err := l.Accept()
			if accepted <- err; err != nil {
				return
			}
			c.Abort()
			l.Gather(true)
		}
	}()
	next := func() error {
		t.Helper()
		select {
		case err := <-accepted:
			return err
		case <-time.After(patience):
			t.Fatal("nothing")
		}
		return nil
	}
	for _, together := range []int{1, 5, 1} {
		for range together {
			peer, err := net.Dial("tcp", at.String())
			if err != nil {
				t.Fatal(err)
			}
			defer peer.Close()
		}
		for range together {
			if err := next(); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(settled)
	}
	l.End()
	if err := next(); !errors.Is(err, net.ErrClosed) {
		t.Error(err)
	}
}
