package handover

import (
	"os"
	"strconv"
	"strings"
	"testing"
	"time"
)

func TestSibling(t *testing.T) {
	before := descriptors()
	defer func() {
		if after := descriptors(); after > before+1 { // the front of the upgrade that worked is closed later
			t.Errorf("%d descriptors, had %d", after, before)
		}
	}()
	sibling := func(b *bench) { b.options.Sibling = true }
	b := newBench(t, "good", sibling)
	b.upgrade()
	if parent, err := ask(b.address, "parent"); parent != strconv.Itoa(os.Getppid()) {
		t.Errorf("its parent is %q (%v), want ours, %d", parent, err, os.Getppid())
	}
	for _, c := range []struct{ role, want string }{
		{"exits late", "as it takes over: it has ended"},
		{"hangs late", "not done within"},
		{"refuses", "no such thing"},
	} {
		b := newBench(t, c.role, sibling)
		defer b.front.Close()
		b.options.Timeout = 500 * time.Millisecond
		_, err := NewUpgrader(b.options).Upgrade(t.Context())
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", c.role, err)
		}
		if pid := pidIn(err); pid == 0 || alive(pid) {
			t.Errorf("%s: process %d lives on", c.role, pid)
		}
	}
}
