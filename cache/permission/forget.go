package permission

import "slices"

// Forget forgets what was answered for names, and returns those that something was remembered of, sorted. What the
// endpoint is being asked about them is not remembered, and who asks from now on does not wait for it.
func (p *Permission) Forget(names ...string) []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	var forgotten []string
	for _, name := range names {
		if p.forget(name) {
			forgotten = append(forgotten, name)
		}
	}
	slices.Sort(forgotten)
	return forgotten
}

// ForgetFunc is Forget for all names that takes reports true for. It must not call the Permission.
func (p *Permission) ForgetFunc(takes func(name string) bool) []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	var forgotten []string
	for name := range p.names() {
		if takes(name) && p.forget(name) {
			forgotten = append(forgotten, name)
		}
	}
	slices.Sort(forgotten)
	return forgotten
}

// ForgetAll is Forget for all names.
func (p *Permission) ForgetAll() []string { return p.ForgetFunc(func(string) bool { return true }) }

// names yields those that were answered or are being asked about. They may be forgotten meanwhile.
func (p *Permission) names() func(yield func(string) bool) {
	return func(yield func(string) bool) {
		for _, held := range []map[string]*answer{p.yes.byName, p.no.byName} {
			for name := range held {
				if !yield(name) {
					return
				}
			}
		}
		for name := range p.flights {
			if !yield(name) {
				return
			}
		}
	}
}

// forget reports whether anything was remembered of a name. The caller holds mu.
func (p *Permission) forget(name string) bool {
	if under := p.flights[name]; under != nil {
		under.forgotten = true
		delete(p.flights, name)
	}
	yes, no := p.yes.drop(name), p.no.drop(name)
	return yes || no
}
