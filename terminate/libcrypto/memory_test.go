//go:build linux && cgo && !s390x && !race

package libcrypto

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"os"
	"runtime"
	"strconv"
	"testing"
)

// What Bytes says of a key is what libcrypto takes for it, give or take a quarter. Each size is measured in a process of
// its own: what an earlier test freed would be used first.
func TestBytesAreReal(t *testing.T) {
	wrapped(t, rsaKey())
	if size := os.Getenv(inChild); size != "" {
		measureBytes(t, must(strconv.Atoi(size)))
		return
	}
	for _, bits := range []string{"2048", "4096"} {
		if output, err := child(t, bits).CombinedOutput(); err != nil {
			t.Errorf("%s bits: %v\n%s", bits, err, output)
		}
	}
}

func measureBytes(t *testing.T, bits int) {
	key, digest := must(rsa.GenerateKey(rand.Reader, bits)), digestOf(crypto.SHA256)
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	second := newThread(t)
	use := func() *signer {
		used := &signer{key: key}
		must(used.Sign(rand.Reader, digest, crypto.SHA256))
		second(func() { must(used.Sign(rand.Reader, digest, crypto.SHA256)) })
		return used
	}
	use()
	collect(t)
	signers, before := make([]*signer, 1600*1024/bits), residentBytes(t)
	for i := range signers {
		signers[i] = use()
	}
	collect(t)
	took, counted := (residentBytes(t)-before)/int64(len(signers)), Bytes(key.Public())
	if off := float64(counted)/float64(took) - 1; off < -0.25 || off > 0.25 {
		t.Errorf("%d bytes a key, %d are counted", took, counted)
	}
	t.Logf("%d bytes a key, %d are counted", took, counted)
	runtime.KeepAlive(signers)
}

// newThread returns what runs functions on a thread of their own, which ends with the test.
func newThread(t *testing.T) func(do func()) {
	work, done := make(chan func()), make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread() // without an end: the thread ends with the goroutine
		for do := range work {
			do()
			done <- struct{}{}
		}
	}()
	t.Cleanup(func() {
		close(work)
		<-done
	})
	return func(do func()) {
		work <- do
		<-done
	}
}
