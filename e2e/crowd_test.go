package e2e

import (
	"bufio"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// crowdSize is how many connections wake together, where the limit on open files allows it.
const crowdSize = 8000

// crowdPatience is how long each part of it may take.
const crowdPatience = 30 * time.Second

// A crowd of connections that went idle sends all at once: each gets its answer, and only its own. What they cost is given
// back when they are gone.
func TestCrowdWakesTogether(t *testing.T) {
	size := crowd(t)
	store := newStore(t)
	backend := startCrowd(t, "backend")
	g := start(t, usesStore(store), usesBackend(backend.line(t)), "backends: {main: {send_proxy: off}}",
		"log: {level: warn, access: false}", "limits: {drain_timeout: 5s, handshakes: 100000}")
	fresh := g.process()
	clients := startCrowd(t, "clients "+g.address+" "+strconv.Itoa(size))
	clients.want(t, "open")
	idle := g.process()
	if active := g.status().Connections.Active; active != size {
		t.Errorf("%d connections are open, want %d", active, size)
	}
	began := time.Now()
	clients.say(t, "wake")
	clients.want(t, "answered")
	t.Logf("%d connections woke within %v; goroutines %d, then %d; resident %d MB, then %d, at most %d",
		size, time.Since(began).Round(time.Millisecond), fresh.Goroutines, idle.Goroutines, fresh.Resident>>20, idle.Resident>>20, g.peakMemory()>>20)
	g.eventually("the goroutines of the wake-up are gone", func() bool { return g.process().Goroutines <= idle.Goroutines+100 })
	if buildTags == "" && idle.Goroutines > fresh.Goroutines+100 {
		t.Errorf("%d goroutines for %d idle connections", idle.Goroutines, size)
	}
	clients.say(t, "leave")
	clients.want(t, "left")
	g.eventually("nothing is left", func() bool {
		now := g.process()
		return g.status().Connections.Active == 0 && now.Goroutines <= fresh.Goroutines+100 && now.Files <= fresh.Files+10
	})
	if withRace {
		return
	}
	var now processStatus
	g.within(time.Minute, "its memory is given back", func() bool {
		now = g.process()
		return now.Resident < fresh.Resident+(idle.Resident-fresh.Resident)/2+32<<20
	})
	t.Logf("resident %d MB when they were gone", now.Resident>>20)
}

// processStatus is what hellogate says of its process.
type processStatus struct {
	Resident   int64 `json:"rss_bytes"`
	Files      int   `json:"open_files"`
	Goroutines int   `json:"goroutines"`
}

func (g *gate) process() processStatus {
	g.t.Helper()
	var status struct{ Process processStatus }
	g.get("/status", &status)
	return status.Process
}

// crowd is how many connections there can be: two descriptors each in hellogate.
func crowd(t *testing.T) int {
	t.Helper()
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	size := int(min(crowdSize, max(limit.Max, 1000)/2-400))
	if withRace {
		size = min(size, 1000)
	}
	if size < crowdSize {
		t.Logf("%d connections instead of %d: %d files may be open, race detector %v", size, crowdSize, limit.Max, withRace)
	}
	return size
}

// crowdProcess is one of the test's own processes: each connection takes a descriptor at either end.
type crowdProcess struct {
	input  io.Writer
	output *bufio.Reader
}

// crowdRole is the variable that tells such a process what it is.
const crowdRole = "HELLOGATE_E2E_CROWD"

func startCrowd(t *testing.T, role string) *crowdProcess {
	t.Helper()
	process := exec.Command(must(os.Executable()), "-test.run=^TestCrowdProcess$")
	process.Env = append(os.Environ(), crowdRole+"="+role, "HELLOGATE_BINARY="+hellogate)
	process.Stderr = os.Stderr
	input := must(process.StdinPipe())
	output := must(process.StdoutPipe())
	if err := process.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		input.Close()
		timer := time.AfterFunc(patience, func() { process.Process.Kill() })
		defer timer.Stop()
		process.Wait()
	})
	return &crowdProcess{input, bufio.NewReader(output)}
}

// line reads what the process says next.
func (c *crowdProcess) line(t *testing.T) string {
	t.Helper()
	said := make(chan string, 1)
	go func() {
		line, _ := c.output.ReadString('\n')
		said <- strings.TrimSpace(line)
	}()
	select {
	case line := <-said:
		return line
	case <-time.After(2 * crowdPatience):
		t.Fatal("a process of the crowd says nothing")
		return ""
	}
}

