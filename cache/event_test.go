package cache

import (
	"sync"
	"testing"
	"testing/synctest"

	"hellogate/store"
)

// A name that could not be fetched is told of, once while that is remembered. What a breaker cut off is not: nothing was
// tried, and there may be very many.
func TestFailuresThatAreToldOf(t *testing.T) {
	for name, test := range map[string]struct {
		err  error
		want int
	}{
		"failed":  {&store.Failure{Err: errDown}, 1},
		"cut off": {&store.Failure{Err: errDown, CutOff: true}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			var mu sync.Mutex
			var told []Event
			run(t, func(o *Options) {
				o.Event = func(e Event) {
					mu.Lock()
					defer mu.Unlock()
					told = append(told, e)
				}
			}, func(t *testing.T, l *lab) {
				l.shelf.setAll(failing(test.err))
				for range 100 {
					l.refuses("a.example", errDown)
				}
				synctest.Wait()
				mu.Lock()
				defer mu.Unlock()
				if len(told) != test.want || test.want > 0 && (told[0].Event != EventFailed || told[0].Name != "a.example") {
					t.Fatalf("told %+v", told)
				}
			})
		})
	}
}
