package control

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/http"
	"strings"
	"time"

	"hellogate/sni"
	"hellogate/store"
)

// ACME is a store that orders certificates by itself.
type ACME interface {
	// Name is the store's.
	Name() string
	// Names yields what is known of each name that it orders for, but for the steps of the last try.
	Names() iter.Seq[ACMEName]
	// Show is the same of one name, or wildcard, with the steps.
	Show(ctx context.Context, name string) (ACMEName, bool)
	// Renew orders anew for a name if that is due, or anyway, and returns when that has come to its end. An error that wraps
	// store.ErrUnknown says that the store does not order for the name.
	Renew(ctx context.Context, name string, force bool) (ACMERenewal, error)
	// Revoke has the CA revoke what a name has, for a reason of RFC 5280, section 5.3.1. Its errors are as those of Renew.
	Revoke(ctx context.Context, name string, reason int) error
	// Orders counts those that ended since the start, by what came of them.
	Orders() map[string]uint64
}

// The states of a name.
const (
	ACMEValid    = "valid"
	ACMEOrdering = "ordering" // for the first time, or anew; what it has is served
	ACMEWaiting  = "waiting"  // for its turn
	ACMEFailed   = "failed"   // at the last try; what it has is served
	ACMEExpired  = "expired"
)

var acmeStates = []string{ACMEValid, ACMEOrdering, ACMEWaiting, ACMEFailed, ACMEExpired}

// ACMEStore is what a store knows of the names that it orders for.
type ACMEStore struct {
	Store string     `json:"store"`
	Names []ACMEName `json:"names"`
}

// ACMEName is what is known of a name that certificates are ordered for. What is not known is left out.
type ACMEName struct {
	Name     string      `json:"name"`
	Store    string      `json:"store,omitempty"` // where it is not said above
	Managed  bool        `json:"managed"`         // else it is on demand
	State    string      `json:"state"`
	DueAt    *time.Time  `json:"due_at,omitempty"` // when it is to be renewed
	NotAfter *time.Time  `json:"not_after,omitempty"`
	KeyTypes []string    `json:"key_types"`
	CA       string      `json:"ca"`
	Errors   int         `json:"errors"`            // in a row
	Last     *ACMETry    `json:"last,omitempty"`    // that ended, or is under way
	NextAt   *time.Time  `json:"next_at,omitempty"` // when it is tried next
	ARI      *ACMEWindow `json:"ari,omitempty"`     // that the CA suggests
}

// ACMETry is one try to get a certificate.
type ACMETry struct {
	At      *time.Time `json:"at,omitempty"` // when it began
	EndedAt *time.Time `json:"ended_at,omitempty"`
	Result  string     `json:"result"` // under_way, ok, failed, vetoed or interrupted
	Error   string     `json:"error"`
	Steps   []ACMEStep `json:"steps,omitempty"` // not in lists
}

// ACMEStep is one step of a try.
type ACMEStep struct {
	At     time.Time `json:"at"`
	Type   string    `json:"type"`
	Detail string    `json:"detail"`
}

// ACMEWindow is when a CA would like a certificate renewed (RFC 9773).
type ACMEWindow struct {
	Start time.Time `json:"start"`
	End   time.Time `json:"end"`
	URL   string    `json:"explanation_url,omitempty"`
}

// RenewRequest is the body of a request to renew.
type RenewRequest struct {
	Force bool `json:"force"` // although it is not due
}

// ACMERenewal is what came of it.
type ACMERenewal struct {
	Result   string     `json:"result"`  // "success"
	Renewed  bool       `json:"renewed"` // else it was not due
	DueAt    *time.Time `json:"due_at,omitempty"`
	NotAfter *time.Time `json:"not_after,omitempty"`
}

// RevokeRequest is the body of a request to revoke.
type RevokeRequest struct {
	Reason string `json:"reason"` // one of RevokeReasons; empty: unspecified
}

// RevokeReasons are those that a CA takes, with their numbers (RFC 5280, section 5.3.1).
var RevokeReasons = map[string]int{
	"unspecified": 0, "key_compromise": 1, "affiliation_changed": 3, "superseded": 4, "cessation_of_operation": 5,
}

func (s *Server) routeACME(mux *http.ServeMux) {
	mux.HandleFunc("GET /acme", s.getACME)
	mux.HandleFunc("GET /acme/{name}", s.getACMEName)
}

func (s *Server) routeACMEChanges(mux *http.ServeMux) {
	mux.HandleFunc("POST /acme/{name}/renew", s.postRenew)
	mux.HandleFunc("POST /acme/{name}/revoke", s.postRevoke)
}

