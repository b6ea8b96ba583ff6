package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	"hellogate/control"
)

const (
	name     = "profile.test"
	patience = 15 * time.Second
)

const configuration = `
listeners: [{address: %q}]
stores: [{dir: {path: %q}}]
backends: {main: {servers: [{address: %q}]}}
routes: [{backend: main}]
control: {socket: %q}
log: {level: error, access: false}
`

// gate is a hellogate that runs.
type gate struct {
	address, socket string
	command         *exec.Cmd
	ended           chan error
}

// startGate runs hellogate with its files in folder, and waits until it serves. Close it.
func startGate(ctx context.Context, binary, folder, backend string) (*gate, error) {
	g := &gate{socket: filepath.Join(folder, "control.sock"), ended: make(chan error, 1)}
	if err := writeCertificate(folder); err != nil {
		return nil, err
	}
	var err error
	if g.address, err = freeAddress(); err != nil {
		return nil, err
	}
	config := filepath.Join(folder, "hellogate.yaml")
	text := fmt.Sprintf(configuration, g.address, folder, backend, g.socket)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		return nil, err
	}
	g.command = exec.Command(binary, "run", "--config", config, "--pprof")
	g.command.Stderr = os.Stderr
	if err := g.command.Start(); err != nil {
		return nil, err
	}
	go func() { g.ended <- g.command.Wait() }()
	if err := g.awaitReady(ctx); err != nil {
		return nil, errors.Join(err, g.close())
	}
	return g, nil
}

// freeAddress is one that nobody listens on at the moment.
func freeAddress() (string, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer listener.Close()
	return listener.Addr().String(), nil
}

func (g *gate) awaitReady(ctx context.Context) error {
	client := control.NewClient(g.socket)
	defer client.Close()
	for began := time.Now(); ; time.Sleep(10 * time.Millisecond) {
		_, err := client.Version(ctx)
		if err == nil {
			return nil
		}
		if len(g.ended) > 0 || time.Since(began) > patience {
			return fmt.Errorf("%s does not start: %w", g.command, err)
		}
	}
}

// close ends hellogate.
func (g *gate) close() error {
	g.command.Process.Signal(syscall.SIGTERM)
	select {
	case err := <-g.ended:
		return err
	case <-time.After(patience):
		g.command.Process.Kill()
		<-g.ended
		return errors.New("hellogate did not end on SIGTERM")
	}
}

// dial makes a connection with a full handshake, key exchange X25519.
func (g *gate) dial(ctx context.Context) (*tls.Conn, error) {
	dialer := tls.Dialer{Config: &tls.Config{
		ServerName: name, InsecureSkipVerify: true, CurvePreferences: []tls.CurveID{tls.X25519},
	}}
	conn, err := dialer.DialContext(ctx, "tcp", g.address)
	if err != nil {
		return nil, err
	}
	return conn.(*tls.Conn), nil
}

// profile records a CPU profile.
func (g *gate) profile(ctx context.Context, seconds int) ([]byte, error) {
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", g.socket)
	}
	client := http.Client{Transport: &http.Transport{DialContext: dial, DisableKeepAlives: true}}
	url := fmt.Sprintf("http://hellogate/debug/pprof/profile?seconds=%d", seconds)
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	response, err := client.Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		return nil, err
	}
	if response.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s: %s", response.Status, body)
	}
	return body, nil
}

// writeCertificate makes a self-signed one.
func writeCertificate(folder string) error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), DNSNames: []string{name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
	}
	certificate, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return err
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	return errors.Join(writePEM(filepath.Join(folder, name+".crt"), "CERTIFICATE", certificate),
		writePEM(filepath.Join(folder, name+".key"), "PRIVATE KEY", private))
}

func writePEM(path, kind string, der []byte) error {
	return os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600)
}
