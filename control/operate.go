package control

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"hellogate/terminate"
	"hellogate/terminate/pool"
)

// ServerChange is what a server is after a change of what the operator wants of it.
type ServerChange struct {
	Result  string          `json:"result"` // "success"
	Backend string          `json:"backend"`
	Servers []BackendServer `json:"servers"` // several where the server is a name with several addresses
	Killed  int             `json:"killed"`  // connections that were reset
}

// WeightRequest is the body of a change of weight.
type WeightRequest struct {
	Weight *int `json:"weight"` // 0 to 256; -1: as configured
}

// errWeight says what a WeightRequest is to have.
var errWeight = fmt.Errorf(`weight: 0 to %d expected, or -1 for what is configured, as in {"weight":10}`, pool.MaxWeight)

// serverChange does what a request asks for with the server of an address.
type serverChange func(s *Server, w http.ResponseWriter, r *http.Request, backend Pool, address string) (killed, status int, err error)

// serverChanges are what may be asked for, by the last part of the path.
var serverChanges = map[string]serverChange{
	"drain":   admin(pool.Drain),
	"enable":  admin(pool.Enabled),
	"disable": disable,
	"weight":  setWeight,
}

func (s *Server) postServer(change string, do serverChange) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		backend, status, err := s.server(r.PathValue("backend"), r.PathValue("server"))
		if err != nil {
			refuse(w, http.StatusNotFound, err)
			return
		}
		address := r.PathValue("server")
		killed, code, err := do(s, w, r, backend, address)
		if err != nil {
			refuse(w, code, err)
			return
		}
		changed := ServerChange{Result: "success", Backend: status.Name, Servers: serversAt(backend.Status(), address), Killed: killed}
		event := by(r, s.options.Log.Info()).Str("backend", status.Name).Str("server", address)
		if len(changed.Servers) > 0 {
			event = event.Str("state", changed.Servers[0].State).Int("weight", changed.Servers[0].Weight)
		}
		if killed > 0 {
			event = event.Int("killed", killed)
		}
		event.Msg("control: " + change)
		answer(w, http.StatusOK, changed)
	}
}

// server finds a server; its error says what there is instead.
func (s *Server) server(name, address string) (Pool, pool.Status, error) {
	var names []string
	for _, backend := range s.poolList() {
		status := backend.Status()
		if status.Name != name {
			names = append(names, status.Name)
			continue
		}
		if len(serversAt(status, address)) == 0 {
			return nil, status, fmt.Errorf("backend %s: no server %s, but %s", name, quote(address), few(addresses(status)))
		}
		return backend, status, nil
	}
	return nil, pool.Status{}, fmt.Errorf("no backend %s, but %s", quote(name), few(names))
}

func (s *Server) poolList() []Pool {
	if s.options.Backends == nil {
		return nil
	}
	return s.options.Backends()
}

// serversAt are the servers of an address, as configured.
func serversAt(status pool.Status, address string) []BackendServer {
	return slices.DeleteFunc(backendOf(status).Servers, func(server BackendServer) bool { return server.Address != address })
}

// addresses are those of a backend's servers, each once.
func addresses(status pool.Status) (list []string) {
	for _, server := range status.Servers {
		if !slices.Contains(list, server.Address) {
			list = append(list, server.Address)
		}
	}
	return list
}

// few lists the first of what may be many.
func few(texts []string) string {
	const most = 10
	switch {
	case len(texts) == 0:
		return "none at all"
	case len(texts) > most:
		return fmt.Sprintf("%s and %d more", strings.Join(texts[:most], ", "), len(texts)-most)
	}
	return strings.Join(texts, ", ")
}

func admin(to pool.Admin) serverChange {
	return func(_ *Server, _ http.ResponseWriter, r *http.Request, backend Pool, address string) (killed, status int, err error) {
		if err := parameters(r); err != nil {
			return 0, http.StatusBadRequest, err
		}
		status, err = outcome(backend.SetAdmin(address, to))
		return 0, status, err
	}
}

// disable lets no new connection to a server, and with ?kill=true resets those that are open.
func disable(s *Server, _ http.ResponseWriter, r *http.Request, backend Pool, address string) (killed, status int, err error) {
	kill, err := boolean(r, "kill")
	if err == nil {
		err = parameters(r, "kill")
	}
	if err != nil {
		return 0, http.StatusBadRequest, err
	}
	if status, err = outcome(backend.SetAdmin(address, pool.Disabled)); err != nil || !kill {
		return 0, status, err
	}
	name := backend.Status().Name
	open := s.options.Traffic.Kill(func(info terminate.ConnectionInfo) bool { return info.Backend == name && info.Server == address })
	return len(open), http.StatusOK, nil
}

func setWeight(_ *Server, w http.ResponseWriter, r *http.Request, backend Pool, address string) (killed, status int, err error) {
	if err := parameters(r); err != nil {
		return 0, http.StatusBadRequest, err
	}
	var request WeightRequest
	if status, err := decode(w, r, &request); err != nil {
		return 0, status, err
	}
	if request.Weight == nil || *request.Weight < -1 || *request.Weight > pool.MaxWeight {
		return 0, http.StatusBadRequest, errWeight
	}
	status, err = outcome(backend.SetWeight(address, *request.Weight))
	return 0, status, err
}

// outcome is the status for what a pool says.
func outcome(err error) (int, error) {
	switch {
	case err == nil:
		return http.StatusOK, nil
	case errors.Is(err, pool.ErrUnknownServer): // it left just now, or is open still and not configured any more
		return http.StatusNotFound, err
	}
	return http.StatusBadRequest, err
}
