package e2e

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// A permission endpoint that is down costs its time-out for a few names, and then for none: unknown ones fail at once, as a
// failure, what has a certificate is served, and everybody is told.
func TestPermissionIsCutOff(t *testing.T) {
	t.Parallel()
	p := newPermits(t)
	w := newWorld(t, strings.TrimSuffix(p.setting(), "}")+", breaker: {failures: 3, reset: 6s}}")
	w.visit("had.example")
	p.stop()
	for i := range 3 {
		w.refused(fmt.Sprintf("down%d.example", i), alertInternalError)
	}
	wantExit(t, "status", w.ctl("status"), 0, "DEGRADED", "! permission http://"+p.address+"/ask is not asked, it kept failing")
	text, steps := w.explain("new.example")
	wantText(t, "explain", text, `refused with alert 80 .*: permission kept failing and is not asked for`)
	if !strings.HasPrefix(steps["permission"], "would not be asked: breaker open") || steps["store"] != "" {
		t.Errorf("steps %q", steps)
	}
	w.refused("cut.example", alertInternalError)
	w.visit("had.example")
	p.start()
	w.eventually("permission is asked again", func() bool { return w.ctl("prefetch", fmt.Sprintf("n%d.example", time.Now().UnixNano())).code == 0 })
}
