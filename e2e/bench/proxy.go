package main

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"text/template"

	"hellogate/e2e/bench/certs"
	"hellogate/e2e/bench/result"
)

// baseline is the column of another hellogate.
const baseline = "baseline"

// proxy is a program that is measured.
type proxy struct {
	name      string
	program   string
	config    string // template of its configuration, in proxies
	arguments func(setting) []string
	version   []string // arguments that have it print its version
	hellogate bool
}

// setting is what a configuration is made for.
type setting struct {
	Listen, Port         string
	ListenPostgres       string // for clients that ask for TLS in PostgreSQL's words; none: there are none
	Backend, BackendPort string
	Files                certs.Files
	Store, TokenFile     string // address of the certificate store; none: Files
	CacheFolder          string // for the disk tier; none: there is none
	Folder               string // for the proxy's own files
	Config               string // path of the configuration
	Threads              int
	MaxConnections       int64
	MaxDescriptors       int64
	PostQuantum          bool
	Passthrough          bool
	Limit                string   // connections or connections_per_ip: what is 1; a proxy that has no such limit refuses everyone
	Routes               []string // names that have a route of their own
	Root                 bool
	Module               string // nginx's stream module, where it isn't built in
}

//go:embed proxies
var configurations embed.FS

// known are the proxies that can be measured. Where their programs are is found out later.
func known() []proxy {
	runHellogate := func(s setting) []string { return []string{"run", "--config", s.Config} }
	return []proxy{
		{
			name: result.HAProxy, config: "haproxy.cfg", version: []string{"-vv"},
			arguments: func(s setting) []string { return []string{"-db", "-f", s.Config} },
		},
		{
			name: "hitch", config: "hitch.conf", version: []string{"--version"},
			arguments: func(s setting) []string { return []string{"--config=" + s.Config} },
		},
		{
			name: "nginx", config: "nginx.conf", version: []string{"-v"},
			arguments: func(s setting) []string {
				return []string{"-p", s.Folder, "-c", s.Config, "-e", s.Folder + "/error.log"}
			},
		},
		{name: baseline, config: "hellogate.yaml", version: []string{"version"}, arguments: runHellogate, hellogate: true},
		{name: result.Hellogate, config: "hellogate.yaml", version: []string{"version"}, arguments: runHellogate, hellogate: true},
	}
}

func proxyNames() (names []string) {
	for _, p := range known() {
		names = append(names, p.name)
	}
	return names
}

// find looks the proxies up that were asked for, and builds hellogate in folder where no binary was given. It tells
// missing of those that are not installed.
func find(ctx context.Context, o options, folder string, missing func(name string)) (found []proxy, err error) {
	for _, p := range known() {
		if !wanted(o.proxies, p.name) || p.name == baseline && o.baseline == "" {
			continue
		}
		switch p.name {
		case result.Hellogate:
			p.program, err = hellogateBinary(ctx, o, folder)
		case baseline:
			p.program, err = filepath.Abs(o.baseline)
		default:
			p.program = installed(p.name)
		}
		if err != nil {
			return nil, err
		}
		if p.program == "" {
			missing(p.name)
			continue
		}
		found = append(found, p)
	}
	return found, nil
}

func installed(name string) string {
	for _, candidate := range []string{name, "/usr/sbin/" + name, "/usr/local/sbin/" + name} {
		if path, err := exec.LookPath(candidate); err == nil {
			return path
		}
	}
	return ""
}

func hellogateBinary(ctx context.Context, o options, folder string) (string, error) {
	if o.hellogate != "" {
		return filepath.Abs(o.hellogate)
	}
	binary := filepath.Join(folder, "hellogate")
	build := exec.CommandContext(ctx, "go", "build", "-trimpath", "-o", binary, "hellogate/cmd/hellogate")
	if output, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("%s: %w\n%s", build, err, output)
	}
	return binary, nil
}

// configure writes the configuration for s.
func (p proxy) configure(s setting) error {
	text, err := template.ParseFS(configurations, "proxies/"+p.config)
	if err != nil {
		return err
	}
	file, err := os.OpenFile(s.Config, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	return errors.Join(text.Execute(file, s), file.Close())
}

// command is how p is run for s, in the foreground.
func (p proxy) command(s setting) *exec.Cmd {
	command := exec.Command(p.program, p.arguments(s)...)
	if p.hellogate {
		command.Env = append(os.Environ(), fmt.Sprint("GOMAXPROCS=", s.Threads))
	}
	return command
}

// streamModule is where Debian's package has it; none: built into nginx, hopefully.
func streamModule() string {
	const path = "/usr/lib/nginx/modules/ngx_stream_module.so"
	if _, err := os.Stat(path); err != nil {
		return ""
	}
	return path
}

// release is what p says of its version, in one line, with the TLS library's where it tells.
func (p proxy) release(ctx context.Context) string {
	output, err := exec.CommandContext(ctx, p.program, p.version...).CombinedOutput()
	if err != nil {
		return p.name
	}
	first, _, _ := strings.Cut(strings.TrimPrefix(strings.TrimSpace(string(output)), "nginx version: "), "\n")
	first, _, _ = strings.Cut(first, " - ")
	if _, rest, found := strings.Cut(string(output), "Running on OpenSSL version : "); found {
		library, _, _ := strings.Cut(rest, "\n")
		first += ", " + library
	}
	return first
}
