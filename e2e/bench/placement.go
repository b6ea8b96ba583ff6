package main

import (
	"fmt"
	"runtime"

	"hellogate/e2e/bench/process"
)

// placement says on which processors what runs. Empty lists: on any.
type placement struct {
	threads      int
	proxy, load  []int
	processors   int // of the machine
	cannotBindTo bool
}

// place gives the proxy as many processors as it has threads, and the others to client, backend and store. Where none
// would be left for them, nothing is bound and all share.
func place(threads int) placement {
	available := process.Processors()
	p := placement{threads: threads, processors: max(len(available), 1), cannotBindTo: len(available) == 0}
	if p.cannotBindTo {
		p.processors = runtime.NumCPU()
	}
	if len(available) > threads {
		p.proxy, p.load = available[:threads], available[threads:]
	}
	return p
}

func (p placement) pinned() bool { return len(p.proxy) > 0 }

func (p placement) String() string {
	switch {
	case p.pinned():
		return fmt.Sprintf("threads %d: the proxy on processor %v, client, backend and store on %v", p.threads, p.proxy, p.load)
	case p.cannotBindTo:
		return fmt.Sprintf("threads %d: processes can't be bound to processors here: all share %d", p.threads, p.processors)
	}
	return fmt.Sprintf("threads %d: not pinned: the proxy, client, backend and store share %d processors", p.threads, p.processors)
}
