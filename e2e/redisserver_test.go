package e2e

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/redis/rueidis"
)

// redisServer is a redis-server of the test's own. It keeps nothing on disk.
type redisServer struct {
	t        testing.TB
	address  string
	password string
	secure   bool // it speaks TLS, with a certificate of ca
	words    []string
	command  *exec.Cmd
}

func newRedis(t testing.TB, options ...func(*redisServer)) *redisServer {
	t.Helper()
	r := &redisServer{t: t, address: freeAddress(t)}
	r.words = []string{
		program(t, "redis-server"), "--bind", "127.0.0.1", "--dir", t.TempDir(), "--save", "", "--appendonly", "no",
		"--port", r.port(),
	}
	for _, set := range options {
		set(r)
	}
	r.start()
	t.Cleanup(r.kill)
	return r
}

// locked has it ask for a password.
func locked(password string) func(*redisServer) {
	return func(r *redisServer) {
		r.password = password
		r.words = append(r.words, "--requirepass", password)
	}
}

// overTLS has it speak nothing but TLS.
func overTLS(r *redisServer) {
	own := ca().issue([]string{"redis.example"}, func(c *x509.Certificate) { c.IPAddresses = []net.IP{net.IPv4(127, 0, 0, 1)} })
	certFile, keyFile := own.write(r.t, r.t.TempDir(), "redis")
	r.secure = true
	r.words = append(r.words, "--port", "0", "--tls-port", r.port(), "--tls-cert-file", certFile, "--tls-key-file", keyFile,
		"--tls-ca-cert-file", ca().rootFile(r.t), "--tls-auth-clients", "no")
}

func (r *redisServer) port() string {
	_, port, _ := net.SplitHostPort(r.address)
	return port
}

// start runs it, again after a kill, empty and at the same address.
func (r *redisServer) start() {
	r.t.Helper()
	r.command = exec.Command(r.words[0], r.words[1:]...)
	if err := r.command.Start(); err != nil {
		r.t.Fatal(err)
	}
	for deadline := time.Now().Add(patience); r.try("PING") != nil; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			r.t.Fatalf("redis-server: %v", r.try("PING"))
		}
	}
}

// kill is kill -9.
func (r *redisServer) kill() {
	r.command.Process.Kill()
	r.command.Wait()
}

func (r *redisServer) do(words ...string) {
	r.t.Helper()
	if err := r.try(words...); err != nil {
		r.t.Fatalf("redis: %s: %v", words[0], err)
	}
}

// try sends a command over a connection of its own. An answer that is nil is an error.
func (r *redisServer) try(words ...string) error {
	options := rueidis.ClientOption{
		InitAddress: []string{r.address}, Password: r.password, DisableCache: true, ForceSingleClient: true, DisableRetry: true,
	}
	if r.secure {
		options.TLSConfig = &tls.Config{RootCAs: ca().pool}
	}
	client, err := rueidis.NewClient(options)
	if err != nil {
		return err
	}
	defer client.Close()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	return client.Do(ctx, client.B().Arbitrary(words...).Build()).Error()
}

// put writes a pair as the tools that fill Redis do. Of prime1, what an id stands for does not change.
func (r *redisServer) put(layout, name string, p pair) {
	r.t.Helper()
	switch layout {
	case "prime1":
		id := p.fingerprint()[:8]
		r.putParts(id, p)
		r.do("HSET", "d1:"+name, "c", id, "p", id, "i", id)
	case "prime2":
		r.do("HSET", "d2:"+name, "f", p.certPEM(), "p", p.keyPEM())
	case "json":
		r.do("SET", "hellogate:"+name, string(bundleJSON(p)))
	default:
		r.t.Fatalf("layout %q", layout)
	}
}

// putParts writes what the ids of prime1 stand for.
func (r *redisServer) putParts(id string, p pair) {
	r.t.Helper()
	leaf := string(certificatePEM(p.leaf()))
	for key, value := range map[string]string{"c:": leaf, "p:": p.keyPEM(), "i:": strings.TrimPrefix(p.certPEM(), leaf)} {
		r.do("SET", key+id, value)
	}
}

// remove takes a name out.
func (r *redisServer) remove(layout, name string) {
	r.t.Helper()
	r.do("DEL", map[string]string{"prime1": "d1:", "prime2": "d2:", "json": "hellogate:"}[layout]+name)
}

// entry is a store of hellogate's configuration; more is what it says besides.
func (r *redisServer) entry(layout, more string) string {
	scheme := "redis"
	if r.secure {
		scheme = "rediss"
	}
	return fmt.Sprintf("{redis: {url: '%s://%s/0', layout: %s%s}}", scheme, r.address, layout, more)
}

// usesRedis has hellogate ask nothing but r.
func usesRedis(r *redisServer, layout string) string { return "stores: [" + r.entry(layout, "") + "]" }
