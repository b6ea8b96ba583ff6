package instance

import (
	"cmp"
	"context"
	"iter"
	"os"
	"strings"
	"time"

	"hellogate/control"
	"hellogate/control/config"
	"hellogate/control/events"
	"hellogate/store/acme"
	"hellogate/store/acme/challenge"
	"hellogate/store/acme/folder"
	"hellogate/store/acme/message"
)

// acmeFetches is how many names are asked for at once: most wait for an order, and those that are known must not wait for them.
const acmeFetches = 512

// openACME opens a store that orders certificates, and its folder. Nothing is ordered yet: see startOrders.
func (i *Instance) openACME(settings config.Store) (opened, error) {
	kept, err := folder.Open(folder.Options{Path: settings.ACME.Storage, Log: i.options.Log})
	if err != nil {
		return opened{}, err
	}
	options, err := i.acmeOptions(settings, kept)
	if err != nil {
		return opened{}, err
	}
	made, err := acme.New(options)
	if err != nil {
		return opened{}, err
	}
	return opened{made, made.Close, acmeFetches, acmeFiles}, nil
}

func (i *Instance) acmeOptions(settings config.Store, kept *folder.Folder) (options acme.Options, err error) {
	from := settings.ACME
	options = acme.Options{
		Name: settings.Name, Version: i.options.Version, Directories: from.Directories, Contact: from.Contact, AcceptTerms: from.AcceptTerms,
		OnDemand: from.OnDemand,
		// The cache has asked for permission when it comes to the stores; that is what is configured since the start.
		Any:     len(from.OnDemand) == 0 && i.config.Permission.URL != "",
		Storage: kept, Profile: from.Profile, HTTP01: from.HTTP01 != "", Wait: from.Wait,
		Limits: acme.Limits{Rate: from.Limits.Rate, Burst: from.Limits.Burst, AtOnce: from.Limits.AtOnce, PerDomain: cmp.Or(from.Limits.PerDomain, -1)},
		Event:  i.tellOrder(settings.Name), Log: i.options.Log,
	}
	for _, name := range from.Names {
		options.Names = append(options.Names, name.String())
	}
	for _, kind := range from.KeyTypes {
		options.KeyTypes = append(options.KeyTypes, string(kind))
	}
	if options.Roots, err = roots(from.CAFile); err != nil {
		return options, err
	}
	if options.EAB, err = binding(from.EAB); err != nil {
		return options, err
	}
	if len(from.DNS01) > 0 {
		if options.DNS01, err = challenge.NewDNS(challenge.DNSOptions{Argv: from.DNS01, Wait: from.DNS01Wait, Storage: kept, Log: i.options.Log}); err != nil {
			return options, err
		}
	}
	if len(from.Message) > 0 {
		options.Message, err = message.New(message.Options{Argv: from.Message, Log: i.options.Log})
	}
	return options, err
}

// binding reads the key of an external account.
func binding(settings config.EAB) (acme.EAB, error) {
	if settings.HMACFile == "" {
		return acme.EAB{}, nil
	}
	key, err := os.ReadFile(settings.HMACFile)
	return acme.EAB{KeyID: settings.KID, MACKey: strings.TrimSpace(string(key))}, err
}

// startOrders has the stores of a plane begin to order. Not before connections are accepted: a CA would find nobody.
func (i *Instance) startOrders(p *plane) {
	for _, each := range p.stores.list {
		if orders, ok := each.opened.Store.(*acme.Store); ok {
			orders.Start()
		}
	}
}

// orderEvents are the kinds of events of a store, as ours are called.
var orderEvents = map[string]string{
	acme.EventRenewing:       events.ACMERenewing,
	acme.EventChallengeSetup: events.ACMEChallengeSetup,
	acme.EventRenewed:        events.ACMERenewed,
	acme.EventInstalled:      events.ACMEInstalled,
	acme.EventExpiring:       events.ACMEExpiring,
	acme.EventErrored:        events.ACMEErrored,
	acme.EventRevoked:        events.ACMERevoked,
}

// tellOrder passes on what a store tells.
func (i *Instance) tellOrder(store string) func(acme.Event) {
	return func(e acme.Event) {
		i.events.Publish(events.Event{
			Event: orderEvents[e.Kind], Name: e.Name, Store: store, Fingerprint: e.Fingerprint, KeyType: e.KeyType,
			NotAfter: e.NotAfter, Reason: e.Detail,
		})
	}
}

// orderStores are the stores that order certificates, as they are shown and driven.
func (i *Instance) orderStores() (list []control.ACME) {
	for _, each := range i.plane.Load().stores.list {
		if orders, ok := each.opened.Store.(*acme.Store); ok {
			list = append(list, shownOrders{orders})
		}
	}
	return list
}

// shownOrders is a store that orders certificates, as the control API has it.
type shownOrders struct{ *acme.Store }

// Names is what is known of all names.
func (o shownOrders) Names() iter.Seq[control.ACMEName] {
	return func(yield func(control.ACMEName) bool) {
		for status := range o.All() {
			if !yield(acmeName(status)) {
				return
			}
		}
	}
}

// Show is what is known of one.
func (o shownOrders) Show(ctx context.Context, name string) (control.ACMEName, bool) {
	status, known := o.StatusOf(ctx, name)
	return acmeName(status), known
}

// Renew is the store's.
func (o shownOrders) Renew(ctx context.Context, name string, force bool) (control.ACMERenewal, error) {
	renewed, err := o.Store.Renew(ctx, name, force)
	if err != nil {
		return control.ACMERenewal{}, err
	}
	status, _ := o.StatusOf(ctx, name)
	return control.ACMERenewal{Renewed: renewed, DueAt: known(status.DueAt), NotAfter: known(status.NotAfter)}, nil
}

func acmeName(status acme.Status) control.ACMEName {
	name := control.ACMEName{
		Name: status.Name, Managed: status.Managed, State: status.State, DueAt: known(status.DueAt), NotAfter: known(status.NotAfter),
		KeyTypes: append([]string{}, status.KeyTypes...), CA: status.CA, Errors: status.Errors, NextAt: known(status.NextAt),
	}
	if last := status.Last; !last.At.IsZero() || last.Result != "" {
		name.Last = &control.ACMETry{At: known(last.At), EndedAt: known(last.EndedAt), Result: last.Result, Error: last.Error}
		for _, step := range last.Steps {
			name.Last.Steps = append(name.Last.Steps, control.ACMEStep{At: step.At.UTC(), Type: step.Type, Detail: step.Detail})
		}
	}
	if ari := status.ARI; !ari.Start.IsZero() {
		name.ARI = &control.ACMEWindow{Start: ari.Start.UTC(), End: ari.End.UTC(), URL: ari.URL}
	}
	return name
}

// known is a time, nil where it is not known.
func known(at time.Time) *time.Time {
	if at.IsZero() {
		return nil
	}
	return new(at.UTC())
}
