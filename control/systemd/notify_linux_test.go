package systemd

import (
	"testing"
	"time"
)

func TestAbstractSocket(t *testing.T) {
	m := newManager(t, true)
	if err := m.notifier().Ready("x"); err != nil {
		t.Fatal(err)
	}
	if got := m.next(time.Second, true); got != "READY=1\nSTATUS=x" {
		t.Errorf("got %q", got)
	}
}
