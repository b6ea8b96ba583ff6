package main

import (
	"context"
	"os"
	"time"

	"github.com/urfave/cli/v2"

	"hellogate/control/certserver"
	"hellogate/control/config"
	"hellogate/control/logging"
)

// certserverTokenVariable holds the token that certserver's callers must send.
const certserverTokenVariable = "HELLOGATE_TOKEN"

func certserverCommand() *cli.Command {
	return &cli.Command{
		Name:      "certserver",
		Usage:     "run a certificate store over HTTP or HTTPS for a directory of PEM files",
		UsageText: "hellogate certserver --dir DIRECTORY [flags]",
		Description: "Examples:  hellogate certserver --dir /etc/hellogate/certs --token-file /etc/hellogate/token\n" +
			"           hellogate certserver --dir certs --listen :8888 --tls-cert own.crt --tls-key own.key --token-file token\n\n" +
			"The directory holds NAME.crt and NAME.key. A name is answered with its own pair, else with a certificate that\n" +
			"lists it among its names, else with a wildcard. Files are read again when they change.\n" +
			"The token comes from --token-file or from the variable " + certserverTokenVariable + ".",
		Flags: []cli.Flag{
			textFlag("dir", "the `DIRECTORY`"),
			&cli.StringFlag{Name: "listen", Value: "127.0.0.1:8888", Usage: "`ADDRESS` to listen on"},
			textFlag("tls-cert", "PEM `FILE` with the server's own certificate; without it, it speaks plain HTTP"),
			textFlag("tls-key", "PEM `FILE` with its key"),
			textFlag("token-file", "`FILE` that holds the bearer token that callers must send"),
			&cli.BoolFlag{Name: "plaintext", Usage: "allow plain HTTP to other machines: private keys cross the network in the clear"},
			&cli.BoolFlag{Name: "allow-open-keys", Usage: "serve key files that others than their owner may read"},
			&cli.StringFlag{Name: "max-age", Value: "1h", Usage: "how long an answer may be used, a `DURATION` as in 30m or 7d; 0s: not said"},
			textFlag("log-level", "`LEVEL` of the least that is logged (default: info)"),
			textFlag("log-format", "`FORMAT` of the log: json or text (default: json)"),
		},
		Action: runCertserver,
	}
}

func runCertserver(c *cli.Context) error {
	if err := exactly(c, 0, ""); err != nil {
		return err
	}
	if c.String("dir") == "" {
		return usage(c.Command.HelpName, "--dir is missing")
	}
	age, err := config.ParseDuration(c.String("max-age"))
	if err != nil {
		return usage(c.Command.HelpName, "--max-age: %v", err)
	}
	level, format := orElse(c.String("log-level"), "info"), orElse(c.String("log-format"), logging.JSON)
	return foreground(c, level, format, func(ctx context.Context, log *logging.Log) error {
		return certserver.Run(ctx, certserverOptions(c, age, log))
	})
}

func certserverOptions(c *cli.Context, age time.Duration, log *logging.Log) certserver.Options {
	token := os.Getenv(certserverTokenVariable)
	if given(c, "token-file") {
		token = ""
	}
	return certserver.Options{
		Directory:     c.String("dir"),
		Listen:        c.String("listen"),
		CertFile:      c.String("tls-cert"),
		KeyFile:       c.String("tls-key"),
		Token:         token,
		TokenFile:     c.String("token-file"),
		Plaintext:     c.Bool("plaintext"),
		AllowOpenKeys: c.Bool("allow-open-keys"),
		MaxAge:        age,
		Log:           log.Logger,
	}
}

func orElse(text, otherwise string) string {
	if text == "" {
		return otherwise
	}
	return text
}
