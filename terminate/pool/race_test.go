package pool

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// Whatever goes on around them, no server gets more connections than it may have, whoever waits hears of it, and in the
// end nothing is counted any more.
func TestEverythingAtOnce(t *testing.T) {
	for b := range Balance(len(balances)) {
		t.Run(b.String(), func(t *testing.T) { everythingAtOnce(t, b) })
	}
}

func everythingAtOnce(t *testing.T, b Balance) {
	const limit = 3
	dns := &names{}
	dns.set("a", "10.0.0.1", "10.0.0.2")
	options := named(dns, "10.0.0.8:80", "10.0.0.9:80", "a:80")
	for i := range options.Servers {
		options.Servers[i].MaxConnections = limit
	}
	options.Balance = b
	options.ResolveInterval = time.Millisecond
	options.SlowStart = 2 * time.Millisecond
	options.Ejection = Ejection{Failures: 2, Resets: 2, ResetClients: 1, Base: time.Millisecond, Max: 4 * time.Millisecond}
	p := start(t, options)

	stop := make(chan struct{})
	var around, clients sync.WaitGroup
	for _, do := range []func(int){
		func(i int) { dns.set("a", fmt.Sprintf("10.0.0.%d", i%5+1), "10.0.0.2") },
		func(i int) { at(p, i%2).SetHealth(i%3 != 0, "refused", 0) },
		func(i int) { _ = p.SetAdmin("10.0.0.8:80", Admin(i%3)) },
		func(int) { _ = p.Update(options) },
		func(i int) { _ = p.SetWeight("a:80", i%3) },
		func(int) { p.Status() },
	} {
		around.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-stop:
					return
				default:
					do(i)
					time.Sleep(50 * time.Microsecond)
				}
			}
		})
	}
	var held sync.Map // *Server to *atomic.Int64
	var served atomic.Int64
	end := time.Now().Add(3 * time.Second)
	for n := range 24 {
		clients.Go(func() {
			for mine := 0; mine < 40 && time.Now().Before(end); {
				s, err := await(p, client(n))
				if err != nil {
					time.Sleep(100 * time.Microsecond)
					continue
				}
				mine++
				served.Add(1)
				count, _ := held.LoadOrStore(s, new(atomic.Int64))
				if got := count.(*atomic.Int64).Add(1); got > limit {
					t.Errorf("%s has %d connections", s.Endpoint(), got)
				}
				use(s, n)
				count.(*atomic.Int64).Add(-1)
				s.Release()
			}
		})
	}
	clients.Wait()
	close(stop)
	around.Wait()
	status := p.Status()
	expect(t, "queued", status.Queued, 0)
	for _, s := range status.Servers {
		expect(t, "connections of "+s.Endpoint, s.Connections, 0)
	}
	if served.Load() < 100 {
		t.Errorf("only %d connections were served", served.Load())
	}
}

func use(s *Server, n int) {
	switch rand.IntN(4) {
	case 0:
		s.Failed(errRefused)
	case 1:
		s.Succeeded()
		s.EarlyReset(client(n).Client)
	default:
		s.Succeeded()
		time.Sleep(time.Duration(rand.IntN(100)) * time.Microsecond)
		s.Answered()
	}
}

// await is what a strand does, with a channel.
func await(p *Pool, key Key) (*Server, error) {
	s, err := p.Pick(key, nil)
	if !MayWait(err) {
		return s, err
	}
	woken := make(chan struct{}, 1)
	ticket, err := p.Enter(key, nil, func() { woken <- struct{}{} })
	if err != nil {
		return nil, err
	}
	defer ticket.Leave()
	timeout := time.After(time.Duration(rand.IntN(int(10 * time.Millisecond))))
	for {
		if s, err := ticket.Server(); s != nil || err != nil {
			return s, err
		}
		select {
		case <-woken:
		case <-timeout:
			return nil, errors.New("waited long enough")
		}
	}
}

// The connections of many clients at once are spread as they would be one by one.
func TestLeastConnectionsUnderLoad(t *testing.T) {
	p := start(t, Options{Servers: servers(1, 2, 3), Balance: LeastConnections})
	var clients sync.WaitGroup
	for range 12 {
		clients.Go(func() {
			for range 50 {
				_, _ = p.Pick(Key{}, nil)
			}
		})
	}
	clients.Wait()
	for i, s := range p.Status().Servers {
		expect(t, s.Endpoint, s.Connections, 100*(i+1))
	}
}
