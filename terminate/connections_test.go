package terminate

import (
	"io"
	"net"
	"slices"
	"syscall"
	"testing"
	"time"
)

// anyConnection wants all.
func anyConnection(ConnectionInfo) bool { return true }

// named wants those that asked for a name.
func named(name string) func(ConnectionInfo) bool {
	return func(info ConnectionInfo) bool { return info.Name == name }
}

// listed waits until so many connections are listed, the last of them in a stage.
func (b *bench) listed(count int, last string) []ConnectionInfo {
	b.t.Helper()
	for end := time.Now().Add(5 * time.Second); ; time.Sleep(time.Millisecond) {
		found := slices.Collect(b.server.Walk(anyConnection))
		if len(found) == count && found[count-1].Stage == last {
			return found
		}
		if time.Now().After(end) {
			b.t.Fatalf("listed are %+v", found)
		}
	}
}

// What is listed says of each connection what was found out up to its stage, the oldest connection first.
func TestConnectionsAreListed(t *testing.T) {
	b := startServer(t, nil)
	first, _ := b.pair()
	if _, err := b.dial("b.test", nil); err != nil {
		t.Fatal(err)
	}
	b.listed(2, "splice")
	silent, err := net.Dial("tcp", b.address)
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	found := b.listed(3, "hello")
	for i, name := range []string{"a.test", "b.test"} {
		info := found[i]
		if info.Name != name || info.Route != "*" || info.Backend != "main" || info.Server != b.backend.Addr().String() || info.Stage != "splice" {
			t.Errorf("%+v", info)
		}
	}
	if info := found[0]; info.Client.String() != first.LocalAddr().String() || info.Listener != "front" || len(info.ID) != 24 {
		t.Errorf("%+v", info)
	}
	if info := found[2]; info.Client.String() != silent.LocalAddr().String() || info.Name+info.Route+info.Backend+info.Server != "" {
		t.Errorf("%+v", info)
	}
	if found[0].Age < found[1].Age || found[1].Age < found[2].Age {
		t.Errorf("not the oldest first: %v %v %v", found[0].Age, found[1].Age, found[2].Age)
	}
	for range b.server.Walk(anyConnection) {
		break // and whoever stops early has seen the oldest
	}
}

// A list says of each connection what holds when its turn comes, however long the reader took for those before.
func TestAListIsAsNewAsItsReader(t *testing.T) {
	b := startServer(t, nil)
	b.pair()
	second, server := b.pair()
	b.listed(2, "splice")
	for info := range b.server.Walk(anyConnection) {
		if info.Client.String() == second.LocalAddr().String() {
			if info.BytesIn != 5 {
				t.Errorf("%+v", info)
			}
			continue
		}
		mustWrite(t, second, []byte("hello"))
		if _, err := io.ReadFull(server, make([]byte, 5)); err != nil {
			t.Fatal(err)
		}
		for end := time.Now().Add(5 * time.Second); b.server.Connections(anyConnection)[1].BytesIn == 0 && time.Now().Before(end); {
			time.Sleep(time.Millisecond)
		}
	}
}

// Who is killed is reset, at both ends and with that reason; the others go on.
func TestKill(t *testing.T) {
	b := startServer(t, nil)
	killed, itsServer := b.pair()
	spared, err := b.dial("b.test", nil)
	if err != nil {
		t.Fatal(err)
	}
	other := b.accept()
	b.listed(2, "splice")
	if got := b.server.Kill(named("a.test")); len(got) != 1 || got[0].Name != "a.test" {
		t.Errorf("killed %+v", got)
	}
	b.wantReason(ReasonKilled)
	wantRead(t, killed, nil, syscall.ECONNRESET)
	wantRead(t, itsServer, nil, syscall.ECONNRESET)
	mustWrite(t, spared, []byte("x"))
	if _, err := io.ReadFull(other, make([]byte, 1)); err != nil {
		t.Error(err)
	}
	if got := b.server.Kill(named("a.test")); len(got) != 0 {
		t.Errorf("killed %+v twice", got)
	}
}
