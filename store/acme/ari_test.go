package acme

import (
	"net/http"
	"strings"
	"testing"
	"time"
)

// A certificate is in effect at once although its authority has no renewal information to give: a client may be waiting, and
// acmez asks again with pauses of seconds.
func TestCertificateDoesNotWaitForRenewalInformation(t *testing.T) {
	in(t, nil, func(t *testing.T, w *world) {
		w.ca.set(func() {
			w.ca.ari = func(now time.Time) (start, end time.Time) { return now, now.Add(time.Hour) }
			w.ca.fault = func(_ *fakeCA, at string, w http.ResponseWriter) bool {
				if !strings.HasPrefix(at, "/ari") {
					return false
				}
				w.WriteHeader(http.StatusInternalServerError)
				return true
			}
		})
		began := time.Now()
		w.Start()
		w.mustLeaf(w.Store, example)
		if took := time.Since(began); took > 2*time.Second {
			t.Errorf("it took %v", took)
		}
		time.Sleep(time.Minute)
		if status := w.status(example); status.State != StateValid || status.Errors != 0 {
			t.Errorf("%+v", status)
		}
	})
}
