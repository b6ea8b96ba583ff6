package acme

import (
	"errors"
	"time"

	"github.com/mholt/acmez/v3/acme"
)

// When an authority is asked again whether it wants a certificate renewed (RFC 9773 section 4.3.2).
const (
	askNormally = 6 * time.Hour
	askSoonest  = time.Minute
	askLatest   = 24 * time.Hour
	askFailed   = time.Hour
	// youngest is the age that a certificate reaches, or a tenth of its life, whatever an authority suggests: one that wants
	// each new one renewed at once would be asked without end.
	youngest = 6 * time.Hour
)

// take takes in what an authority suggests. The moment in its window stays what it was as long as the window does.
func (i *issued) take(info acme.RenewalInfo, now time.Time) {
	window := Window{
		Start: info.SuggestedWindow.Start.UTC(), End: info.SuggestedWindow.End.UTC(), URL: clean(info.ExplanationURL),
	}
	switch {
	case !info.HasWindow():
		window = Window{}
		i.SuggestedAt = time.Time{}
	case !window.Start.Equal(i.Suggested.Start), !window.End.Equal(i.Suggested.End):
		i.SuggestedAt = later(info.SelectedTime.UTC(), i.NotBefore.Add(min(i.NotAfter.Sub(i.NotBefore)/10, youngest)))
	}
	i.Suggested = window
	pause := jittered(askNormally)
	if info.RetryAfter != nil {
		pause = min(max(info.RetryAfter.Sub(now), askSoonest), askLatest)
	}
	i.AskAt = now.Add(pause).UTC().Truncate(time.Second)
}

// askAuthorities asks about the certificates whose time it is.
func (t *try) askAuthorities(now time.Time) error {
	for _, each := range t.job.copy().Certificates {
		if each.AskAt.IsZero() || each.AskAt.After(now) {
			continue
		}
		t.ask(&each, now)
		if t.ctx.Err() != nil {
			return nil
		}
		t.change(func(state *job) { state.set(each) })
	}
	return nil
}

func (t *try) ask(about *issued, now time.Time) {
	from := t.store.authorityOf(about.CA)
	if from == nil {
		about.AskAt = time.Time{} // it is not ours any more
		return
	}
	if until, why := from.down.at(now); why != nil {
		about.AskAt = until.Add(askSoonest)
		return
	}
	before := about.Suggested
	client, _ := from.client()
	info, err := client.GetRenewalInfo(t.ctx, t.leaves[about.KeyType])
	switch {
	case errors.Is(err, acme.ErrUnsupported):
		about.AskAt = time.Time{}
	case err != nil:
		about.AskAt = now.Add(jittered(askFailed))
	default:
		about.take(info, now)
		t.explain(*about, before)
	}
}

// explain logs why an authority has changed its mind, if it says so.
func (t *try) explain(about issued, before Window) {
	if about.Suggested.URL == "" || about.Suggested == before {
		return
	}
	t.store.options.Log.Info().Str("store", t.store.options.Name).Str("name", t.name()).Time("start", about.Suggested.Start).
		Time("end", about.Suggested.End).Str("url", about.Suggested.URL).Msg("acme: the authority suggests another time to renew")
}
