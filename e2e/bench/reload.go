package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"time"

	"hellogate/control"
	"hellogate/e2e/bench/load"
	"hellogate/e2e/bench/result"
)

// reload measures how long it takes until another configuration is in effect, while connections are open. Afterwards each
// of them must go on.
func (b *bench) reload(ctx context.Context, t test, p proxy, place placement) (runs []result.Run) {
	s, err := b.setUp(ctx, t, p, place)
	if err != nil {
		return []result.Run{failed(b.run(t.Name, p, place), err)}
	}
	defer s.tearDown()
	client, _, err := s.client(ctx, t.plan)
	if err == nil {
		err = s.warmUp(client, b.idleConnections(0))
	}
	if err != nil {
		return []result.Run{failed(b.run(t.Name, p, place), err)}
	}
	for i := range reloads {
		run := b.run(t.Name, p, place)
		if err := s.reload(ctx, p, routes(b.options.scaled(ownRoutes), i+1), &run); err != nil {
			return append(runs, failed(run, err))
		}
		if err := s.allGoOn(client, b.idleConnections(0)); err != nil {
			return append(runs, failed(run, err))
		}
		runs = append(runs, run)
	}
	return runs
}

// routes are the names of so many routes. Half of them are of one generation.
func routes(count int64, generation int) []string {
	names := make([]string, count)
	for i := range names {
		names[i] = fmt.Sprintf("shop%d.example.test", i)
		if i%2 == 1 {
			names[i] = fmt.Sprintf("shop%d.generation%d.example.test", i, generation)
		}
	}
	return names
}

// reload has the proxy take other routes.
func (s *stage) reload(ctx context.Context, p proxy, routes []string, run *result.Run) error {
	if err := s.rewrite(p, routes); err != nil {
		return err
	}
	client := onSocket(filepath.Join(s.setting.Folder, "control.sock"))
	defer client.CloseIdleConnections()
	before, err := read(s.proxy.ID())
	if err != nil {
		return err
	}
	began := time.Now()
	reloaded, err := postReload(ctx, client)
	run.Wall = time.Since(began).Seconds()
	if err != nil {
		return fmt.Errorf("reload: %w%s", err, s.logged())
	}
	after, err := read(s.proxy.ID())
	if err != nil {
		return err
	}
	if !slices.Contains(reloaded.Changed, "routes") {
		return fmt.Errorf("reload: changed %q, and no routes", reloaded.Changed)
	}
	s.note(run, before, after)
	run.Operations, run.Value = 1, 1000*run.Wall
	return nil
}

// rewrite puts a configuration with other routes in the place of the one that the proxy was started with.
func (s *stage) rewrite(p proxy, routes []string) error {
	next := s.setting
	next.Routes, next.Config = routes, s.setting.Config+".next"
	if err := p.configure(next); err != nil {
		return err
	}
	return os.Rename(next.Config, s.setting.Config)
}

// allGoOn has each of the client's connections echo a byte.
func (s *stage) allGoOn(client *child, connections int64) error {
	var round load.Round
	if err := client.ask(load.Order{}, &round); err != nil {
		return fmt.Errorf("client: %w", err)
	}
	if round.Operations != connections {
		return fmt.Errorf("%d of %d connections go on: %s%s", round.Operations, connections, round.FirstError, s.logged())
	}
	return nil
}

// onSocket is a client of the control socket at path.
func onSocket(path string) *http.Client {
	return &http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", path)
		},
	}}
}

func postReload(ctx context.Context, client *http.Client) (done control.ReloadResult, err error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://hellogate/reload", nil)
	if err != nil {
		return done, err
	}
	response, err := client.Do(request)
	if err != nil {
		return done, err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		text, _ := io.ReadAll(io.LimitReader(response.Body, 1000))
		return done, fmt.Errorf("%s: %s", response.Status, text)
	}
	return done, json.NewDecoder(response.Body).Decode(&done)
}
