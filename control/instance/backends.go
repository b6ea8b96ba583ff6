package instance

import (
	"context"
	"net"
	"reflect"
	"strconv"
	"time"

	"hellogate/control"
	"hellogate/control/config"
	"hellogate/terminate"
	"hellogate/terminate/health"
	"hellogate/terminate/pool"
	"hellogate/terminate/proxyproto"
)

// makeBackends makes the backends, with the pools that are there already.
func (i *Instance) makeBackends(p *plane) error {
	p.plan.Backends = make(map[string]*terminate.Backend, len(p.config.Backends))
	for _, name := range p.config.BackendNames() {
		backend, err := i.makeBackend(p, name, p.config.Backends[name])
		if err != nil {
			return describe(p.config, "backends."+name, err)
		}
		p.plan.Backends[name] = backend
	}
	return nil
}

func (i *Instance) makeBackend(p *plane, name string, settings config.Backend) (*terminate.Backend, error) {
	backend := &terminate.Backend{
		Name: name, ConnectTimeout: settings.ConnectTimeout, DialTimeout: settings.DialTimeout, Retries: settings.Retries,
	}
	var err error
	if backend.Proxy, backend.TellsCertificate, err = proxySender(settings); err != nil {
		return nil, err
	}
	if backend.StartTLS, err = terminate.ParseStartTLS(string(settings.StartTLS)); err != nil {
		return nil, err
	}
	var upstream *upstreamTLS
	if settings.TLS != nil {
		if upstream, err = p.upstream(name, *settings.TLS); err != nil {
			return nil, err
		}
		backend.TLS = terminate.BackendTLS{Config: upstream.config.Load, PassALPN: settings.TLS.PassALPN && len(settings.TLS.ALPN) == 0}
	}
	if backend.Pool, err = i.makePool(p, name, settings); err != nil {
		return nil, err
	}
	if settings.Health != nil {
		p.checks[name] = checks{backend: settings, upstream: upstream}
	}
	return backend, nil
}

// makePool makes a backend's pool, or has the one that is there take what is new.
func (i *Instance) makePool(p *plane, name string, settings config.Backend) (*pool.Pool, error) {
	options, err := i.poolOptions(name, settings)
	if err != nil {
		return nil, err
	}
	if err := options.Check(); err != nil {
		return nil, err
	}
	if p.before != nil && p.before.pools[name] != nil {
		kept := p.before.pools[name]
		p.pools[name] = kept
		p.take = append(p.take, func() { _ = kept.Update(options) }) // which Check has found good
		return kept, nil
	}
	made, err := pool.New(options)
	if err == nil {
		p.pools[name] = made
	}
	return made, err
}

func (i *Instance) poolOptions(name string, settings config.Backend) (pool.Options, error) {
	balance, err := pool.ParseBalance(string(settings.Balance))
	options := pool.Options{
		Name: name, Balance: balance, SlowStart: settings.SlowStart, ResolveInterval: settings.ResolveInterval,
		Queue:          pool.Queue{Length: orNone(settings.Queue.Length), Timeout: settings.Queue.Timeout},
		PanicThreshold: int(settings.PanicThreshold),
		Ejection: pool.Ejection{
			Failures: orNone(settings.Ejection.Failures), Resets: orNone(settings.Ejection.Failures),
			Base: settings.Ejection.Time, Max: settings.Ejection.MaxTime, MaxEjected: orNone(int(settings.Ejection.MaxPercent)),
		},
		Log: i.options.Log,
	}
	for _, server := range settings.Servers {
		options.Servers = append(options.Servers, pool.ServerOptions{
			Address: server.Address, Weight: server.Weight, Backup: server.Backup, MaxConnections: server.MaxConnections,
		})
	}
	if settings.OnDown == config.DownReset {
		options.OnDown = i.resetConnections
	}
	return options, err
}

// orNone is a number for the pool, to which zero means its default.
func orNone(n int) int {
	if n == 0 {
		return -1
	}
	return n
}

// resetConnections resets the connections to a server that is down.
func (i *Instance) resetConnections(down *pool.Server) {
	if killed := i.traffic.KillServer(down); killed > 0 {
		i.options.Log.Warn().Str("server", down.Address()).Int("connections", killed).Msg("server down, its connections are reset")
	}
}

// proxySender makes what makes the PROXY headers. tells: they tell of the certificate that the client was shown.
func proxySender(settings config.Backend) (sender *proxyproto.Sender, tells bool, err error) {
	version, err := proxyproto.ParseVersion(string(settings.SendProxy))
	if err != nil || version == proxyproto.Off {
		return nil, false, err
	}
	options := proxyproto.Options{Version: version, PassOn: passOn(settings.PassTLVs)}
	for _, text := range settings.ProxyTLVs {
		field, err := proxyproto.ParseTLV(string(text))
		if err != nil {
			return nil, false, err
		}
		options.TLVs = append(options.TLVs, field)
		tells = tells || field == proxyproto.SSLSignatureAlgorithm || field == proxyproto.SSLKeyAlgorithm || field == proxyproto.SSLSignatureScheme
	}
	for _, field := range settings.CustomFields() {
		options.Custom = append(options.Custom, proxyproto.Field{Type: proxyproto.TLV(field.Type), Value: field.Value})
	}
	sender, err = proxyproto.NewSender(options)
	return sender, tells, err
}

