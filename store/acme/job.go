package acme

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"time"

	"hellogate/store/acme/message"
)

// maxSteps bounds the steps of a try, as mod_md does.
const maxSteps = 128

// What came of a try.
const (
	resultUnderWay    = "under_way"
	resultOK          = "ok"
	resultFailed      = "failed"
	resultVetoed      = "vetoed"
	resultInterrupted = "interrupted"
	resultElsewhere   = "elsewhere"
)

// Try is one try to get the certificates of a name. The zero value: there was none.
type Try struct {
	At      time.Time `json:"at,omitzero"`
	EndedAt time.Time `json:"ended_at,omitzero"` // zero while it is under way
	// Result is under_way, ok, failed, vetoed or interrupted.
	Result string `json:"result,omitempty"`
	// Error is what went wrong, with the authority's own words; empty: nothing.
	Error string `json:"error,omitempty"`
	// Steps are what it did, the first 128.
	Steps []Step `json:"steps,omitempty"`
}

// Step is one of them.
type Step struct {
	At     time.Time `json:"at"`
	Type   string    `json:"type"`
	Detail string    `json:"detail,omitempty"`
}

// Window is when an authority would like a certificate renewed (RFC 9773). The zero value: it did not say.
type Window struct {
	Start time.Time `json:"start,omitzero"`
	End   time.Time `json:"end,omitzero"`
	// URL is where it says why.
	URL string `json:"url,omitempty"`
}

// job is the state of a name, as job.json has it.
type job struct {
	// Errors are those in a row; Vetoes the noes of the message command; Interrupted the tries that came to no end.
	Errors      int `json:"errors"`
	Vetoes      int `json:"vetoes,omitempty"`
	Interrupted int `json:"interrupted,omitempty"`
	// Next is before when nothing is ordered.
	Next time.Time `json:"next_run,omitzero"`
	Last Try       `json:"last,omitzero"`
	// Certificates are those in the storage, one of a key type.
	Certificates []issued `json:"certificates,omitempty"`
	// Challenge is the type that worked last: it is tried first.
	Challenge string       `json:"challenge,omitempty"`
	Sent      message.Sent `json:"sent,omitempty"`
	// Untold is what the message command did not take yet, which is told again at TellAt.
	Untold []string  `json:"untold,omitempty"`
	TellAt time.Time `json:"tell_at,omitzero"`
	Tells  int       `json:"tells,omitempty"`
	// Expiring is when it was last told that the certificate is.
	Expiring time.Time `json:"expiring,omitzero"`
}

// issued is a certificate in the storage.
type issued struct {
	KeyType     string    `json:"key_type"`
	Fingerprint string    `json:"fingerprint_sha256"`
	NotBefore   time.Time `json:"not_before"`
	NotAfter    time.Time `json:"not_after"`
	// DueAt is when it is to be renewed, if the authority does not say something sooner.
	DueAt time.Time `json:"due_at"`
	CA    string    `json:"ca,omitempty"`
	// Suggested is when the authority wants it renewed, SuggestedAt a moment in it; AskAt when it is asked again.
	Suggested   Window    `json:"ari,omitzero"`
	SuggestedAt time.Time `json:"ari_at,omitzero"`
	AskAt       time.Time `json:"ari_ask_at,omitzero"`
}

// due is when it is to be renewed.
func (i issued) due() time.Time {
	if !i.SuggestedAt.IsZero() && i.SuggestedAt.Before(i.DueAt) {
		return i.SuggestedAt
	}
	return i.DueAt
}

// of is the certificate of a key type; nil: there is none.
func (j *job) of(keyType string) *issued {
	for i := range j.Certificates {
		if j.Certificates[i].KeyType == keyType {
			return &j.Certificates[i]
		}
	}
	return nil
}

func (j *job) set(made issued) {
	if there := j.of(made.KeyType); there != nil {
		*there = made
		return
	}
	j.Certificates = append(j.Certificates, made)
}

func (j *job) drop(keyType string) {
	j.Certificates = slices.DeleteFunc(j.Certificates, func(each issued) bool { return each.KeyType == keyType })
}

// notAfter is when the first of the certificates ends; zero: there is none.
func (j *job) notAfter() (first time.Time) {
	for _, each := range j.Certificates {
		if first.IsZero() || each.NotAfter.Before(first) {
			first = each.NotAfter
		}
	}
	return first
}

// due is when the first of the certificates is to be renewed; zero: one is missing.
func (j *job) due(keyTypes []string) (first time.Time) {
	for _, kind := range keyTypes {
		there := j.of(kind)
		if there == nil {
			return time.Time{}
		}
		if first.IsZero() || there.due().Before(first) {
			first = there.due()
		}
	}
	return first
}

// askAt is when an authority is next asked whether it wants something renewed; zero: never.
func (j *job) askAt() (first time.Time) {
	for _, each := range j.Certificates {
		if !each.AskAt.IsZero() && (first.IsZero() || each.AskAt.Before(first)) {
			first = each.AskAt
		}
	}
	return first
}

// expiresSoon is when the first of the certificates has a tenth of its life left; zero: there is none.
func (j *job) expiresSoon() (first time.Time) {
	for _, each := range j.Certificates {
		at := each.NotAfter.Add(-each.NotAfter.Sub(each.NotBefore) / 10)
		if first.IsZero() || at.Before(first) {
			first = at
		}
	}
	return first
}

// copy is one that shares nothing with j.
func (j *job) copy() job {
	made := *j
	made.Certificates = slices.Clone(j.Certificates)
	made.Untold = slices.Clone(j.Untold)
	made.Last.Steps = slices.Clone(j.Last.Steps)
	if j.Sent != nil {
		made.Sent = make(message.Sent, len(j.Sent))
		for reason, at := range j.Sent {
			made.Sent[reason] = at
		}
	}
	return made
}

func (j *job) step(now time.Time, kind, detail string) {
	if len(j.Last.Steps) < maxSteps {
		j.Last.Steps = append(j.Last.Steps, Step{At: now.UTC().Round(0), Type: kind, Detail: clean(detail)})
	}
}

// loadJob reads the state of a name. One that can't be read as JSON is as none: it says nothing that can't be found out.
func (s *Store) loadJob(ctx context.Context, name string) (state job, there bool, err error) {
	content, err := s.options.Storage.Load(ctx, jobKey(name))
	if errors.Is(err, fs.ErrNotExist) {
		return job{}, false, nil
	}
	if err != nil {
		return job{}, false, err
	}
	if err := json.Unmarshal(content, &state); err != nil {
		s.options.Log.Warn().Str("store", s.options.Name).Str("name", name).Err(err).Msg("acme: the state of a name is no JSON: begun anew")
		return job{}, false, nil
	}
	return state, true, nil
}

func (s *Store) saveJob(ctx context.Context, name string, state *job) error {
	content, err := json.MarshalIndent(state, "", "  ")
	if err != nil {
		return fmt.Errorf("state of %q: %w", name, err)
	}
	return s.options.Storage.Save(ctx, jobKey(name), append(content, '\n'))
}
