package pool

// Operated is what the operator has set of a server as configured, for the process that comes after.
type Operated struct {
	Address    string `json:"address"` // as configured
	Admin      Admin  `json:"admin"`
	Weight     int    `json:"weight"`     // -1: as configured
	Configured int    `json:"configured"` // the weight that was
}

// Operated returns what the operator has set, of the servers of which something is.
func (p *Pool) Operated() (all []Operated) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, m := range p.members {
		if m.admin != Enabled || m.override != asConfigured {
			all = append(all, Operated{m.address.text, m.admin, m.override, m.options.Weight})
		}
	}
	return all
}

// Operate sets what the operator has set before, as far as it holds: of servers that are configured, and a weight where the
// configured one is what it was.
func (p *Pool) Operate(all []Operated) {
	for _, before := range all {
		if before.Admin > Disabled || before.Weight < asConfigured || before.Weight > MaxWeight {
			continue
		}
		_ = p.operate(before.Address, func(m *member) { // one that is not configured any more is none to set anything of
			m.admin = before.Admin
			if m.options.Weight == before.Configured {
				m.override = before.Weight
			}
		})
	}
}
