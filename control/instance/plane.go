package instance

import (
	"context"
	"crypto"
	"crypto/tls"
	"fmt"
	"net"
	"sync"
	"time"

	"hellogate/control/config"
	"hellogate/sni"
	"hellogate/terminate"
	"hellogate/terminate/clientauth"
	"hellogate/terminate/limit"
	"hellogate/terminate/pool"
	"hellogate/terminate/tickets"
)

// plane is what a configuration makes of the traffic: all that a reload replaces. It is made beside the one that is in
// use, of which it takes over what goes on (pools, tickets, counts, sockets). Nothing that goes on is changed before it
// takes effect.
type plane struct {
	config    *config.Config
	before    *plane // nil: there is none
	stores    *stores
	plan      *terminate.Plan
	sockets   map[string]net.Listener // by address as configured
	proofs    map[string]net.Listener // for HTTP-01, the same
	pools     map[string]*pool.Pool   // by the backend's name
	checks    map[string]checks       // by the backend's name
	keys      map[keySource]*tickets.Keys
	policies  clientauth.Set
	upstreams map[string]*upstreamTLS // by the backend's name
	counts    map[string]*limit.Count // by what is counted
	clients   map[string]*limit.Clients
	take      []func() // has what goes on take what is new

	group sync.WaitGroup     // what runs while the plane is in use
	end   context.CancelFunc // of that
}

// newPlane makes what config says. An error leaves everything as it was.
func (i *Instance) newPlane(config *config.Config, before *plane) (*plane, error) {
	p := &plane{
		config: config, before: before, plan: &terminate.Plan{},
		sockets: map[string]net.Listener{}, proofs: map[string]net.Listener{}, pools: map[string]*pool.Pool{}, checks: map[string]checks{}, keys: map[keySource]*tickets.Keys{},
		upstreams: map[string]*upstreamTLS{},
		counts:    map[string]*limit.Count{}, clients: map[string]*limit.Clients{},
	}
	for _, make := range []func(*plane) error{i.takeStores, i.makeBackends, i.makeRoutes, i.makeFallback, i.makeListeners, i.makeProofs} {
		if err := make(p); err != nil {
			p.discard()
			return nil, err
		}
	}
	p.plan.Allow, p.plan.Limits = allowed(config), i.limits(p)
	return p, nil
}

// discard closes what was opened for a plane that does not take effect.
func (p *plane) discard() {
	if p.before != nil && p.stores != nil {
		p.stores.discard()
	}
	for address, socket := range p.sockets {
		if p.before == nil || p.before.sockets[address] != socket {
			_ = socket.Close()
		}
	}
	for address, socket := range p.proofs {
		if p.before == nil || p.before.proofs[address] != socket {
			_ = socket.Close()
		}
	}
	for name, made := range p.pools {
		if p.before == nil || p.before.pools[name] != made {
			made.Close()
		}
	}
}

// count is what counts for something, with this limit when the plane takes effect; nil: there is none.
func (p *plane) count(what string, most int) *limit.Count {
	if most == 0 {
		return nil
	}
	count := p.counts[what]
	if count == nil && p.before != nil {
		count = p.before.counts[what]
	}
	if count == nil {
		count = new(limit.Count)
	}
	p.counts[what] = count
	p.take = append(p.take, func() { count.SetLimit(most) })
	return count
}

// countClients is the same for each client's connections.
func (p *plane) countClients(what string, most int) *limit.Clients {
	if most == 0 {
		return nil
	}
	rules := limit.Rules{Connections: most}
	clients := p.clients[what]
	if clients == nil && p.before != nil {
		clients = p.before.clients[what]
	}
	if clients == nil {
		clients = limit.NewClients(rules)
	}
	p.clients[what] = clients
	p.take = append(p.take, func() { clients.SetRules(rules) })
	return clients
}

// makeFallback makes the fallback certificate, if there is one.
func (i *Instance) makeFallback(p *plane) error {
	settings := p.config.Fallback
	if settings.CertFile == "" {
		return nil
	}
	certificate, err := tls.LoadX509KeyPair(settings.CertFile, settings.KeyFile)
	if err != nil {
		return describe(p.config, "fallback", fmt.Errorf("%s with %s: %w", settings.CertFile, settings.KeyFile, err))
	}
	if ends := certificate.Leaf.NotAfter; time.Now().After(ends) {
		i.options.Log.Warn().Str("file", settings.CertFile).Time("not_after", ends).Msg("the fallback certificate has expired")
	}
	if key, ok := certificate.PrivateKey.(crypto.Signer); ok {
		certificate.PrivateKey = signer(key)
	}
	p.plan.Fallback = &terminate.Fallback{
		Certificate: &certificate,
		OnUnknown:   settings.Serves(config.OnUnknown),
		OnFailure:   settings.Serves(config.OnFailure),
		Backend:     p.plan.Backends[settings.Backend],
	}
	return nil
}

