package control

import (
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"

	"github.com/rs/zerolog"

	"hellogate/sni"
	"hellogate/terminate"
)

// Connection is an open connection of a client. What is not known yet is empty.
type Connection struct {
	ID       string `json:"id"` // as in the access log and in the PROXY header
	Client   string `json:"client"`
	Listener string `json:"listener"`
	Name     string `json:"name"`
	Route    string `json:"route"` // the pattern that matched
	Backend  string `json:"backend"`
	Server   string `json:"server"` // as configured
	Stage    string `json:"stage"`
	Age      int64  `json:"age_seconds"`
	BytesIn  int64  `json:"bytes_in"` // from the client
	BytesOut int64  `json:"bytes_out"`
}

func connectionOf(info terminate.ConnectionInfo) Connection {
	connection := Connection{
		ID: info.ID, Listener: info.Listener, Name: info.Name, Route: info.Route, Backend: info.Backend, Server: info.Server,
		Stage: info.Stage, Age: seconds(info.Age), BytesIn: info.BytesIn, BytesOut: info.BytesOut,
	}
	if info.Client.IsValid() {
		connection.Client = info.Client.String()
	}
	return connection
}

// ConnectionsRequest says which connections are wanted: those that every field takes that is not empty.
type ConnectionsRequest struct {
	IDs      []string `json:"ids,omitempty"`    // any of them
	Name     string   `json:"name,omitempty"`   // a pattern of names
	Client   string   `json:"client,omitempty"` // an address or a range of them
	Server   string   `json:"server,omitempty"` // as configured
	Backend  string   `json:"backend,omitempty"`
	Route    string   `json:"route,omitempty"` // the pattern that matched
	Listener string   `json:"listener,omitempty"`
	Stage    string   `json:"stage,omitempty"`
}

// KillRequest says which connections are to be reset. A request for all has to say so.
type KillRequest struct {
	ConnectionsRequest
	All bool `json:"all,omitempty"`
}

// KillResult says what was reset.
type KillResult struct {
	Result  string   `json:"result"` // "success"
	Killed  int      `json:"killed"`
	NotOpen []string `json:"not_open"` // of the ids, those of no connection that was wanted
}

// stages are those that a connection is in, in their order.
var stages = []string{"proxy", "preamble", "hello", "route", "cert", "handshake", "startup", "connect", "splice"}

// filters are the parameters of a list.
var filters = []string{"id", "name", "client", "server", "backend", "route", "listener", "stage"}

// Path is the request for the list of what is wanted.
func (c ConnectionsRequest) Path() string {
	query := url.Values{}
	for i, value := range c.values() {
		if value != "" {
			query.Set(filters[1:][i], value)
		}
	}
	if len(c.IDs) > 0 {
		query["id"] = c.IDs
	}
	if len(query) == 0 {
		return "/connections"
	}
	return "/connections?" + query.Encode()
}

// values are those of filters, without the ids.
func (c ConnectionsRequest) values() []string {
	return []string{c.Name, c.Client, c.Server, c.Backend, c.Route, c.Listener, c.Stage}
}

// connectionsRequest is what the parameters of a list ask for.
func connectionsRequest(r *http.Request) (ConnectionsRequest, error) {
	query := r.URL.Query()
	for _, filter := range filters[1:] {
		if query.Has(filter) && query.Get(filter) == "" || len(query[filter]) > 1 {
			return ConnectionsRequest{}, fmt.Errorf("%s: one value expected", filter)
		}
	}
	return ConnectionsRequest{
		IDs: query["id"], Name: query.Get("name"), Client: query.Get("client"), Server: query.Get("server"), Backend: query.Get("backend"),
		Route: query.Get("route"), Listener: query.Get("listener"), Stage: query.Get("stage"),
	}, parameters(r, filters...)
}

// Check says what is wrong with a request, and returns it as it is compared: names, addresses and ids are written in one way.
func (c ConnectionsRequest) Check() (ConnectionsRequest, error) {
	checked := c
	checked.IDs = make([]string, len(c.IDs))
	for i, id := range c.IDs {
		raw, err := hex.DecodeString(id)
		if err != nil || len(raw) != 12 {
			return c, fmt.Errorf("connection %s: 24 hexadecimal digits expected", quote(id))
		}
		checked.IDs[i] = hex.EncodeToString(raw)
	}
	if c.Name != "" {
		pattern, err := sni.ParsePattern(c.Name)
		if err != nil {
			return c, err
		}
		checked.Name = pattern.String()
	}
	// A route of which only the regular expression matched has that as its pattern.
	if pattern, err := sni.ParsePattern(c.Route); err == nil {
		checked.Route = pattern.String()
	}
	if c.Client != "" {
		within, err := addressRange(c.Client)
		if err != nil {
			return c, err
		}
		checked.Client = within.String()
	}
	if c.Stage != "" && !slices.Contains(stages, c.Stage) {
		return c, fmt.Errorf("stage %s: one of %s expected", quote(c.Stage), strings.Join(stages, ", "))
	}
	return checked, nil
}

