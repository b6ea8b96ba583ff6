package redis

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"hellogate/store"
)

// fake is a server that logs clients in as Redis does, and answers what the test says to everything else.
type fake struct {
	address string
	hello   string // what it answers to HELLO
	asked   atomic.Int64
}

const helloAnswer = "%2\r\n$5\r\nproto\r\n:3\r\n$7\r\nversion\r\n$5\r\n7.0.0\r\n"

// pretend starts one. answer is called with the words of each command but HELLO, and returns false to hang up.
func pretend(t testing.TB, answer func(conn net.Conn, words []string) bool) *fake {
	t.Helper()
	return pretendWith(t, helloAnswer, answer)
}

func pretendWith(t testing.TB, hello string, answer func(conn net.Conn, words []string) bool) *fake {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	f := &fake{address: listener.Addr().String(), hello: hello}
	var work sync.WaitGroup
	var open sync.Map
	work.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			open.Store(conn, nil)
			work.Go(func() {
				defer conn.Close()
				f.serve(conn, answer)
			})
		}
	})
	t.Cleanup(func() {
		listener.Close()
		open.Range(func(conn, _ any) bool { return conn.(net.Conn).Close() == nil || true })
		work.Wait()
	})
	return f
}

func (f *fake) serve(conn net.Conn, answer func(net.Conn, []string) bool) {
	reader := bufio.NewReader(conn)
	for {
		text, err := receive(reader)
		if err != nil {
			return
		}
		words := strings.Split(text, ",")
		if words[0] == "HELLO" {
			if _, err := conn.Write([]byte(f.hello)); err != nil {
				return
			}
			continue
		}
		f.asked.Add(1)
		if !answer(conn, words) {
			return
		}
	}
}

func says(text string) func(net.Conn, []string) bool {
	return func(conn net.Conn, _ []string) bool {
		_, err := conn.Write([]byte(text))
		return err == nil
	}
}

func TestMisbehaviour(t *testing.T) {
	t.Parallel()
	hangUp := func(text string) func(net.Conn, []string) bool {
		return func(conn net.Conn, _ []string) bool {
			_, _ = conn.Write([]byte(text))
			return false
		}
	}
	drip := func(conn net.Conn, _ []string) bool {
		for range 100 {
			if _, err := conn.Write([]byte("x")); err != nil {
				return false
			}
			time.Sleep(50 * time.Millisecond)
		}
		return false
	}
	tests := []struct {
		name   string
		answer func(net.Conn, []string) bool
		want   string
	}{
		{"silent", func(net.Conn, []string) bool { return true }, "no answer within 300ms"},
		{"drips", func(conn net.Conn, words []string) bool {
			_, _ = conn.Write([]byte("*2\r\n$100\r\n"))
			return drip(conn, words)
		}, "no answer within 300ms"},
		{"drips a line", func(conn net.Conn, words []string) bool {
			_, _ = conn.Write([]byte("+"))
			return drip(conn, words)
		}, "no answer within 300ms"},
		{"hangs up", hangUp(""), "the connection broke"},
		{"hangs up in the middle", hangUp("*2\r\n$100\r\nsecret"), "the connection broke"},
		{"another protocol", hangUp("HTTP/1.1 400 Bad Request\r\n\r\n"), "not an answer of redis"},
		{"huge string", says("$9999999999\r\n"), "no answer within 300ms"},
		{"negative string", says("$-7\r\n"), "not an answer of redis"},
		{"huge array", says("*999999999\r\n"), "not an answer of redis"},
		{"deep array", says(strings.Repeat("*1\r\n", 1000)), "not an answer of redis"},
		{"endless array", says("*?\r\n"), "not an answer of redis"},
		{"endless string", says("$?\r\n"), "not an answer of redis"},
		{"long line", says("+" + strings.Repeat("secret", maxLine)), "not an answer of redis"},
		{"attributes", says("|1\r\n+a\r\n+b\r\n*0\r\n"), "not an answer of redis"},
		{"push", says(">3\r\n$9\r\nsubscribe\r\n$1\r\na\r\n:1\r\n"), "not an answer of redis"},
		{"two answers", says("*2\r\n$-1\r\n$-1\r\n*2\r\n$-1\r\n$-1\r\n"), "not an answer of redis"},
		{"a number", says(":1\r\n"), "not an answer of redis"},
		{"null", says("_\r\n"), "not an answer of redis"},
		{"too few", says("*1\r\n$1\r\na\r\n"), "not an answer of redis"},
		{"numbers", says("*2\r\n:1\r\n:2\r\n"), "not an answer of redis"},
		{"error", says("-ERR secret\r\n"), "redis error ERR"},
		{"error without a code", says("-secret\r\n"), "redis error ERR"},
		{"loading", says("-LOADING secret\r\n"), "redis error LOADING"},
		{"master down", says("-MASTERDOWN secret\r\n"), "redis error MASTERDOWN"},
		{"moved", says("-MOVED 1 secret:1\r\n"), "redis error MOVED"},
		{"moved nowhere", says("-MOVED\r\n"), "redis error MOVED"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			f := pretend(t, test.answer)
			r := newStore(t, Options{URL: "redis://" + f.address, Layout: Prime2, Timeout: 300 * time.Millisecond})
			begun := time.Now()
			_, err := fetch(t, r, "a.example")
			var failure *store.Failure
			if !errors.As(err, &failure) || errors.Is(err, store.ErrUnknown) || failure.Exempt || failure.Unreachable {
				t.Fatalf("error %v, want a failure", err)
			}
			if !strings.Contains(err.Error(), test.want) || strings.Contains(err.Error(), "secret") {
				t.Errorf("error %q, want one with %q", err, test.want)
			}
			if took := time.Since(begun); took > 3*time.Second {
				t.Errorf("took %s", took)
			}
		})
	}
}