// use has a plane take effect, and ends what only the one before needed.
func (i *Instance) use(next *plane) error {
	if err := i.traffic.Use(next.plan); err != nil {
		return err
	}
	for _, take := range next.take {
		take()
	}
	if next.before != nil {
		i.useStores(next.stores)
		i.cache.SetLookups(lookups(next.config.Lookups))
		i.startPrefetch(next.config, next.before.config)
	}
	life, end := context.WithCancel(i.life)
	next.end = end
	i.runPools(next)
	i.runKeys(next)
	i.runProofs(next)
	if next.before != nil {
		next.before.stop() // before what goes on is watched again
		next.before = nil
	}
	next.group.Go(func() { next.policies.Watch(life, i.sayClientAuth) })
	next.group.Go(func() { watchUpstreams(life, next.upstreams, i.options.Log) })
	i.plane.Store(next)
	if i.serving.Load() {
		i.startOrders(next)
	}
	return nil
}

// stop ends what runs while the plane is in use.
func (p *plane) stop() {
	if p.end != nil {
		p.end()
	}
	p.group.Wait()
}

func (i *Instance) sayClientAuth(caFile, crlFile string, err error) {
	if err != nil {
		i.options.Log.Error().Str("ca_file", caFile).Str("crl_file", crlFile).Err(err).Msg("client certificates: what was read before stays in use")
		return
	}
	i.options.Log.Info().Str("ca_file", caFile).Str("crl_file", crlFile).Msg("client certificates: read again")
}

var actions = map[config.Action]terminate.Action{
	config.Terminate:   terminate.Terminate,
	config.Passthrough: terminate.Passthrough,
	config.Reject:      terminate.Reject,
}

// makeRoutes makes the table of routes.
func (i *Instance) makeRoutes(p *plane) error {
	rules := make([]sni.Rule[*terminate.Route], 0, len(p.config.Routes))
	for index, settings := range p.config.Routes {
		route, err := i.makeRoute(p, settings)
		if err != nil {
			return describe(p.config, fmt.Sprintf("routes[%d]", index), err)
		}
		rules = append(rules, config.RuleFor(settings.Match, route))
	}
	table, err := sni.NewTable(rules)
	if err != nil {
		return describe(p.config, "routes", err)
	}
	p.plan.Routes = table
	return nil
}

func (i *Instance) makeRoute(p *plane, settings config.Route) (*terminate.Route, error) {
	limits, what := settings.Limits, fmt.Sprintf("route %v", settings.Match)
	route := &terminate.Route{
		Action:            actions[settings.Action],
		Backend:           p.plan.Backends[settings.Backend],
		MinVersion:        uint16(settings.TLS.MinVersion),
		ALPN:              settings.TLS.ALPN,
		ResetOnTruncation: settings.Truncation == config.TruncationReset,
		Timeouts: terminate.Timeouts{
			Handshake:  limits.HandshakeTimeout,
			Idle:       limits.IdleTimeout,
			HalfClose:  limits.HalfCloseTimeout,
			Life:       limits.LifeTimeout,
			LifeJitter: float64(p.config.Limits.LifeJitter) / 100,
		},
		Connections: p.count(what, limits.Connections),
		Clients:     p.countClients(what, limits.ConnectionsPerIP),
	}
	if route.Action != terminate.Terminate {
		return route, nil
	}
	var err error
	if route.ClientAuth, err = p.policies.Policy(clientAuth(settings.TLS.ClientAuth)); err != nil {
		return nil, fmt.Errorf("client_auth: %w", err)
	}
	if route.Tickets, err = i.ticketKeys(p, settings.SessionTickets); err != nil {
		return nil, fmt.Errorf("session_tickets: %w", err)
	}
	return route, nil
}

var clientAuthModes = map[config.ClientAuthMode]clientauth.Mode{
	config.ClientAuthOff:     clientauth.Off,
	config.ClientAuthRequest: clientauth.Request,
	config.ClientAuthRequire: clientauth.Require,
}

func clientAuth(settings config.ClientAuth) clientauth.Options {
	options := clientauth.Options{
		Mode: clientAuthModes[settings.Mode], CAFile: settings.CAFile, CRLFile: settings.CRLFile,
		Allow: clientauth.Allow{CN: settings.Allow.CN, DNS: settings.Allow.DNS, URI: settings.Allow.URI},
	}
	for _, hash := range settings.Allow.SPKISHA256 {
		options.Allow.SPKI = append(options.Allow.SPKI, fmt.Sprintf("%x", hash[:]))
	}
	return options
}
