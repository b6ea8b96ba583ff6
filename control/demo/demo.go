// Package demo runs everything at once on loopback: a certificate server with a certificate authority made on
// the spot, a backend that shows the PROXY header it got, and the load balancer between them.
//
// The rule it guards: what it prints works as printed, and nothing of it is left when it ends. The load balancer
// is the real one, made from a configuration file like any other.
package demo

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"sync"
	"syscall"

	"github.com/rs/zerolog"

	"hellogate/control/config"
	"hellogate/control/instance"
)

// DefaultAddress is where the demo listens unless it is told otherwise or somebody else does.
const DefaultAddress = "127.0.0.1:8443"

// Options say how to run the demo.
type Options struct {
	Listen  string      // empty: DefaultAddress, or a free port when that is taken
	Version string      // of hellogate
	Output  io.Writer   // gets the commands to try
	Ready   func(Place) // called once everything listens; nil: not
	Log     zerolog.Logger
}

// Place is where the parts of a running demo are.
type Place struct {
	Directory string // holds the files below; it is removed at the end
	Address   string // of the load balancer
	Store     string // URL of the certificate server
	Backend   string // its address
	CAFile    string // what the certificates verify to
	TokenFile string // the certificate server's bearer token
	Config    string // the load balancer's configuration file
	Control   string // its control socket
	Command   string // a link to this program
}

// demo is the parts of a running one.
type demo struct {
	Options
	place    Place
	store    *store
	backend  *backend
	balancer *instance.Instance
}

// Run runs the demo until ctx is done, and returns when everything has ended and been removed.
func Run(ctx context.Context, options Options) error {
	directory, err := os.MkdirTemp("", "hellogate-demo-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(directory)
	d := &demo{Options: options, place: places(directory)}
	defer d.close()
	if err := d.open(); err != nil {
		return err
	}
	return d.run(ctx)
}

func places(directory string) Place {
	in := func(name string) string { return filepath.Join(directory, name) }
	return Place{
		Directory: directory,
		CAFile:    in("ca.crt"),
		TokenFile: in("token"),
		Config:    in("hellogate.yaml"),
		Control:   in("control.sock"),
		Command:   in("hellogate"),
	}
}

// open makes every part, the load balancer last: it needs to know where the others are.
func (d *demo) open() error {
	if err := d.link(); err != nil {
		return err
	}
	token := rand.Text()
	if err := os.WriteFile(d.place.TokenFile, []byte(token+"\n"), 0o600); err != nil {
		return err
	}
	if err := d.openStore(token); err != nil {
		return fmt.Errorf("certificate server: %w", err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return fmt.Errorf("backend: %w", err)
	}
	d.backend, d.place.Backend = &backend{listener: listener}, listener.Addr().String()
	return d.openBalancer()
}

// link makes the program easy to call from another terminal, wherever "go run" has put it.
func (d *demo) link() error {
	program, err := os.Executable()
	if err != nil {
		return err
	}
	return os.Symlink(program, d.place.Command)
}

func (d *demo) openBalancer() error {
	address := d.Listen
	if address == "" {
		address = DefaultAddress
	}
	err := d.listenOn(address)
	if d.Listen == "" && errors.Is(err, syscall.EADDRINUSE) {
		err = d.listenOn("127.0.0.1:0")
	}
	return err
}

func (d *demo) listenOn(address string) error {
	if err := os.WriteFile(d.place.Config, d.configuration(address), 0o600); err != nil {
		return err
	}
	loaded, err := config.Load(d.place.Config)
	if err != nil {
		return err
	}
	d.balancer, err = instance.New(loaded, instance.Options{Version: d.Version, Log: d.Log})
	if err != nil {
		return err
	}
	d.place.Address = d.balancer.Addresses()[0].String()
	return nil
}

// run has every part work until ctx is done. The load balancer ends first, then what it needs.
func (d *demo) run(ctx context.Context) error {
	parts, stop := context.WithCancel(context.WithoutCancel(ctx))
	var running sync.WaitGroup
	running.Go(func() { d.store.serve(parts) })
	running.Go(func() { d.backend.serve(parts) })
	_, err := io.WriteString(d.Output, d.place.instructions())
	if err == nil {
		if d.Ready != nil {
			d.Ready(d.place)
		}
		d.balancer.Run(ctx)
	}
	stop()
	running.Wait()
	return err
}

// close closes what was opened. What has ended by itself is closed already.
func (d *demo) close() {
	if d.balancer != nil {
		d.balancer.Close()
	}
	if d.backend != nil {
		d.backend.listener.Close()
	}
	if d.store != nil {
		d.store.listener.Close()
	}
}