// addressRange reads a range of addresses, or one, which is the range of itself alone.
func addressRange(text string) (netip.Prefix, error) {
	if address, err := netip.ParseAddr(text); err == nil && address.Zone() == "" {
		address = address.Unmap()
		return netip.PrefixFrom(address, address.BitLen()), nil
	}
	within, err := netip.ParsePrefix(text)
	if err != nil {
		return netip.Prefix{}, fmt.Errorf("client %s: an IP address expected, or a range as in 10.0.0.0/8", quote(text))
	}
	return within.Masked(), nil
}

// takes is the condition of a request that was checked.
func (c ConnectionsRequest) takes() func(terminate.ConnectionInfo) bool {
	ids := make(map[string]bool, len(c.IDs))
	for _, id := range c.IDs {
		ids[id] = true
	}
	name, _ := sni.ParsePattern(c.Name)
	within, _ := addressRange(c.Client)
	return func(info terminate.ConnectionInfo) bool {
		return (len(ids) == 0 || ids[info.ID]) &&
			(c.Name == "" || name.Match(info.Name)) &&
			(c.Client == "" || within.Contains(info.Client.Addr().Unmap())) &&
			isOr(c.Server, info.Server) && isOr(c.Backend, info.Backend) && isOr(c.Route, info.Route) &&
			isOr(c.Listener, info.Listener) && isOr(c.Stage, info.Stage)
	}
}

// isOr reports whether a value is what is wanted; empty: whatever it is.
func isOr(wanted, value string) bool { return wanted == "" || wanted == value }

// getConnections lists the open connections, all or what is wanted, the oldest first. However long the list, it is never
// held.
func (s *Server) getConnections(w http.ResponseWriter, r *http.Request) {
	request, err := connectionsRequest(r)
	if err == nil {
		request, err = request.Check()
	}
	if err != nil {
		refuse(w, http.StatusBadRequest, err)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	controller := patient(w)
	io.WriteString(w, `{"connections":[`)
	separator := ""
	for info := range s.options.Traffic.Walk(request.takes()) {
		deadline(controller)
		io.WriteString(w, separator)
		if encode(w, connectionOf(info)) != nil {
			return
		}
		separator = ","
	}
	io.WriteString(w, "]}\n")
}

// postKill resets connections.
func (s *Server) postKill(w http.ResponseWriter, r *http.Request) {
	var request KillRequest
	if status, err := decode(w, r, &request); err != nil {
		refuse(w, status, err)
		return
	}
	wanted, err := request.Check()
	if err != nil {
		refuse(w, http.StatusBadRequest, err)
		return
	}
	open := map[string]bool{}
	takes := wanted.takes()
	killed := s.options.Traffic.Kill(func(info terminate.ConnectionInfo) bool {
		if !takes(info) {
			return false
		}
		if len(wanted.IDs) > 0 {
			open[info.ID] = true
		}
		return true
	})
	result := KillResult{Result: "success", Killed: len(killed), NotOpen: []string{}}
	for _, id := range wanted.IDs {
		if !open[id] {
			result.NotOpen = append(result.NotOpen, id)
		}
	}
	wanted.describe(by(r, s.options.Log.Info())).Int("killed", result.Killed).Msg("control: kill")
	answer(w, http.StatusOK, result)
}

// Check does for what is to be killed what it does for what is listed, and wants to be told what that is.
func (k KillRequest) Check() (ConnectionsRequest, error) {
	filtered := len(k.IDs) > 0 || slices.ContainsFunc(k.values(), func(value string) bool { return value != "" })
	switch {
	case !filtered && !k.All:
		return ConnectionsRequest{}, errors.New("nothing to kill: give ids, name, client, server, backend, route, listener, stage or all")
	case filtered && k.All:
		return ConnectionsRequest{}, errors.New("all goes alone: it takes every connection")
	}
	return k.ConnectionsRequest.Check()
}

func (c ConnectionsRequest) describe(event *zerolog.Event) *zerolog.Event {
	if len(c.IDs) > 0 {
		event.Strs("ids", head(c.IDs))
	}
	for i, value := range c.values() {
		if value != "" {
			event.Str(filters[1:][i], ascii(value))
		}
	}
	return event
}
