package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"hellogate/e2e/bench/load"
	"hellogate/e2e/bench/process"
)

const (
	readyPatience = 10 * time.Second

	// ownDescriptors is what a proxy needs besides the two of each connection.
	ownDescriptors = 100
)

// stage is a proxy that runs, with a backend, for one measurement.
type stage struct {
	bench   *bench
	place   placement
	setting setting
	backend *child
	proxy   *process.Process
	clients []*child
}

// setUp starts a backend and p for t. The caller tears the stage down.
func (b *bench) setUp(ctx context.Context, t test, p proxy, place placement) (*stage, error) {
	folder, err := os.MkdirTemp(b.folder, "run")
	if err != nil {
		return nil, err
	}
	s := &stage{bench: b, place: place}
	if err := s.start(ctx, t, p, folder); err != nil {
		err = fmt.Errorf("%w%s", err, s.logged())
		s.tearDown()
		return nil, err
	}
	return s, nil
}

func (s *stage) start(ctx context.Context, t test, p proxy, folder string) (err error) {
	s.setting.Folder = folder
	if err := os.Chmod(folder, 0o755); err != nil { // some proxies give up being root
		return err
	}
	if s.backend, err = startChild(ctx, "backend", s.place.load); err != nil {
		return err
	}
	var backend listening
	if err := s.backend.ask(nil, &backend); err != nil {
		return fmt.Errorf("backend: %w", err)
	}
	if s.setting, err = s.bench.setting(t, s.place, folder, backend.Address); err != nil {
		return err
	}
	if err := p.configure(s.setting); err != nil {
		return err
	}
	if err := s.startProxy(p); err != nil {
		return err
	}
	return s.waitUntilReady(ctx)
}

// setting is what the proxy's configuration for t is made of.
func (b *bench) setting(t test, place placement, folder, backend string) (setting, error) {
	address, err := freeAddress()
	if err != nil {
		return setting{}, err
	}
	s := setting{
		Listen: address, Backend: backend, Files: b.files[t.certificate], Folder: folder, Config: filepath.Join(folder, "config"),
		Threads: place.threads, MaxConnections: b.maxConnections, MaxDescriptors: 2*b.maxConnections + ownDescriptors,
		PostQuantum: t.postQuantum, Passthrough: t.plan.Plain, Limit: t.limit, Root: os.Geteuid() == 0, Module: streamModule(),
	}
	if t.kind == preamble {
		if s.ListenPostgres, err = freeAddress(); err != nil {
			return setting{}, err
		}
	}
	if t.kind == reload {
		s.Routes = routes(b.options.scaled(ownRoutes), 0)
	}
	if t.certificate == "" {
		s.Store, s.TokenFile = b.store.address, b.store.tokenFile
	}
	if t.disk {
		s.CacheFolder = filepath.Join(folder, "cache")
	}
	_, s.Port, _ = net.SplitHostPort(s.Listen)
	_, s.BackendPort, _ = net.SplitHostPort(s.Backend)
	return s, nil
}

func (s *stage) startProxy(p proxy) error {
	log, err := os.Create(s.logPath())
	if err != nil {
		return err
	}
	defer log.Close()
	command := p.command(s.setting)
	command.Stdout, command.Stderr = log, log
	// SIGTERM: a master that were killed would leave its workers behind.
	s.proxy, err = process.Start(command, s.place.proxy, syscall.SIGTERM)
	return err
}

func (s *stage) waitUntilReady(ctx context.Context) error {
	for deadline := time.Now().Add(readyPatience); time.Now().Before(deadline); {
		if connection, err := net.DialTimeout("tcp", s.setting.Listen, time.Second); err == nil {
			return connection.Close()
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-s.proxy.Ended():
			return errors.New("the proxy ended at its start")
		case <-time.After(20 * time.Millisecond):
		}
	}
	return fmt.Errorf("the proxy does not listen after %v", readyPatience)
}

// client starts a client with plan, whose address is filled in.
func (s *stage) client(ctx context.Context, plan load.Plan) (*child, load.Opened, error) {
	var opened load.Opened
	if plan.Address = s.setting.Listen; plan.Postgres {
		plan.Address = s.setting.ListenPostgres
	}
	client, err := startChild(ctx, "load", s.place.load)
	if err != nil {
		return nil, opened, err
	}
	s.clients = append(s.clients, client)
	if err := client.ask(plan, &opened); err != nil {
		return nil, opened, fmt.Errorf("client: %w", err)
	}
	if opened.Error != "" && !opened.Unsupported {
		return nil, opened, fmt.Errorf("client: %s%s", opened.Error, s.logged())
	}
	return client, opened, nil
}

// tearDown ends everything, the clients first, and removes the proxy's files.
func (s *stage) tearDown() {
	for _, client := range s.clients {
		client.close()
	}
	if s.proxy != nil {
		s.proxy.Stop()
	}
	if s.backend != nil {
		s.backend.close()
	}
	_ = os.RemoveAll(s.setting.Folder) // it is below the benchmark's, which is removed at the end
}

func (s *stage) logPath() string { return filepath.Join(s.setting.Folder, "log") }

// logged is the beginning of what the proxy wrote, as an appendix to an error.
func (s *stage) logged() string {
	text, err := os.ReadFile(s.logPath())
	if err != nil || len(text) == 0 {
		return ""
	}
	return fmt.Sprintf(" (its log: %.500q)", text)
}

// freeAddress is a port that nobody listens on, below those that the system gives to clients.
func freeAddress() (string, error) {
	for range 1000 {
		address := net.JoinHostPort("127.0.0.1", strconv.Itoa(12000+rand.IntN(20000)))
		if listener, err := net.Listen("tcp", address); err == nil {
			return address, listener.Close()
		}
	}
	return "", errors.New("no free port on 127.0.0.1")
}
