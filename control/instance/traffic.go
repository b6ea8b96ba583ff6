package instance

import (
	"crypto"
	"crypto/tls"
	"fmt"
	"time"

	"github.com/rs/zerolog"

	"hellogate/control"
	"hellogate/control/config"
	"hellogate/sni"
	"hellogate/terminate"
	"hellogate/terminate/proxyproto"
)

func (i *Instance) makeBackends() error {
	i.backends = make(map[string]*terminate.Backend, len(i.config.Backends))
	for _, name := range i.config.BackendNames() {
		options, err := backendOptions(name, i.config.Backends[name])
		if err != nil {
			return i.describe("backends."+name, err)
		}
		i.backends[name] = terminate.NewBackend(options)
	}
	return nil
}

func backendOptions(name string, settings config.Backend) (terminate.BackendOptions, error) {
	options := terminate.BackendOptions{Name: name, ConnectTimeout: settings.ConnectTimeout, Retries: settings.Retries}
	version, err := proxyproto.ParseVersion(string(settings.SendProxy))
	if err != nil {
		return options, err
	}
	options.SendProxy = version
	for _, server := range settings.Servers {
		options.Servers = append(options.Servers, server.Address)
	}
	for _, field := range settings.ProxyTLVs {
		tlv, err := proxyproto.ParseTLV(string(field))
		if err != nil {
			return options, err
		}
		options.TLVs = append(options.TLVs, tlv)
	}
	return options, nil
}

// pools are the backends in the order of their names.
func (i *Instance) pools() []control.Pool {
	pools := make([]control.Pool, 0, len(i.backends))
	for _, name := range i.config.BackendNames() {
		pools = append(pools, i.backends[name])
	}
	return pools
}

func (i *Instance) makeTraffic() error {
	routes, err := i.makeRoutes()
	if err != nil {
		return i.describe("routes", err)
	}
	fallback, err := i.makeFallback()
	if err != nil {
		return i.describe("fallback", err)
	}
	i.traffic = terminate.New(terminate.Options{
		Listeners:    i.listeners,
		Routes:       routes,
		Certificates: i.cache,
		Backends:     i.backends,
		Allow:        i.allowed(),
		Fallback:     fallback,
		Limits:       i.limits(),
		Log:          i.options.Log,
		Access:       i.accessLog(),
	})
	return nil
}

// accessLog has its lines whatever the level of the log: access: false is how they are turned off.
func (i *Instance) accessLog() *zerolog.Logger {
	if !i.config.Log.Access {
		return nil
	}
	access := i.options.Log.Level(zerolog.InfoLevel)
	return &access
}

func (i *Instance) makeRoutes() (*sni.Table[*terminate.Route], error) {
	rules := make([]sni.Rule[*terminate.Route], 0, len(i.config.Routes))
	for _, settings := range i.config.Routes {
		route := &terminate.Route{
			Action:            terminate.Terminate,
			Backend:           i.backends[settings.Backend],
			MinVersion:        uint16(settings.TLS.MinVersion),
			ALPN:              settings.TLS.ALPN,
			ResetOnTruncation: settings.Truncation == config.TruncationReset,
		}
		if settings.Action == config.Reject {
			route.Action = terminate.Reject
		}
		rules = append(rules, sni.Rule[*terminate.Route]{Names: settings.Match.Names, ALPN: settings.Match.ALPN, Value: route})
	}
	return sni.NewTable(rules)
}

func (i *Instance) makeFallback() (*terminate.Fallback, error) {
	settings := i.config.Fallback
	if settings.CertFile == "" {
		return nil, nil
	}
	certificate, err := tls.LoadX509KeyPair(settings.CertFile, settings.KeyFile)
	if err != nil {
		return nil, fmt.Errorf("%s with %s: %w", settings.CertFile, settings.KeyFile, err)
	}
	if ends := certificate.Leaf.NotAfter; time.Now().After(ends) {
		i.options.Log.Warn().Str("file", settings.CertFile).Time("not_after", ends).Msg("the fallback certificate has expired")
	}
	if key, ok := certificate.PrivateKey.(crypto.Signer); ok {
		certificate.PrivateKey = signer(key)
	}
	return &terminate.Fallback{
		Certificate: &certificate,
		OnUnknown:   settings.Serves(config.OnUnknown),
		OnFailure:   settings.Serves(config.OnFailure),
		Backend:     i.backends[settings.Backend],
	}, nil
}