// TestOldServer has one from before Redis 6, which knows no HELLO and repeats in its error what it was sent.
func TestOldServer(t *testing.T) {
	t.Parallel()
	f := pretendWith(t, "-ERR unknown command `HELLO`, with args beginning with: `3`, `AUTH`, `default`, `right`, \r\n",
		func(conn net.Conn, words []string) bool {
			switch {
			case words[0] == "AUTH" && words[len(words)-1] != "right":
				return says("-ERR invalid password\r\n")(conn, words)
			case words[0] == "AUTH":
				return says("+OK\r\n")(conn, words)
			case words[0] == "HMGET":
				return says("*2\r\n$-1\r\n$-1\r\n")(conn, words)
			}
			return says("-ERR Client tracking can be enabled only in RESP3 or with REDIRECT\r\n")(conn, words)
		})
	for password, want := range map[string]error{"right": store.ErrUnknown, "wrong": store.ErrToken} {
		_, err := fetch(t, newStore(t, Options{URL: "redis://" + f.address, Layout: Prime2, Password: password}), "a.example")
		if !errors.Is(err, want) || strings.Contains(err.Error(), "right") {
			t.Errorf("%s: error %v, want %v", password, err, want)
		}
	}
	var log syncBuffer
	r := newStore(t, Options{URL: "redis://" + f.address, Layout: Prime2, Password: "right", Log: zerolog.New(&log)})
	w, _ := watch(t, r)
	until(t, "a warning", func() bool { return strings.Contains(log.String(), "can't be seen") })
	if rest := w.rest(); len(rest) > 0 || strings.Contains(log.String(), "right") {
		t.Errorf("told %v, logged %s", rest, log.String())
	}
}

func TestWatchMisbehaviour(t *testing.T) {
	t.Parallel()
	tests := []struct{ name, text string }{
		{"unasked answer", "+OK\r\n+secret\r\n"},
		{"subscription", "+OK\r\n>3\r\n$9\r\nsubscribe\r\n$1\r\na\r\n:1\r\n"},
		{"garbage", "+OK\r\nsecret\r\n"},
		{"not possible", "-ERR secret\r\n"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			f := pretend(t, func(conn net.Conn, words []string) bool {
				if words[0] == "PING" {
					return says("+PONG\r\n")(conn, words)
				}
				return says(test.text)(conn, words)
			})
			r := newStore(t, Options{URL: "redis://" + f.address, Layout: Prime2})
			w, _ := watch(t, r)
			until(t, "it is connected to again", func() bool { return f.asked.Load() >= 2 })
			if test.name == "not possible" {
				if rest := w.rest(); len(rest) > 0 {
					t.Errorf("told %v", rest)
				}
			}
		})
	}
	t.Run("names and no names", func(t *testing.T) {
		t.Parallel()
		keys := []string{"d2:a.example", strings.Repeat("x", 2*maxKey), "\xff\xfe", "", "d2:b.example"}
		push := fmt.Sprintf("+OK\r\n>2\r\n$10\r\ninvalidate\r\n*%d\r\n:7\r\n", len(keys)+1)
		for _, key := range keys {
			push += fmt.Sprintf("$%d\r\n%s\r\n", len(key), key)
		}
		f := pretend(t, func(conn net.Conn, words []string) bool {
			if words[0] == "PING" {
				return says("+PONG\r\n")(conn, words)
			}
			return says(push)(conn, words)
		})
		w, _ := watch(t, newStore(t, Options{URL: "redis://" + f.address, Layout: Prime2}))
		w.next(t, "all", isAll)
		w.next(t, "names", func(c store.Change) bool { return covers("a.example")(c) && covers("b.example")(c) })
	})
}

