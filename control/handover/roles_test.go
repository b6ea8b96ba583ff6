package handover

import (
	"bufio"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"time"
)

// roles are what new processes do.
var roles = map[string]func(){
	"exits":    func() { os.Exit(3) },
	"panics":   func() { os.Stderr.Close(); panic("early") },
	"hangs":    func() { inheritOrExit(); hang() },
	"deaf":     func() { inheritOrExit().end(); hang() },
	"garbage":  func() { inheritOrExit().wire.conn.Write([]byte("HTTP/1.1 400 Bad Request\r\n\r\n")); hang() },
	"huge":     func() { inheritOrExit().wire.conn.Write([]byte("a\xff\xff\xff\xff")); hang() },
	"stranger": func() { inheritOrExit().wire.send(askKind, []byte(`{"protocol":2}`)); hang() },
	"hasty":    func() { inheritOrExit().wire.send(readyKind, nil); hang() },
	"refuses": func() {
		inheritOrExit().Failed(errors.New("listeners[0].address: \"x\": no such thing"))
		os.Exit(1)
	},
	"refuses and hangs": func() { inheritOrExit().Failed(errors.New("no")); hang() },
	"refuses late": func() {
		receiveOrExit().Failed(errors.New("cache.dir: in use"))
		os.Exit(1)
	},
	"exits late": func() { receiveOrExit(); os.Exit(4) },
	"hangs late": func() { receiveOrExit(); hang() },
	"good":       func() { serve(receiveOrExit()) },
	"generation": generation,
}

func hang() { time.Sleep(time.Minute) }

func inheritOrExit() *Inherited {
	inherited, err := Inherit()
	if err != nil || inherited == nil || os.Getenv(Variable) != "" {
		os.Exit(97)
	}
	return inherited
}

func receiveOrExit() *Inherited {
	inherited := inheritOrExit()
	if err := inherited.Receive(); err != nil {
		inherited.Failed(err)
		os.Exit(98)
	}
	return inherited
}

// serve takes over the front and answers questions there until it is told to stop.
func serve(inherited *Inherited) {
	front, found := inherited.Listener("tcp", os.Getenv(addressVariable))
	if !found {
		inherited.Failed(errors.New("no front"))
		os.Exit(1)
	}
	answers := map[string]string{"pid": fmt.Sprint(os.Getpid()), "parent": fmt.Sprint(os.Getppid()), "stop": "stopped"}
	for _, name := range []string{"small", "large", "empty"} {
		if section := inherited.State(name); section != nil {
			answers["state "+name] = fmt.Sprintf("%x", sha256.Sum256(section))
		}
	}
	if file, found := inherited.File("note"); found {
		text, _ := io.ReadAll(file)
		file.Close()
		answers["file"] = string(text)
	}
	unused, err := inherited.Ready()
	if err != nil {
		os.Exit(1)
	}
	answers["unused"] = fmt.Sprintf("%q", unused)
	answers["state after"] = fmt.Sprint(inherited.State("small") == nil)
	for question := ""; question != "stop"; {
		conn, err := front.Accept()
		if err != nil {
			os.Exit(2)
		}
		question, _ = bufio.NewReader(conn).ReadString('\n')
		question = strings.TrimSpace(question)
		answer := answers[question]
		if question == "descriptors" {
			answer = fmt.Sprint(descriptors())
		}
		fmt.Fprintln(conn, answer)
		conn.Close()
	}
}

// generation serves like a load balancer: any number of connections at once, and upgrades to the next of its kind.
func generation() {
	inherited := receiveOrExit()
	address, path := os.Getenv(addressVariable), os.Getenv("HANDOVER_TEST_CONTROL")
	front, found := inherited.Listener("tcp", address)
	control, also := inherited.Listener("unix", path)
	if !found || !also {
		inherited.Failed(errors.New("no listeners"))
		os.Exit(1)
	}
	var number int
	fmt.Sscan(string(inherited.State("generation")), &number)
	if _, err := inherited.Ready(); err != nil {
		os.Exit(1)
	}
	runGeneration(number+1, address, front, path, control)
}

// runGeneration returns when the next has taken over and the connections of this one have ended.
func runGeneration(number int, address string, front net.Listener, path string, control net.Listener) {
	program, err := ThisProgram()
	if err != nil {
		panic(err)
	}
	upgrader := NewUpgrader(Options{
		Program: program,
		Environment: append(os.Environ(), roleVariable+"=generation", addressVariable+"="+address,
			"HANDOVER_TEST_CONTROL="+path, noLinger),
		Release: func(context.Context) (State, error) {
			return State{
				Listeners: []Listener{{address, front}, {path, control}},
				Sections:  map[string][]byte{"generation": []byte(fmt.Sprint(number))},
			}, nil
		},
	})
	var open sync.WaitGroup
	open.Go(func() { acceptAll(&open, front, func(string) (string, bool) { return fmt.Sprint(number), false }) })
	acceptAll(&open, control, func(command string) (string, bool) {
		if command == "stop" {
			front.Close()
			return "stopped", true
		}
		pid, err := upgrader.Upgrade(context.Background())
		if err != nil {
			return err.Error(), false
		}
		front.Close()
		return fmt.Sprint(pid), true
	})
	open.Wait()
}

// acceptAll answers each line of each connection, until the listener is closed, which the answer may ask for.
func acceptAll(open *sync.WaitGroup, listener net.Listener, answer func(string) (text string, last bool)) {
	for {
		conn, err := listener.Accept()
		if err != nil {
			return
		}
		open.Go(func() {
			defer conn.Close()
			for lines := bufio.NewScanner(conn); lines.Scan(); {
				text, last := answer(lines.Text())
				if last {
					listener.Close()
				}
				fmt.Fprintln(conn, text)
			}
		})
	}
}