func (c *crowdProcess) want(t *testing.T, want string) {
	t.Helper()
	if line := c.line(t); line != want {
		t.Fatalf("it said %q, not %q", line, want)
	}
}

func (c *crowdProcess) say(t *testing.T, word string) {
	t.Helper()
	if _, err := fmt.Fprintln(c.input, word); err != nil {
		t.Fatal(err)
	}
}

// TestCrowdProcess is not a test: it is the crowd's clients, or their backend, in a process of its own.
func TestCrowdProcess(t *testing.T) {
	role := strings.Fields(os.Getenv(crowdRole))
	if len(role) == 0 {
		t.Skip("part of TestCrowdWakesTogether")
	}
	input := bufio.NewReader(os.Stdin)
	var err error
	if role[0] == "backend" {
		err = serveCrowd(input)
	} else {
		err = joinCrowd(input, role[1], must(strconv.Atoi(role[2])))
	}
	if err != nil {
		fmt.Println("failed:", err)
	}
}

// serveCrowd echoes until its input ends.
func serveCrowd(input *bufio.Reader) error {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	fmt.Println(listener.Addr())
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				io.CopyBuffer(struct{ io.Writer }{conn}, struct{ io.Reader }{conn}, make([]byte, 256))
			}()
		}
	}()
	_, err = input.ReadString('\n')
	return errors.Join(listener.Close(), ignoreEOF(err))
}

func ignoreEOF(err error) error {
	if err == io.EOF {
		return nil
	}
	return err
}

// joinCrowd opens the connections, waits, has all of them send at once, and checks every answer.
func joinCrowd(input *bufio.Reader, address string, size int) error {
	members := make([]*tls.Conn, size)
	var next atomic.Int64
	if err := all(64, func(int) error {
		for i := next.Add(1) - 1; i < int64(size); i = next.Add(1) - 1 {
			member, err := join(address)
			if err != nil {
				return fmt.Errorf("connection %d: %w", i, err)
			}
			members[i] = member
		}
		return nil
	}); err != nil {
		return err
	}
	for _, step := range []struct {
		word, answer string
		do           func(i int) error
	}{
		{"wake", "answered", func(i int) error { return asks(members[i], uint64(i)+1) }},
		{"leave", "left", func(i int) error { return members[i].Close() }},
	} {
		begin := make(chan struct{})
		done := make(chan error)
		go func() { done <- all(size, func(i int) error { <-begin; return step.do(i) }) }()
		if step.word == "wake" {
			fmt.Println("open")
		}
		if _, err := input.ReadString('\n'); err != nil {
			return err
		}
		close(begin)
		if err := <-done; err != nil {
			return err
		}
		fmt.Println(step.answer)
	}
	return nil
}

// all does something n times at once, and tells of the first failure, and how many there were.
func all(n int, do func(i int) error) error {
	var group sync.WaitGroup
	var failures atomic.Int64
	var first atomic.Pointer[error]
	for i := range n {
		group.Go(func() {
			if err := do(i); err != nil {
				failures.Add(1)
				first.CompareAndSwap(nil, &err)
			}
		})
	}
	group.Wait()
	if err := first.Load(); err != nil {
		return fmt.Errorf("%d of %d: %w", failures.Load(), n, *err)
	}
	return nil
}

// join opens a connection that works.
func join(address string) (*tls.Conn, error) {
	raw, err := net.DialTimeout("tcp", address, crowdPatience)
	if err != nil {
		return nil, err
	}
	raw.SetDeadline(time.Now().Add(crowdPatience))
	member := tls.Client(raw, &tls.Config{ServerName: "crowd.example", InsecureSkipVerify: true, CurvePreferences: []tls.CurveID{tls.X25519}})
	return member, errors.Join(member.Handshake(), asks(member, 0))
}

// asks sends a number and checks that it comes back.
func asks(member *tls.Conn, number uint64) error {
	member.SetDeadline(time.Now().Add(crowdPatience))
	question := binary.BigEndian.AppendUint64(nil, number)
	if _, err := member.Write(question); err != nil {
		return err
	}
	answer := make([]byte, len(question))
	if _, err := io.ReadFull(member, answer); err != nil {
		return err
	}
	if got := binary.BigEndian.Uint64(answer); got != number {
		return fmt.Errorf("sent %d, got %d back", number, got)
	}
	return nil
}
