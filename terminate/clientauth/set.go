package clientauth

import (
	"context"
	"time"
)

// Set is the policies of one configuration. The zero value is empty.
type Set struct {
	policies map[key]*Policy
	sources  map[files]*source
}

// key tells policies apart.
type key struct {
	rules string
	files files
}

// Policy returns the policy for options, nil for mode [Off]. Those that are alike are one, and those with the same files
// read them once. It must not be called once Watch runs. The error says which option makes no sense, or what is wrong with
// a file.
func (s *Set) Policy(o Options) (*Policy, error) {
	if o.Mode == Off {
		return nil, nil
	}
	if err := o.check(); err != nil {
		return nil, err
	}
	k := key{o.rules(), files{o.CAFile, o.CRLFile}}
	if made := s.policies[k]; made != nil {
		return made, nil
	}
	allow, err := newAllow(o.Allow)
	if err != nil {
		return nil, err
	}
	from, err := s.source(k.files)
	if err != nil {
		return nil, err
	}
	made := &Policy{mode: o.Mode, allow: allow, rules: k.rules, source: from}
	if s.policies == nil {
		s.policies = map[key]*Policy{}
	}
	s.policies[k] = made
	return made, nil
}

func (s *Set) source(f files) (*source, error) {
	if made := s.sources[f]; made != nil {
		return made, nil
	}
	made := &source{files: f}
	if _, err := made.reread(); err != nil {
		return nil, err
	}
	if s.sources == nil {
		s.sources = map[files]*source{}
	}
	s.sources[f] = made
	return made, nil
}

// lookEvery is how often the files are looked at.
const lookEvery = time.Second

// Watch reads the files again when they have changed, until ctx is done. report is told: nil when they were read and what
// they hold is used from now on, or, once, what is wrong, while what they held before stays in use. It is called by Watch
// alone, one call at a time.
func (s *Set) Watch(ctx context.Context, report func(caFile, crlFile string, err error)) {
	ticks := time.NewTicker(lookEvery)
	defer ticks.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticks.C:
			for f, from := range s.sources {
				if changed, err := from.look(); changed || err != nil {
					report(f.ca, f.crl, err)
				}
			}
		}
	}
}
