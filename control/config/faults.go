package config

// mostProblems bounds what is kept: whoever fixes these reads the rest then.
const mostProblems = 1000

// faults remembers the paths that something was found wrong with, so that one
// mistake is reported once: what was not understood is also missing, and what
// points to it points nowhere.
type faults struct{ at, below map[string]bool }

func newFaults() faults {
	return faults{at: make(map[string]bool), below: make(map[string]bool)}
}

func (f faults) mark(path string) {
	f.at[path] = true
	for path != "" {
		path = parent(path)
		f.below[path] = true
	}
}

// touch reports whether there is a fault at path, around it or in it.
func (f faults) touch(path string) bool {
	if f.below[path] || f.at[path] {
		return true
	}
	for path != "" {
		path = parent(path)
		if f.at[path] {
			return true
		}
	}
	return false
}
