package instance

import "testing"

// Memory is given back once for each burst, when it is over, and not while traffic is steady.
func TestBurst(t *testing.T) {
	tests := []struct {
		name string
		work []uint64 // in each tick, in 40 KB
		over []bool
	}{
		{"nothing", []uint64{0, 0, 0}, []bool{false, false, false}},
		{"little", []uint64{100, 0, 100, 0}, []bool{false, false, false, false}},
		{"steady", []uint64{5000, 4000, 5000, 1000}, []bool{false, false, false, false}},
		{"a burst, then silence", []uint64{8000, 0, 0}, []bool{false, true, false}},
		{"a burst, then a trickle", []uint64{8000, 8000, 300, 300, 200}, []bool{false, false, true, false, false}},
		{"two bursts", []uint64{8000, 0, 8000, 0}, []bool{false, true, false, true}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			var watch burst
			total := uint64(0)
			for i, work := range test.work {
				total += work * 40_000
				if over := watch.over(total); over != test.over[i] {
					t.Errorf("tick %d: %v", i, over)
				}
			}
		})
	}
}

// The heap may grow by 16 MB before it is collected, by four times what is live at the most, and never by less than the
// default.
func TestGarbagePercent(t *testing.T) {
	for live, want := range map[uint64]int{0: 400, 4 << 20: 400, 8 << 20: 200, 16 << 20: 100, 500 << 20: 100} {
		if got := garbagePercent(live); got != want {
			t.Errorf("%d MB live: %d %%, want %d", live>>20, got, want)
		}
	}
}
