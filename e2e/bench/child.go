package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"syscall"
	"time"

	"hellogate/e2e/bench/backend"
	"hellogate/e2e/bench/certs"
	"hellogate/e2e/bench/load"
	"hellogate/e2e/bench/process"
)

// children are what this program is as a child of itself, by the name of the command. Each ends when its input does.
var children = map[string]func(in io.Reader, out io.Writer) error{
	"load":    load.Serve,
	"backend": serveBackend,
	"store":   serveStore,
}

// listening answers a child's first question: where it listens.
type listening struct{ Address string }

// storeSecrets is the store's first question.
type storeSecrets struct{ Token string }

func serveBackend(in io.Reader, out io.Writer) error {
	return listen(in, out, backend.Serve)
}

func serveStore(in io.Reader, out io.Writer) error {
	var secrets storeSecrets
	decoder := json.NewDecoder(in)
	if err := decoder.Decode(&secrets); err != nil {
		return fmt.Errorf("store: %w", err)
	}
	store, err := certs.NewStore(secrets.Token)
	if err != nil {
		return fmt.Errorf("store: %w", err)
	}
	return listen(in, out, store.Serve)
}

// listen serves on a port of the system's choosing until in ends.
func listen(in io.Reader, out io.Writer, serve func(net.Listener) error) error {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	defer listener.Close()
	served := make(chan error, 1)
	go func() { served <- serve(listener) }()
	if err := json.NewEncoder(out).Encode(listening{Address: listener.Addr().String()}); err != nil {
		return err
	}
	ended := make(chan struct{})
	go func() {
		_, _ = io.Copy(io.Discard, in) // whatever ends it, it is the end
		close(ended)
	}()
	select {
	case err := <-served:
		return err
	case <-ended:
		return nil // and with the process the connections
	}
}

// child is this program running as one of children.
type child struct {
	process *process.Process
	unwatch func() bool // ctx
	in, out *os.File
	encoder *json.Encoder
	decoder *json.Decoder
}

// startChild starts one on processors. The end of ctx kills it, so that nothing waits for its answers. Close it.
func startChild(ctx context.Context, name string, processors []int) (*child, error) {
	program, err := os.Executable()
	if err != nil {
		return nil, err
	}
	theirIn, in, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer theirIn.Close()
	out, theirOut, err := os.Pipe()
	if err != nil {
		in.Close()
		return nil, err
	}
	defer theirOut.Close()
	command := exec.Command(program, name)
	command.Stdin, command.Stdout, command.Stderr = theirIn, theirOut, os.Stderr
	started, err := process.Start(command, processors, syscall.SIGKILL)
	if err != nil {
		in.Close()
		out.Close()
		return nil, err
	}
	return &child{
		process: started, unwatch: context.AfterFunc(ctx, started.Kill),
		in: in, out: out, encoder: json.NewEncoder(in), decoder: json.NewDecoder(out),
	}, nil
}

// ask sends a question, unless it is nil, and waits for the answer.
func (c *child) ask(question, answer any) error {
	if question != nil {
		if err := c.encoder.Encode(question); err != nil {
			return err
		}
	}
	err := c.decoder.Decode(answer)
	if errors.Is(err, io.EOF) {
		err = errors.New("it ended")
	}
	return err
}

// close ends the child and returns when it is gone.
func (c *child) close() {
	c.unwatch()
	c.in.Close()
	select {
	case <-c.process.Ended():
	case <-time.After(time.Second):
	}
	c.process.Stop()
	c.out.Close()
}
