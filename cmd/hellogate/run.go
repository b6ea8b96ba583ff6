package main

import (
	"context"
	"os"
	"os/signal"
	"runtime"
	"syscall"

	"github.com/urfave/cli/v2"

	"hellogate/control/config"
	"hellogate/control/handover"
	"hellogate/control/instance"
	"hellogate/control/logging"
	"hellogate/control/systemd"
)

func runCommand() *cli.Command {
	return &cli.Command{
		Name:      "run",
		Usage:     "run the load balancer, from flags or a configuration file",
		UsageText: "hellogate run --listen ADDRESS --store URL|FOLDER --backend ADDRESS [flags]\nhellogate run --config FILE [--control PATH] [--log-level LEVEL] [--log-format FORMAT] [--pprof]",
		Description: "Examples:  hellogate run --listen :443 --store https://127.0.0.1:8888/certs --backend 127.0.0.1:9000 --send-proxy v2\n" +
			"           hellogate run --config /etc/hellogate/hellogate.yaml\n\n" +
			"It stays in the foreground and logs to standard error. SIGTERM, SIGINT and 'hellogate shutdown' let open\n" +
			"connections end, for as long as limits.drain_timeout; a second signal ends it at once.\n" +
			"SIGHUP and 'hellogate reload' have it read the file again; SIGUSR2 and 'hellogate upgrade' have the program that\n" +
			"is there now take over, with not one connection refused.\n" +
			"The store's bearer token comes from --token-file or from the variable HELLOGATE_STORE_TOKEN, a Redis password\n" +
			"from HELLOGATE_REDIS_PASSWORD.",
		Flags: []cli.Flag{
			configFlag(),
			listFlag("listen", "`ADDRESS` to listen on, as in :443; may be repeated"),
			textFlag("store", "certificate store: an https://, http://, redis:// or rediss:// `URL`, or a folder"),
			listFlag("backend", "`ADDRESS` of a server that gets the plaintext; may be repeated"),
			textFlag("send-proxy", "PROXY protocol `VERSION` that the backend gets: off, v1 or v2 (default: v2)"),
			textFlag("token-file", "`FILE` that holds the store's bearer token"),
			textFlag("ca-file", "PEM `FILE` with the certificates that the store's is verified with"),
			textFlag("fallback-cert", "PEM `FILE` with the certificate for names that have none"),
			textFlag("fallback-key", "PEM `FILE` with its key"),
			controlFlag(),
			textFlag("log-level", "`LEVEL` of the least that is logged: trace, debug, info, warn or error (default: info)"),
			textFlag("log-format", "`FORMAT` of the log: json or text (default: json)"),
			&cli.BoolFlag{
				Name: "pprof", EnvVars: []string{variable("pprof")},
				Usage: "serve profiles of the process under /debug/pprof/ on the control socket",
			},
		},
		Action: run,
	}
}

func run(c *cli.Context) error {
	started, err := begin()
	if err != nil {
		return err
	}
	err = started.run(c)
	if err != nil {
		started.inherited.Failed(config.Brief(err))
	}
	return err
}

// beginning is what has to be known before anything else is opened or started.
type beginning struct {
	program   handover.Program
	inherited *handover.Inherited
	sockets   *handover.Sockets
	notifier  *systemd.Notifier
	asked     chan os.Signal // to reload, or to upgrade
	notes     []error
}

func begin() (b beginning, err error) {
	// Before it is ready to obey, too, these must not end it.
	b.asked = make(chan os.Signal, 8)
	signal.Notify(b.asked, syscall.SIGHUP, syscall.SIGUSR2)
	note := func(err error) {
		if err != nil {
			b.notes = append(b.notes, err)
		}
	}
	b.program, err = handover.ThisProgram()
	note(err) // it can't be upgraded, and says so when it is asked to
	if b.inherited, err = handover.Inherit(); err != nil {
		return b, err
	}
	if b.sockets, err = systemd.Sockets(); err != nil {
		return b, err
	}
	b.notifier, err = systemd.NewNotifier()
	note(err)
	return b, nil
}

func (b *beginning) run(c *cli.Context) error {
	if err := exactly(c, 0, ""); err != nil {
		return err
	}
	if !c.Bool("pprof") {
		runtime.MemProfileRate = 0 // a hundredth of a handshake's CPU time, for what nobody can ask for
	}
	settings, err := readSettings(c)
	if err != nil {
		return err
	}
	level, format := string(settings.config.Log.Level), string(settings.config.Log.Format)
	return foreground(c, level, format, func(ctx context.Context, log *logging.Log) error {
		for _, err := range b.notes {
			log.Warn().AnErr("reason", err).Msg("not done")
		}
		for _, note := range settings.notes {
			log.Warn().Str("note", note).Msg("configuration")
		}
		balancer, err := instance.New(settings.config, b.options(c, settings, log))
		if err != nil {
			return err
		}
		defer obey(b.asked, balancer)()
		return balancer.Run(ctx)
	})
}

func (b *beginning) options(c *cli.Context, settings settings, log *logging.Log) instance.Options {
	return instance.Options{
		Version:    version(),
		StoreToken: settings.token,
		Log:        log.Logger,
		LogDropped: log.Dropped,
		Profiles:   c.Bool("pprof"),
		Load:       loader(c),
		Relevel:    log.Relevel,
		Program:    b.program,
		Inherited:  b.inherited,
		Sockets:    b.sockets,
		Notifier:   b.notifier,

		RedisPassword: os.Getenv(redisVariable),
	}
}

// obey does what signals ask for, one after the other, until the function that it returns is called. What comes of it is in
// the log.
func obey(asked <-chan os.Signal, balancer *instance.Instance) (stop func()) {
	stopped, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		for {
			select {
			case <-stopped:
				return
			case what := <-asked:
				if what == syscall.SIGUSR2 {
					_, _ = balancer.Upgrade(context.Background())
				} else {
					_, _ = balancer.Reload()
				}
			}
		}
	}()
	return func() {
		close(stopped)
		<-done
	}
}
