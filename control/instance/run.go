package instance

import (
	"context"
	"fmt"
	"net"
	"runtime/debug"
	"sync"
	"time"
)

// Run serves until ctx is done, or Shutdown or Upgrade is called, lets open connections end for as long as the drain timeout,
// and closes everything. The control socket answers until the last connection has ended, or until another process has it.
// The error is that the process before does not step back: then nothing was served.
func (i *Instance) Run(ctx context.Context) error {
	defer i.Close()
	if err := i.takeOver(); err != nil {
		return err
	}
	i.serving.Store(true)
	i.startOrders(i.plane.Load())
	defer context.AfterFunc(ctx, i.Shutdown)()
	finish := i.runControl()
	var background sync.WaitGroup
	background.Go(func() { tendMemory(i.life) })
	i.prefetchFirst()
	background.Go(func() { i.servePeterSSLers(i.life) })
	background.Go(func() { i.options.Notifier.Watch(i.watched, i.well, i.warn) })
	i.logStart()
	i.tellStarted()
	draining := run(context.Background(), func(served context.Context) { i.whileDraining(served, finish, &background) })
	// What a drain had to cut is said in the log. It is no failure: ending is what was asked for.
	err := i.traffic.Serve(i.life, i.drainTimeout)
	i.end() // it may have failed before
	draining.stop()
	finish()
	i.stopWatch()
	background.Wait()
	i.upgrading.Lock() // one that is under way comes to its end
	i.logEnd(err)
	return nil
}

// Shutdown begins the end of Run, as the end of its context does. Where another process has taken over, and connections that
// go on are waited for, it has them end within the drain timeout. It may be called more than once.
func (i *Instance) Shutdown() {
	i.stopped.Store(true)
	i.end()
	if i.handedOver.Load() {
		i.traffic.Hurry(i.plane.Load().config.Limits.DrainTimeout)
	}
}

func (i *Instance) draining() bool { return i.life.Err() != nil }

// drainTimeout is how long connections may go on when it ends.
func (i *Instance) drainTimeout() time.Duration {
	limits := i.plane.Load().config.Limits
	if i.handedOver.Load() && !i.stopped.Load() {
		return limits.UpgradeDrainTimeout
	}
	return limits.DrainTimeout
}

// whileDraining is what goes on from the end of life until all connections have been served.
func (i *Instance) whileDraining(served context.Context, finish func(), background *sync.WaitGroup) {
	select {
	case <-i.life.Done():
	case <-served.Done():
		return
	}
	if !i.handedOver.Load() {
		// Somebody who hangs as he ends is to be killed.
		limited, end := context.WithTimeout(served, i.drainTimeout()+drainSlack)
		defer end()
		i.options.Notifier.Drain(limited, i.drainStatus, i.warn)
		return
	}
	// The other process has them: nobody may be answered by this one, and the locks must go when that one ends.
	finish()
	background.Wait()
	i.stopPrefetch()
	i.letCertificatesGo(served)
}

// drainSlack is how much longer than the drain timeout an end may take.
const drainSlack = 5 * time.Second

// letCertificatesGo closes what only handshakes need when the last is over, so that it is not held, and asked for again,
// twice, for as long as connections go on. Until then the other process' connections have the same memory besides.
func (i *Instance) letCertificatesGo(served context.Context) {
	ticks := time.NewTicker(time.Second)
	defer ticks.Stop()
	for {
		select {
		case <-served.Done():
			return
		case <-ticks.C:
		}
		if !i.traffic.Opening() {
			break
		}
	}
	later := i.closers[i.certificates:]
	i.closers = i.closers[:i.certificates]
	i.closeDownTo(0)
	i.closers = later
	i.names.forget()
	i.cache, i.control, i.peter, i.chain, i.stores, i.plane.Load().stores = nil, nil, nil, nil, nil, nil
	debug.FreeOSMemory()
	i.options.Log.Info().Int64("connections", i.traffic.Stats().Active).Msg("upgrade: what only handshakes need is let go of")
}

// runControl answers on the control sockets until the function that it returns is called, which waits for their end.
func (i *Instance) runControl() (finish func()) {
	ctx, cancel := context.WithCancel(context.Background())
	var servers sync.WaitGroup
	serve := func(what string, serve func(context.Context, net.Listener) error, listener net.Listener) {
		servers.Go(func() {
			// Without it it goes on serving clients.
			if err := serve(ctx, listener); err != nil {
				i.options.Log.Error().Err(err).Msg(what + " failed")
			}
		})
	}
	serve("control socket", i.control.Serve, i.socket)
	if i.reads != nil {
		serve("read socket", i.control.ServeReads, i.reads)
	}
	if i.admin != nil {
		serve("admin listener", i.control.ServeAdmin, i.admin)
	}
	return sync.OnceFunc(func() {
		cancel()
		servers.Wait()
		_ = i.socket.Close()
		if i.reads != nil {
			_ = i.reads.Close()
		}
	})
}

// tellStarted tells the service manager that connections are accepted.
func (i *Instance) tellStarted() {
	if i.options.Inherited != nil {
		i.warn(i.options.Notifier.TakeOver(i.status()))
	} else {
		i.warn(i.options.Notifier.Ready(i.status()))
	}
}

func (i *Instance) status() string {
	config := i.plane.Load().config
	return fmt.Sprintf("%d listeners, %d routes, %d backends", len(config.Listeners), len(config.Routes), len(config.Backends))
}

func (i *Instance) drainStatus() string {
	return fmt.Sprintf("draining: %d connections", i.traffic.Stats().Active)
}

// well takes part in what all connections do, and returns when that can be done.
func (i *Instance) well() bool {
	_ = i.cache.Stats()
	return i.traffic.Well()
}

// warn says that a service manager could not be told, or the like, which is no reason to end.
func (i *Instance) warn(err error) {
	if err != nil {
		i.options.Log.Warn().AnErr("reason", err).Msg("not done")
	}
}