// getACME lists the names that certificates are ordered for, all or those that match ?pattern=, by store. However long the
// list, it is never held.
func (s *Server) getACME(w http.ResponseWriter, r *http.Request) {
	wanted, err := wantedPattern(r)
	if err == nil {
		err = parameters(r, "pattern")
	}
	if err != nil {
		refuse(w, http.StatusBadRequest, err)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	controller := patient(w)
	io.WriteString(w, `{"acme":[`)
	for i, orders := range s.acme() {
		io.WriteString(w, separator(i)+`{"store":`)
		encode(w, orders.Name())
		io.WriteString(w, `,"names":[`)
		count := 0
		for name := range orders.Names() {
			if !matches(wanted, name.Name) {
				continue
			}
			deadline(controller)
			io.WriteString(w, separator(count))
			if encode(w, name) != nil {
				return
			}
			count++
		}
		io.WriteString(w, "]}")
	}
	io.WriteString(w, "]}\n")
}

func separator(before int) string {
	if before == 0 {
		return ""
	}
	return ","
}

func wantedPattern(r *http.Request) (sni.Pattern, error) {
	text := "*"
	if r.URL.Query().Has("pattern") {
		text = r.URL.Query().Get("pattern")
	}
	return sni.ParsePattern(text)
}

// matches reports whether a pattern has a name; a wildcard has itself, and those that have all names it is for.
func matches(pattern sni.Pattern, name string) bool {
	if below, ok := strings.CutPrefix(name, "*."); ok {
		return pattern.String() == name || pattern.Match("any."+below) && pattern.String() != "any."+below
	}
	return pattern.Match(name)
}

func (s *Server) acme() []ACME {
	if s.options.ACME == nil {
		return nil
	}
	return s.options.ACME()
}

// ordersFor is the store that orders for a name, itself or as a part of a wildcard, with what it knows.
func (s *Server) ordersFor(ctx context.Context, name string) (ACME, ACMEName, bool) {
	names := []string{name}
	if _, below, ok := strings.Cut(name, "."); ok {
		names = append(names, "*."+below)
	}
	for _, candidate := range names {
		for _, orders := range s.acme() {
			if found, ok := orders.Show(ctx, candidate); ok {
				found.Store = orders.Name()
				return orders, found, true
			}
		}
	}
	return nil, ACMEName{}, false
}

// ParseACMEName reads the name of a certificate: that of a host, or a wildcard.
func ParseACMEName(text string) (string, error) {
	if below, ok := strings.CutPrefix(text, "*."); ok {
		name, err := sni.Parse(below)
		return "*." + name, err
	}
	return sni.Parse(text)
}

// acmeName is the name in the path and who orders for it, or an answer that refuses it.
func (s *Server) acmeName(w http.ResponseWriter, r *http.Request) (orders ACME, found ACMEName, ok bool) {
	name, err := ParseACMEName(r.PathValue("name"))
	if err != nil {
		refuse(w, http.StatusBadRequest, err)
		return nil, found, false
	}
	if orders, found, ok = s.ordersFor(r.Context(), name); !ok {
		refuse(w, http.StatusNotFound, fmt.Errorf("%s: no certificate is ordered for it", name))
	}
	return orders, found, ok
}

func (s *Server) getACMEName(w http.ResponseWriter, r *http.Request) {
	if _, found, ok := s.acmeName(w, r); ok {
		answer(w, http.StatusOK, found)
	}
}

// postRenew orders anew for a name, and answers when that has come to its end.
func (s *Server) postRenew(w http.ResponseWriter, r *http.Request) {
	var request RenewRequest
	if status, err := decode(w, r, &request); err != nil {
		refuse(w, status, err)
		return
	}
	orders, found, ok := s.acmeName(w, r)
	if !ok {
		return
	}
	by(r, s.options.Log.Info()).Str("name", found.Name).Bool("force", request.Force).Msg("control: acme renew")
	s.order(w, func() (any, error) {
		renewal, err := orders.Renew(r.Context(), found.Name, request.Force)
		renewal.Result = "success"
		return renewal, err
	})
}

func (s *Server) postRevoke(w http.ResponseWriter, r *http.Request) {
	var request RevokeRequest
	if status, err := decode(w, r, &request); err != nil {
		refuse(w, status, err)
		return
	}
	if request.Reason == "" {
		request.Reason = "unspecified"
	}
	reason, known := RevokeReasons[request.Reason]
	if !known {
		refuse(w, http.StatusBadRequest, fmt.Errorf("reason %s is not one that a CA takes", quote(request.Reason)))
		return
	}
	orders, found, ok := s.acmeName(w, r)
	if !ok {
		return
	}
	by(r, s.options.Log.Info()).Str("name", found.Name).Str("reason", request.Reason).Msg("control: acme revoke")
	s.order(w, func() (any, error) { return Success{Result: "success"}, orders.Revoke(r.Context(), found.Name, reason) })
}

// order answers with what comes of something that a CA is asked, however long it takes.
func (s *Server) order(w http.ResponseWriter, do func() (any, error)) {
	controller := patient(w)
	result, err := do()
	deadline(controller)
	switch {
	case errors.Is(err, store.ErrUnknown):
		refuse(w, http.StatusNotFound, err)
	case err != nil: // as it was the CA's word
		refuse(w, http.StatusBadGateway, err)
	default:
		answer(w, http.StatusOK, result)
	}
}
