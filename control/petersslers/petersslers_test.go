package petersslers

import (
	"bufio"
	"bytes"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

func TestListenRefuses(t *testing.T) {
	for _, test := range []struct {
		name    string
		options Options
		want    string
	}{
		{"no address", Options{}, "no address"},
		{"no address, with a login", Options{Username: "a", Password: says("b")}, "no address"},
		{"every address", Options{Address: ":0"}, "anything but loopback needs a user name and a password"},
		{"every IPv4 address", Options{Address: "0.0.0.0:0"}, "anything but loopback"},
		{"every IPv6 address", Options{Address: "[::]:0"}, "anything but loopback"},
		{"another address", Options{Address: "192.0.2.1:0"}, "anything but loopback"},
		{"user alone", Options{Address: "127.0.0.1:0", Username: "a"}, "a user name needs a password"},
		{"password alone", Options{Address: "127.0.0.1:0", Password: says("secret")}, "a password a user name"},
		{"user with a colon", Options{Address: "127.0.0.1:0", Username: "a:b", Password: says("secret")}, "has a colon"},
		{"no port", Options{Address: "127.0.0.1"}, "missing port"},
		{"no address of this machine", Options{Address: "192.0.2.1:0", Username: "a", Password: says("secret")}, "peter_sslers listener 192.0.2.1:0: listen tcp"},
	} {
		t.Run(test.name, func(t *testing.T) {
			server, err := Listen(test.options)
			if err == nil {
				server.Close()
				t.Fatal("it listens")
			}
			if !strings.Contains(err.Error(), test.want) || strings.Contains(err.Error(), "secret") {
				t.Errorf("error %v, want it to say %q", err, test.want)
			}
		})
	}
}

func TestListenElsewhereWithALogin(t *testing.T) {
	r := serve(t, func(o *Options) { o.Address, o.Username, o.Password = "0.0.0.0:0", "ops", says("marker") })
	_, port, err := net.SplitHostPort(strings.TrimPrefix(r.url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	r.url = "http://127.0.0.1:" + port
	if status, _, _ := r.ask(t, "GET", prefix+"/status", ""); status != 401 {
		t.Errorf("status %d", status)
	}
	if !strings.Contains(r.log.String(), "passwords cross the network unencrypted") {
		t.Errorf("no warning: %s", r.log)
	}
}

// TestConnectionsAreBounded: one more than there may be waits until another has gone.
func TestConnectionsAreBounded(t *testing.T) {
	r := serve(t, nil)
	address := strings.TrimPrefix(r.url, "http://")
	var held []net.Conn
	for range connectionLimit {
		conn := dial(t, address)
		get(t, conn, prefix+"/status")
		held = append(held, conn)
	}
	waiting := dial(t, address)
	if _, err := io.WriteString(waiting, "GET /none HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	_ = waiting.SetReadDeadline(time.Now().Add(200 * time.Millisecond))
	if n, err := waiting.Read(make([]byte, 1)); n != 0 || err == nil {
		t.Error("answered beyond the bound")
	}
	held[0].Close()
	_ = waiting.SetReadDeadline(time.Now().Add(5 * time.Second))
	if response, err := http.ReadResponse(bufio.NewReader(waiting), nil); err != nil || response.StatusCode != 404 {
		t.Errorf("%+v, %v", response, err)
	}
}

// TestSlowPeerIsCut: a peer that says nothing, or never ends its request, has its connection closed.
func TestSlowPeerIsCut(t *testing.T) {
	r := serve(t, nil)
	started := map[string]net.Conn{}
	for _, begun := range []string{"", "GET " + prefix + "/status HTTP/1.1\r\nHost: x\r\n"} {
		started[begun] = dial(t, strings.TrimPrefix(r.url, "http://"))
		if _, err := io.WriteString(started[begun], begun); err != nil {
			t.Fatal(err)
		}
	}
	for begun, conn := range started {
		_ = conn.SetReadDeadline(time.Now().Add(5 * headerTimeout))
		if text, err := io.ReadAll(conn); err != nil || bytes.Contains(text, []byte("success")) {
			t.Errorf("after %q: %q, %v: want it to be closed", begun, text, err)
		}
	}
}

func TestServeEnds(t *testing.T) {
	t.Run("Close before Serve", func(t *testing.T) {
		server, err := Listen(Options{Address: "127.0.0.1:0", Certificates: new(fakeCache)})
		if err != nil {
			t.Fatal(err)
		}
		for range 2 {
			if err := server.Close(); err != nil {
				t.Error(err)
			}
		}
		if err := server.Serve(t.Context()); err != nil {
			t.Error(err)
		}
	})
	t.Run("context", func(t *testing.T) {
		r := serve(t, nil)
		r.ask(t, "GET", prefix+"/status", "")
		r.end()
		r.ended <- <-r.ended
		if conn, err := net.Dial("tcp", strings.TrimPrefix(r.url, "http://")); err == nil {
			conn.Close()
			t.Error("it still listens")
		}
	})
	t.Run("a request is under way", func(t *testing.T) {
		r := serve(t, nil)
		r.cache.began, r.cache.wait = make(chan struct{}), make(chan struct{})
		answered := make(chan string, 1)
		go func() {
			response, err := r.client.Get(r.url + prefix + "/expire/all")
			if err != nil {
				answered <- err.Error()
				return
			}
			defer response.Body.Close()
			answered <- response.Status
		}()
		<-r.cache.began
		time.AfterFunc(100*time.Millisecond, func() { close(r.cache.wait) })
		r.end()
		r.ended <- <-r.ended
		if got := <-answered; got != "200 OK" {
			t.Errorf("got %s", got)
		}
	})
}

// What is open already is listened on, and closed where it may not be.
func TestListenOnWhatIsOpen(t *testing.T) {
	open := func() *net.TCPListener {
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		return listener.(*net.TCPListener)
	}
	given := open()
	r := serve(t, func(o *Options) { o.Address, o.Listener = given.Addr().String(), given })
	if r.url != "http://"+given.Addr().String() {
		t.Errorf("it listens at %s", r.url)
	}
	if status, _, _ := r.ask(t, "GET", prefix+"/status", ""); status != 200 {
		t.Errorf("status %d", status)
	}
	refused := open()
	if _, err := Listen(Options{Address: "0.0.0.0:0", Listener: refused}); err == nil {
		t.Error("whoever reaches it may ask")
	}
	if _, err := refused.Accept(); err == nil {
		t.Error("it is open still")
	}
}
