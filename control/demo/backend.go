package demo

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"regexp"
	"sync"
	"time"

	upstream "github.com/pires/go-proxyproto"
)

const (
	// quiet is how long a client may wait before it is taken for one that wants to be spoken to first.
	quiet       = 500 * time.Millisecond
	backendIdle = 5 * time.Minute
	maxLine     = 64 << 10
)

// backend shows each connection the PROXY header that came with it, and then echoes its lines. A client that
// speaks HTTP gets an HTTP response that shows the same.
type backend struct {
	listener    net.Listener
	connections sync.WaitGroup
}

// serve ends when ctx does, and returns when the last connection has.
func (b *backend) serve(ctx context.Context) {
	defer b.connections.Wait()
	defer context.AfterFunc(ctx, func() { b.listener.Close() })()
	for {
		conn, err := b.listener.Accept()
		switch {
		case err == nil:
			b.connections.Go(func() { b.talk(ctx, conn) })
		case errors.Is(err, net.ErrClosed):
			return
		default:
			time.Sleep(10 * time.Millisecond) // out of descriptors, as a rule
		}
	}
}

func (b *backend) talk(ctx context.Context, conn net.Conn) {
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	conn.SetDeadline(time.Now().Add(backendIdle))
	reader := bufio.NewReaderSize(conn, maxLine)
	header, err := upstream.Read(reader)
	if err != nil {
		fmt.Fprintf(conn, "no PROXY header: %v\n", err)
		return
	}
	shown := describe(header)
	if speaksHTTP(conn, reader) {
		answerHTTP(conn, reader, shown)
		return
	}
	echo(conn, reader, shown)
}

var requestLine = regexp.MustCompile(`^[A-Z]+ [^ ]+ HTTP/1\.[01]\r?\n`)

// speaksHTTP looks at the first line, without taking it. The client has a moment to send it.
func speaksHTTP(conn net.Conn, reader *bufio.Reader) bool {
	conn.SetReadDeadline(time.Now().Add(quiet))
	defer conn.SetReadDeadline(time.Now().Add(backendIdle))
	for size := 1; size <= reader.Size(); size = reader.Buffered() + 1 {
		_, err := reader.Peek(size)
		start, _ := reader.Peek(reader.Buffered())
		if bytes.IndexByte(start, '\n') >= 0 || err != nil {
			return requestLine.Match(start)
		}
	}
	return false
}

func answerHTTP(conn net.Conn, reader *bufio.Reader, shown string) {
	request, err := http.ReadRequest(reader)
	if err != nil {
		return
	}
	io.CopyN(io.Discard, request.Body, maxLine)
	body := fmt.Sprintf("%s\n%s %s\nHost: %s\n", shown, request.Method, request.URL, request.Host)
	response := http.Response{
		StatusCode:    http.StatusOK,
		ProtoMajor:    1,
		ProtoMinor:    1,
		Request:       request,
		Header:        http.Header{"Content-Type": {"text/plain; charset=utf-8"}},
		Body:          io.NopCloser(bytes.NewBufferString(body)),
		ContentLength: int64(len(body)),
		Close:         true,
	}
	response.Write(conn)
}

func echo(conn net.Conn, reader *bufio.Reader, shown string) {
	io.WriteString(conn, shown)
	for {
		conn.SetDeadline(time.Now().Add(backendIdle))
		text, err := reader.ReadSlice('\n')
		if errors.Is(err, bufio.ErrBufferFull) {
			err = nil
		}
		if _, failed := conn.Write(text); failed != nil || err != nil {
			return
		}
	}
}
