package main

import (
	"os"
	"strings"

	"github.com/urfave/cli/v2"

	"hellogate/control/config"
)

// smallCase are the flags that a configuration file takes the place of.
var smallCase = []string{
	"listen", "backend", "send-proxy", "store", "token-file", "ca-file", "fallback-cert", "fallback-key",
}

// tokenVariable holds the store's token, for which there is no flag: command lines are for all to see.
const tokenVariable = "HELLOGATE_STORE_TOKEN"

// redisVariable holds the Redis store's password.
const redisVariable = "HELLOGATE_REDIS_PASSWORD"

// settings is what run was told: by flags, by the environment, by a file, in that order.
type settings struct {
	config *config.Config
	token  string
	notes  []string // for the log
}

func readSettings(c *cli.Context) (settings, error) {
	token := os.Getenv(tokenVariable)
	if path := c.String("config"); path != "" {
		return fromFile(c, path, token)
	}
	if given(c, "token-file") {
		token = ""
	}
	loaded, notes, err := config.FromSmall(config.Small{
		Listen:       c.StringSlice("listen"),
		Backends:     c.StringSlice("backend"),
		Store:        c.String("store"),
		SendProxy:    c.String("send-proxy"),
		TokenFile:    c.String("token-file"),
		CAFile:       c.String("ca-file"),
		FallbackCert: c.String("fallback-cert"),
		FallbackKey:  c.String("fallback-key"),
		Control:      c.String("control"),
		LogLevel:     c.String("log-level"),
		LogFormat:    c.String("log-format"),
	})
	if err != nil {
		return settings{}, usage(c.Command.HelpName, "%s", strings.ReplaceAll(err.Error(), "\n", "; "))
	}
	return settings{config: loaded, token: token, notes: notes}, loaded.CheckFiles()
}

func fromFile(c *cli.Context, path, token string) (settings, error) {
	for _, flag := range smallCase {
		if given(c, flag) {
			return settings{}, usage(c.Command.HelpName, "--%s goes without a configuration file; %s says it there", flag, path)
		}
	}
	loaded, err := config.Load(path)
	if err != nil {
		return settings{}, err
	}
	if err := config.CheckSocket(c.String("control")); err != nil {
		return settings{}, usage(c.Command.HelpName, "--control: %v", err)
	}
	override(c, "control", &loaded.Control.Socket)
	override(c, "log-level", &loaded.Log.Level)
	override(c, "log-format", &loaded.Log.Format)
	read := settings{config: loaded, token: token}
	for _, name := range setVariables(smallCase) {
		read.notes = append(read.notes, name+" is ignored: there is a configuration file")
	}
	return read, loaded.CheckFiles()
}

func override[T ~string](c *cli.Context, flag string, value *T) {
	if text := c.String(flag); text != "" {
		*value = T(text)
	}
}

// loader reads the configuration again, by the same file and flags; nil: there is no file.
func loader(c *cli.Context) func() (*config.Config, error) {
	path := c.String("config")
	if path == "" {
		return nil
	}
	return func() (*config.Config, error) {
		read, err := fromFile(c, path, "")
		return read.config, err
	}
}