// passOn are the fields of a header that are passed on.
func passOn(settings []config.TLVType) (fields []proxyproto.TLV) {
	for _, field := range settings {
		if field == config.AllTLVs {
			return everyField()
		}
		fields = append(fields, proxyproto.TLV(field))
	}
	return fields
}

// everyField has all that can be passed on.
func everyField() (fields []proxyproto.TLV) {
	for n := range 256 {
		if field := proxyproto.TLV(n); field.Passes() {
			fields = append(fields, field)
		}
	}
	return fields
}

// checks are a backend's health checks.
type checks struct {
	backend  config.Backend
	upstream *upstreamTLS
}

// same reports whether the checks ask the same.
func (c checks) same(other checks) bool {
	return reflect.DeepEqual(c.backend.Health, other.backend.Health) && reflect.DeepEqual(c.backend.TLS, other.backend.TLS) &&
		c.backend.SendProxy == other.backend.SendProxy && c.backend.StartTLS == other.backend.StartTLS
}

func (c checks) options() health.Options {
	settings := c.backend.Health
	options := health.Options{
		Interval: settings.Interval, Timeout: settings.Timeout, Rise: settings.Rise, Fall: settings.Fall,
		Send: []byte(settings.Send), Expect: []byte(settings.Expect),
	}
	if version, _ := proxyproto.ParseVersion(string(c.backend.SendProxy)); version != proxyproto.Off {
		header := proxyproto.LocalHeader(version, noEnd, noEnd)
		options.Header = func() ([]byte, error) { return header, nil }
	}
	if c.upstream != nil {
		options.CurrentTLS = c.upstream.forChecks
		if asks, err := terminate.ParseStartTLS(string(c.backend.StartTLS)); err == nil && asks.String() != "" {
			options.StartTLS = asks.Request
		}
	}
	if settings.Port != 0 {
		options.Dial = dialPort(strconv.Itoa(settings.Port))
	}
	return options
}

// dialPort dials a server at another port than its own.
func dialPort(port string) func(context.Context, string, string) (net.Conn, error) {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		if host, _, err := net.SplitHostPort(address); err == nil && network != "unix" {
			address = net.JoinHostPort(host, port)
		}
		return new(net.Dialer).DialContext(ctx, network, address)
	}
}

// runner is something that runs until it is stopped.
type runner struct {
	end  context.CancelFunc
	done chan struct{}
}

func run(parent context.Context, do func(context.Context)) runner {
	ctx, end := context.WithCancel(parent)
	r := runner{end, make(chan struct{})}
	go func() {
		defer close(r.done)
		do(ctx)
	}()
	return r
}

func (r runner) stop() {
	r.end()
	<-r.done
}

// over reports whether it has come to its end by itself.
func (r runner) over() bool {
	select {
	case <-r.done:
		return true
	default:
		return false
	}
}

// runPools begins to look up the names of new pools' servers and to check their health, and ends that of those that went.
func (i *Instance) runPools(next *plane) {
	for name, p := range next.pools {
		if next.before == nil || next.before.pools[name] == nil {
			p.Start(i.life)
		}
	}
	for name, running := range i.checking {
		if wanted, checked := next.checks[name]; !checked || !wanted.same(running.checks) || i.plane.Load().pools[name] != next.pools[name] {
			running.stop()
			delete(i.checking, name)
			if p := next.pools[name]; p != nil && !checked {
				p.ForgetHealth()
			}
		}
	}
	for name, wanted := range next.checks {
		if _, runs := i.checking[name]; !runs {
			p := next.pools[name]
			i.checking[name] = checker{wanted, run(i.life, func(ctx context.Context) { health.Run(ctx, wanted.options(), p.Watch) })}
		}
	}
	if next.before == nil {
		return
	}
	for name, p := range next.before.pools {
		if next.pools[name] != p {
			p.Close()
		}
	}
}

// checker is a backend's health checks while they run.
type checker struct {
	checks
	runner
}

// poolsByName are the pools, in the order of their names.
func (i *Instance) poolsByName() []control.Pool {
	p := i.plane.Load()
	pools := make([]control.Pool, 0, len(p.pools))
	for _, name := range p.config.BackendNames() {
		pools = append(pools, p.pools[name])
	}
	return pools
}

// lookAgain is how often files are looked at that are read again when they change.
const lookAgain = time.Second
