package instance

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"time"

	"hellogate/breaker"
	"hellogate/cache"
	"hellogate/control"
	"hellogate/control/config"
	"hellogate/store"
	"hellogate/store/chain"
	"hellogate/terminate/seen"
)

// stores are those of a configuration, in the order in which they are asked.
type stores struct {
	list   []*guarded
	before *stores // nil: there are none
}

// retireWait is how long fetches may take that are under way with a store that goes.
const retireWait = 30 * time.Second

var errNoStore = errors.New("stores: one is needed")

// openStores opens the first ones, before what needs the chain of them.
func (i *Instance) openStores() error {
	first, err := i.makeStores(i.config, nil, i.openStore)
	if err != nil {
		return err
	}
	i.stores = first
	retiring, end := context.WithCancel(context.Background())
	i.retire = func(unused <-chan struct{}, gone []*guarded) {
		i.retired.Go(func() { closeUnused(retiring, unused, gone) })
	}
	i.closeLater(func() {
		end()
		i.retired.Wait()
		for _, each := range i.stores.list {
			each.opened.shut()
		}
	})
	i.chain = chain.New(first.links(), i.options.Log)
	i.closeLater(i.chain.Close)
	i.warnOfSecrets(i.config)
	return nil
}

// makeStores opens what a configuration names and is not open yet. An error leaves everything as it was.
func (i *Instance) makeStores(loaded *config.Config, before *stores, open opener) (*stores, error) {
	made := &stores{before: before}
	if len(loaded.Stores) == 0 {
		return nil, errNoStore
	}
	for index, settings := range loaded.Stores {
		added, err := i.makeStore(before.find(settings.Name), settings, i.secretOf(loaded, settings), open)
		if err != nil {
			made.discard()
			return nil, describe(loaded, fmt.Sprintf("stores[%d]", index), err)
		}
		made.list = append(made.list, added)
	}
	return made, nil
}

// opener is openStore.
type opener func(settings config.Store, secret string) (opened, error)

// makeStore takes over the store that has the name, and its breaker's state, or opens one.
func (i *Instance) makeStore(before *guarded, settings config.Store, secret string, open opener) (*guarded, error) {
	files, _ := seen.Look(filesOf(settings)...) // whatever is wrong with one, the store says when it is opened
	if before != nil && before.secret == secret && before.files.Same(files) && reflect.DeepEqual(place(before.settings), place(settings)) {
		return &guarded{settings, secret, files, before.opened, before.Breaker}, nil
	}
	made, err := open(settings, secret)
	if err != nil {
		return nil, err
	}
	return &guarded{settings, secret, files, made, breaker.New(settings.Name, made.Store, i.breakerOptions(settings.Breaker))}, nil
}

// filesOf are the files that a store reads when it is opened, and never again.
func filesOf(settings config.Store) []string {
	switch {
	case settings.HTTP != nil:
		return []string{settings.HTTP.CAFile}
	case settings.Redis != nil:
		return []string{settings.Redis.CAFile}
	case settings.ACME != nil:
		return []string{settings.ACME.CAFile, settings.ACME.EAB.HMACFile}
	}
	return nil
}

// place is what settings say of the store itself: where it is and how it is spoken to.
func place(settings config.Store) config.Store {
	settings.Names, settings.Breaker, settings.WriteBack, settings.Allow = nil, config.Breaker{}, false, nil
	return settings
}

// find is the store of a name; nil: there is none.
func (s *stores) find(name string) *guarded {
	if s == nil {
		return nil
	}
	at := slices.IndexFunc(s.list, func(each *guarded) bool { return each.settings.Name == name })
	if at < 0 {
		return nil
	}
	return s.list[at]
}

// split are those that others have too, and those that they do not have.
func (s *stores) split(others *stores) (shared, own []*guarded) {
	for _, each := range s.list {
		if other := others.find(each.settings.Name); other != nil && other.Breaker == each.Breaker {
			shared = append(shared, each)
		} else {
			own = append(own, each)
		}
	}
	return shared, own
}

// discard closes what was opened for stores that are not used.
func (s *stores) discard() {
	_, own := s.split(s.before)
	for _, each := range own {
		each.opened.shut()
	}
}

func (o opened) shut() {
	if o.close != nil {
		o.close()
	}
}

// links are the stores as the chain asks them.
func (s *stores) links() []chain.Link {
	links := make([]chain.Link, 0, len(s.list))
	for _, each := range s.list {
		link := chain.Link{
			Name: each.settings.Name, Store: each.Breaker, Names: each.settings.Names,
			WriteBack: each.settings.WriteBack, Fetches: each.opened.fetches,
		}
		if watcher, tells := each.opened.Store.(store.Watcher); tells {
			link.Watcher = watcher
		}
		if writer, takes := each.opened.Store.(store.Writer); takes {
			link.Writer = writer
		}
		links = append(links, link)
	}
	return links
}

// fetches is how many names they are asked for at once.
func (s *stores) fetches() (fetches int) {
	for _, each := range s.list {
		fetches += each.opened.fetches
	}
	return fetches
}

func (s *stores) names() (names []string) {
	for _, each := range s.list {
		names = append(names, each.settings.Name)
	}
	return names
}

// takeStores makes those of a plane.
func (i *Instance) takeStores(p *plane) (err error) {
	if p.before == nil {
		p.stores = i.stores
		return nil
	}
	p.stores, err = i.makeStores(p.config, p.before.stores, i.openStore)
	return err
}

// useStores has stores be asked in place of those before, which are closed when nobody asks them any more.
func (i *Instance) useStores(next *stores) {
	before := next.before
	next.before = nil
	for _, each := range next.list {
		each.Limit(each.settings.Breaker.Failures, each.settings.Breaker.Reset)
	}
	i.stores = next
	unused := i.chain.Replace(next.links())
	i.cache.StoresReplaced(replacement(before, next))
	if _, gone := before.split(next); len(gone) > 0 {
		i.retire(unused, gone)
	}
}

// closeUnused closes stores when nobody asks them any more, or when that takes too long, or at the end of ctx.
func closeUnused(ctx context.Context, unused <-chan struct{}, gone []*guarded) {
	enough := time.NewTimer(retireWait)
	defer enough.Stop()
	select {
	case <-unused:
	case <-enough.C:
	case <-ctx.Done():
	}
	for _, each := range gone {
		each.opened.shut()
	}
}

// replacement is what the cache has to know of other stores, or of the same for other names or in another order.
func replacement(before, next *stores) cache.Replacement {
	by := cache.Replacement{Fetches: next.fetches()}
	stayed, gone := before.split(next)
	stay, came := next.split(before)
	touched := slices.Concat(gone, came)
	moved := !slices.EqualFunc(stayed, stay, func(was, is *guarded) bool { return was.Breaker == is.Breaker })
	for _, is := range stay {
		if was := before.find(is.settings.Name); moved || !slices.Equal(was.settings.Names, is.settings.Names) {
			touched = append(touched, was, is)
		}
	}
	if len(touched) == 0 {
		return by
	}
	by.Takes = func(name string) bool {
		return slices.ContainsFunc(touched, func(each *guarded) bool { return each.Takes(name) })
	}
	by.Others = (&stores{list: came}).names()
	by.Touched = slices.Concat(before.names(), next.names()) // what one answered that stays may be for another to answer now
	return by
}

// storeStatuses are the stores as they are shown, in the order in which they are asked.
func (i *Instance) storeStatuses() []control.Store {
	list := i.plane.Load().stores.list
	statuses := make([]control.Store, 0, len(list))
	for _, each := range list {
		statuses = append(statuses, each)
	}
	return statuses
}
