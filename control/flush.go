package control

import (
	"cmp"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/rs/zerolog"

	"hellogate/sni"
)

// FlushRequest says what to remove from the cache: whatever any of its fields takes.
type FlushRequest struct {
	Names       []string `json:"names,omitempty"`
	Pattern     string   `json:"pattern,omitempty"`
	Fingerprint string   `json:"fingerprint,omitempty"` // SHA-256 of a certificate, in hex, with or without colons
	All         bool     `json:"all,omitempty"`
}

// FlushResult says what was removed, and which pinned certificates were asked for and stay.
type FlushResult struct {
	Result  string   `json:"result"`           // "success", or "error" with status 500: what was asked for may be on disk still
	Reason  string   `json:"reason,omitempty"` // of an error
	Flushed []string `json:"flushed"`
	Pinned  []string `json:"pinned"`
}

// flushPlan is a FlushRequest that has been checked whole, before any of it is done.
type flushPlan struct {
	names       []string
	pattern     *sni.Pattern
	fingerprint *[32]byte
	all         bool
}

func (s *Server) postFlush(w http.ResponseWriter, r *http.Request) {
	var request FlushRequest
	if status, err := decode(w, r, &request); err != nil {
		refuse(w, status, err)
		return
	}
	plan, err := planFlush(request)
	if err != nil {
		refuse(w, http.StatusBadRequest, err)
		return
	}
	s.flush(w, r, plan)
}

func (s *Server) postFlushAll(w http.ResponseWriter, r *http.Request) {
	s.flush(w, r, flushPlan{all: true})
}

func (s *Server) postFlushName(w http.ResponseWriter, r *http.Request) {
	if name, ok := pathName(w, r); ok {
		s.flush(w, r, flushPlan{names: []string{name}})
	}
}

func planFlush(request FlushRequest) (plan flushPlan, err error) {
	plan.all = request.All
	if plan.names, err = parseNames(request.Names); err != nil {
		return plan, err
	}
	if request.Pattern != "" {
		pattern, err := sni.ParsePattern(request.Pattern)
		if err != nil {
			return plan, err
		}
		plan.pattern = &pattern
	}
	if request.Fingerprint != "" {
		fingerprint, err := ParseFingerprint(request.Fingerprint)
		if err != nil {
			return plan, err
		}
		plan.fingerprint = &fingerprint
	}
	if len(plan.names) == 0 && plan.pattern == nil && plan.fingerprint == nil && !plan.all {
		return plan, errors.New("nothing to flush: give names, pattern, fingerprint or all")
	}
	return plan, nil
}

func (s *Server) flush(w http.ResponseWriter, r *http.Request, plan flushPlan) {
	// The disk may take its time.
	patient(w)
	flushed, pinned, err := s.remove(plan)
	status, line, result := http.StatusOK, s.options.Log.Info(), FlushResult{Result: "success", Flushed: flushed, Pinned: pinned}
	if err != nil {
		status, line = http.StatusInternalServerError, s.options.Log.Error().AnErr("reason", err)
		result.Result, result.Reason = "error", err.Error()
	}
	plan.describe(by(r, line)).Int("flushed", len(flushed)).Int("pinned", len(pinned)).Msg("control: flush")
	deadline(http.NewResponseController(w))
	answer(w, status, result)
}

func (p flushPlan) describe(event *zerolog.Event) *zerolog.Event {
	if len(p.names) > 0 {
		event.Strs("names", head(p.names))
	}
	if p.pattern != nil {
		event.Stringer("pattern", p.pattern)
	}
	if p.fingerprint != nil {
		event.Hex("fingerprint", p.fingerprint[:])
	}
	if p.all {
		event.Bool("all", true)
	}
	return event
}

// remove does what a plan says, and returns what was removed and what stays, each sorted and never nil. All of it is done
// whatever of it fails; the error is the first.
func (s *Server) remove(plan flushPlan) (flushed, pinned []string, err error) {
	certificates := s.options.Certificates
	flushed, pinned = []string{}, []string{}
	note := func(removed, stays []string, failed error) {
		flushed, pinned, err = append(flushed, removed...), append(pinned, stays...), cmp.Or(err, failed)
	}
	if len(plan.names) > 0 {
		note(certificates.Flush(plan.names...))
	}
	if plan.pattern != nil {
		note(certificates.FlushPattern(*plan.pattern))
	}
	if plan.fingerprint != nil {
		note(certificates.FlushFingerprint(*plan.fingerprint))
	}
	if plan.all {
		note(certificates.FlushAll())
	}
	slices.Sort(flushed)
	slices.Sort(pinned)
	return slices.Compact(flushed), slices.Compact(pinned), err
}

// ParseFingerprint reads a SHA-256 fingerprint in hex, in either case, with or without colons, and as
// openssl x509 -fingerprint prints it.
func ParseFingerprint(text string) (fingerprint [32]byte, err error) {
	digits := text
	if _, after, found := strings.Cut(text, "="); found {
		digits = after
	}
	raw, err := hex.DecodeString(strings.ReplaceAll(digits, ":", ""))
	if err != nil || len(raw) != len(fingerprint) {
		return fingerprint, fmt.Errorf("fingerprint %s: not 64 hexadecimal digits", quote(text))
	}
	copy(fingerprint[:], raw)
	return fingerprint, nil
}

func parseNames(texts []string) ([]string, error) {
	names := make([]string, 0, len(texts))
	for _, text := range texts {
		name, err := sni.Parse(text)
		if err != nil {
			return nil, err
		}
		names = append(names, name)
	}
	return names, nil
}

// head keeps a long list from making a long log line; how many there were is logged beside it.
func head(names []string) []string { return names[:min(len(names), 20)] }
