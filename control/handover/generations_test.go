package handover

import (
	"fmt"
	"net"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// Clients that connect all the time while one process hands over to the next, again and again, see no failure; connections
// that were open before go on with the process that accepted them, which ends with the last of them.
func TestGenerationsUnderLoad(t *testing.T) {
	const upgrades = 5
	path := filepath.Join(t.TempDir(), "control")
	control, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	control.(*net.UnixListener).SetUnlinkOnClose(false)
	front := listenTCP(t, "127.0.0.1:0")
	address := front.Addr().String()
	var old sync.WaitGroup
	old.Go(func() { runGeneration(0, address, front, path, control) })

	load := startLoad(address)
	var lasting []net.Conn
	var processes []int
	for generation := range upgrades {
		conn, err := net.Dial("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		lasting = append(lasting, conn)
		answers(t, conn, generation)
		answer, err := ask(path, "upgrade")
		pid, notPID := strconv.Atoi(answer)
		if err != nil || notPID != nil {
			t.Fatalf("upgrade %d: %q, %v", generation, answer, err)
		}
		processes = append(processes, pid)
		time.Sleep(20 * time.Millisecond)
	}
	for generation, conn := range lasting {
		answers(t, conn, generation)
	}
	served, failed := load.stop()
	if failed != nil {
		t.Errorf("a connection failed: %v", failed)
	}
	t.Logf("%d connections", served)
	if served < upgrades {
		t.Errorf("only %d connections were served", served)
	}
	for generation, pid := range processes[:upgrades-1] {
		if !alive(pid) {
			t.Errorf("generation %d did not wait for its connection", generation+1)
		}
		lasting[generation+1].Close()
		eventually(t, fmt.Sprintf("end of generation %d", generation+1), func() bool { return !alive(pid) })
	}
	lasting[0].Close()
	old.Wait()
	if answer, err := ask(path, "stop"); answer != "stopped" {
		t.Errorf("stop: %q, %v", answer, err)
	}
	eventually(t, "end of the last", func() bool { return !alive(processes[upgrades-1]) })
}

func answers(t *testing.T, conn net.Conn, generation int) {
	t.Helper()
	if answer, err := exchange(conn, "who"); answer != strconv.Itoa(generation) {
		t.Errorf("answer %q (%v), want generation %d", answer, err, generation)
	}
}

// load are clients that connect, ask and leave.
type load struct {
	clients sync.WaitGroup
	stopped atomic.Bool
	served  atomic.Int64
	failure atomic.Pointer[error]
}

func startLoad(address string) *load {
	l := &load{}
	for range 4 {
		l.clients.Go(func() {
			for !l.stopped.Load() {
				if _, err := ask(address, "who"); err != nil {
					l.failure.Store(&err)
				}
				l.served.Add(1)
			}
		})
	}
	return l
}

func (l *load) stop() (served int64, failure error) {
	l.stopped.Store(true)
	l.clients.Wait()
	if failed := l.failure.Load(); failed != nil {
		failure = *failed
	}
	return l.served.Load(), failure
}