func TestFetches(t *testing.T) {
	t.Parallel()
	release := make(chan struct{})
	var most, now atomic.Int64
	f := pretend(t, func(conn net.Conn, words []string) bool {
		if n := now.Add(1); n > most.Load() {
			most.Store(n)
		}
		<-release
		now.Add(-1)
		return says("*2\r\n$-1\r\n$-1\r\n")(conn, words)
	})
	r := newStore(t, Options{URL: "redis://" + f.address, Layout: Prime2, Fetches: 2, Timeout: 10 * time.Second})
	var work sync.WaitGroup
	for range 2 {
		work.Go(func() {
			if _, err := fetch(t, r, "a.example"); !errors.Is(err, store.ErrUnknown) {
				t.Error(err)
			}
		})
	}
	until(t, "two are asking", func() bool { return now.Load() == 2 })
	for range 3 {
		work.Go(func() {
			ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
			defer cancel()
			_, err := r.Fetch(ctx, store.Request{Name: "a.example"})
			var failure *store.Failure
			if !strings.Contains(fmt.Sprint(err), "no connection was free") || !errors.As(err, &failure) || failure.Unreachable {
				t.Error(err)
			}
		})
	}
	time.Sleep(200 * time.Millisecond)
	close(release)
	work.Wait()
	if most.Load() > 2 {
		t.Errorf("%d at once, want 2", most.Load())
	}
}

func TestFetchEnds(t *testing.T) {
	t.Parallel()
	f := pretend(t, func(net.Conn, []string) bool { return true })
	r := newStore(t, Options{URL: "redis://" + f.address, Layout: Prime2, Timeout: 2 * time.Second})
	ctx, cancel := context.WithCancel(context.Background())
	time.AfterFunc(50*time.Millisecond, cancel)
	begun := time.Now()
	_, err := r.Fetch(ctx, store.Request{Name: "a.example"})
	var failure *store.Failure
	if !errors.Is(err, context.Canceled) || !errors.As(err, &failure) || failure.Unreachable {
		t.Errorf("error %v, want one of the caller's end", err)
	}
	if took := time.Since(begun); took > 1800*time.Millisecond {
		t.Errorf("ended after %s", took)
	}
	r.Close()
	if _, err := fetch(t, r, "a.example"); err == nil || !strings.Contains(err.Error(), "closed") {
		t.Errorf("error %v of a store that is closed", err)
	}
}

func TestNoServer(t *testing.T) {
	t.Parallel()
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	sentinel := pretend(t, says("*2\r\n$8\r\n10.0.0.1\r\n$4\r\n6379\r\n"))
	tests := []struct {
		name    string
		options Options
	}{
		{"nobody listens", Options{URL: "redis://" + freeAddress(t)}},
		{"no socket", Options{URL: "unix://" + t.TempDir() + "/none"}},
		{"no login", Options{URL: "redis://" + silent.Addr().String()}},
		{"a master out of reach of plain text", Options{URL: "redis://" + sentinel.address, SentinelMaster: "m"}},
		{"no sentinel", Options{Addresses: []string{freeAddress(t), freeAddress(t)}, SentinelMaster: "m"}},
		{"no cluster", Options{Addresses: []string{freeAddress(t), freeAddress(t)}, Cluster: true}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			test.options.Layout, test.options.Timeout = Prime1, 300*time.Millisecond
			r := newStore(t, test.options)
			_, err := fetch(t, r, "a.example")
			var failure *store.Failure
			if !errors.As(err, &failure) || !failure.Unreachable || failure.Exempt {
				t.Errorf("error %v, want one of connecting", err)
			}
			if plain := strings.Contains(fmt.Sprint(err), "plain text"); plain != strings.Contains(test.name, "plain text") {
				t.Errorf("error %v", err)
			}
			if strings.Contains(fmt.Sprint(err), "\n") {
				t.Errorf("error %q has more than a line", err)
			}
		})
	}
}
