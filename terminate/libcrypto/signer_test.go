//go:build linux && cgo && !s390x

package libcrypto

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/rsa"
	"errors"
	"math/big"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/golang-fips/openssl/v2"
	"github.com/golang-fips/openssl/v2/bbig"

	"hellogate/terminate"
)

// wrapped is the signer of a key, where the machine has a libcrypto.
func wrapped(t testing.TB, key *rsa.PrivateKey) *signer {
	t.Helper()
	signer, ok := Wrap(key).(*signer)
	if !ok {
		t.Skip("no libcrypto here: ", Describe())
	}
	return signer
}

func (s *signer) signs(t *testing.T) {
	t.Helper()
	digest := digestOf(crypto.SHA256)
	for _, options := range []crypto.SignerOpts{pss(crypto.SHA256), crypto.SHA256} {
		signature, err := s.Sign(rand.Reader, digest, options)
		if err == nil {
			err = check(s.key, digest, signature, options)
		}
		if err != nil {
			t.Error(err)
		}
	}
}

func TestSaysWhichLibcrypto(t *testing.T) {
	wrapped(t, rsaKey())
	if got := Describe(); !strings.HasPrefix(got, "libcrypto OpenSSL 3.") {
		t.Error(got)
	}
}

// What libcrypto gets wrong is noticed at the first signature, and Go signs from then on.
func TestWrongSignatureDoesNotLeave(t *testing.T) {
	other := wrapped(t, must(rsa.GenerateKey(rand.Reader, 2048)))
	other.handOver()
	key := wrapped(t, rsaKey())
	key.once.Do(func() { key.given.Store(other.given.Load()) })
	failed := Failures()
	key.signs(t)
	if got := Failures() - failed; got != 2 || key.given.Load() != nil {
		t.Errorf("%d failures, want 2", got)
	}
}

// A fault in what is computed from the primes gives the key away in one signature: OpenSSL notices by itself.
func TestFaultInThePrimesDoesNotLeave(t *testing.T) {
	faulty := *rsaKey()
	faulty.Precomputed.Dp = new(big.Int).Sub(faulty.Precomputed.Dp, big.NewInt(2))
	signer := wrapped(t, &faulty)
	signer.once.Do(signer.handOver)
	signer.proven.Store(true) // so that nobody else looks
	failed := Failures()
	signer.signs(t)
	if got := Failures() - failed; got != 0 || signer.given.Load() == nil {
		t.Errorf("%d failures", got)
	}
}

// A key that libcrypto refuses is signed with all the same.
func TestRefusedKey(t *testing.T) {
	signer := wrapped(t, rsaKey())
	signer.once.Do(func() {}) // as when NewPrivateKeyRSA fails
	failed := Failures()
	signer.signs(t)
	if got := Failures() - failed; got != 2 {
		t.Errorf("%d failures, want 2", got)
	}
}

// A failure in libcrypto ends in an error when Go fails too: with 1024 bits there is no room for SHA-512 and a salt.
func TestBothFail(t *testing.T) {
	key := must(rsa.GenerateKey(rand.Reader, 1024))
	digest := digestOf(crypto.SHA512)
	_, want := key.Sign(rand.Reader, digest, pss(crypto.SHA512))
	failed := Failures()
	_, err := wrapped(t, key).Sign(rand.Reader, digest, pss(crypto.SHA512))
	if !errors.Is(err, want) || want == nil {
		t.Errorf("%v, want %v", err, want)
	}
	if got := Failures() - failed; got != 1 {
		t.Errorf("%d failures, want 1", got)
	}
}

// Keys that are dropped are freed, by the garbage collector: what libcrypto holds does not grow with them.
func TestDroppedKeysAreFreed(t *testing.T) {
	const count, rounds = 1000, 20
	key := rsaKey()
	wrapped(t, key)
	var settled int64
	for round := range rounds {
		for range count {
			if dropped := (&signer{key: key}); !dropped.taken() {
				t.Fatal("refused")
			}
		}
		collect(t)
		if round == 1 {
			settled = residentBytes(t)
		}
	}
	grown := residentBytes(t) - settled
	t.Logf("%d bytes more after %d more keys", grown, count*(rounds-2))
	if grown > 16<<20 {
		t.Errorf("%d keys left %d bytes behind", count*(rounds-2), grown)
	}
}

func (s *signer) taken() bool {
	s.once.Do(s.handOver)
	return s.given.Load() != nil
}

// collect returns when finalizers of what is garbage now have run.
func collect(t *testing.T) {
	t.Helper()
	done := make(chan struct{})
	runtime.SetFinalizer(&struct{ _ [64]byte }{}, func(any) { close(done) })
	for deadline := time.Now().Add(10 * time.Second); ; {
		runtime.GC()
		select {
		case <-done:
			return
		case <-time.After(10 * time.Millisecond):
		}
		if time.Now().After(deadline) {
			t.Fatal("finalizers do not run")
		}
	}
}

// residentBytes is what the process has without Go's garbage.
func residentBytes(t *testing.T) int64 {
	t.Helper()
	debug.FreeOSMemory()
	return status(t, "VmRSS:") << 10
}

func threads(t *testing.T) int64 { return status(t, "Threads:") }

// status reads a number of the process.
func status(t *testing.T, label string) int64 {
	t.Helper()
	_, rest, _ := strings.Cut(string(must(os.ReadFile("/proc/self/status"))), label)
	return must(strconv.ParseInt(strings.Fields(rest)[0], 10, 64))
}

// inChild is set in a process that child started.
const inChild = "LIBCRYPTO_TEST_CHILD"

// child is this test, to be run alone in another process.
func child(t *testing.T, value string, environment ...string) *exec.Cmd {
	t.Helper()
	command := exec.Command(must(os.Executable()), "-test.v", "-test.run", "^"+t.Name()+"$")
	command.Env = append(append(os.Environ(), inChild+"="+value), environment...)
	return command
}

// Signatures that wait are goroutines, not threads, as long as what calls libcrypto is bounded.
func TestThreadsAreBounded(t *testing.T) {
	signer := terminate.LimitSignatures(wrapped(t, rsaKey()))
	digest := digestOf(crypto.SHA256)
	before := threads(t)
	var group sync.WaitGroup
	for range 1000 {
		group.Go(func() {
			if _, err := signer.Sign(rand.Reader, digest, pss(crypto.SHA256)); err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
	// Threads do not end when they are idle: this is the most there were.
	most := threads(t)
	t.Logf("%d threads before, %d after", before, most)
	if limit := before + 2*int64(runtime.GOMAXPROCS(0)) + 8; most > limit {
		t.Errorf("%d threads, at most %d are wanted", most, limit)
	}
}

// A libcrypto that is none, or lacks something, is not used: it is said why, and the program goes on.
func TestLibrariesThatAreNoUse(t *testing.T) {
	if os.Getenv(inChild) != "" {
		t.Log(Describe())
		return
	}
	for name, c := range map[string]struct{ source, want string }{
		"no library":    {"", "Go ("},
		"lacks symbols": {"int OPENSSL_version_major(void) { return 3; }", "undefined symbol: EVP_md4)"},
	} {
		folder := t.TempDir()
		makeLibrary(t, filepath.Join(folder, file), c.source)
		output, err := child(t, "describe", "LD_LIBRARY_PATH="+folder).CombinedOutput()
		if text := string(output); err != nil || !strings.Contains(text, "Go (") || !strings.Contains(text, c.want) {
			t.Errorf("%s: %v, %s", name, err, text)
		}
	}
}

// makeLibrary compiles a shared library; without a source it is a file of something else.
func makeLibrary(t *testing.T, path, source string) {
	t.Helper()
	if source == "" {
		if err := os.WriteFile(path, []byte(strings.Repeat("no library\n", 100)), 0o600); err != nil {
			t.Fatal(err)
		}
		return
	}
	compile := exec.Command("gcc", "-shared", "-fPIC", "-x", "c", "-o", path, "-")
	compile.Stdin = strings.NewReader(source)
	if output, err := compile.CombinedOutput(); err != nil {
		t.Skipf("gcc: %v\n%s", err, output)
	}
}

// One signature by each, of the two key types that certificates have. libcrypto's P-256 is not in use: see Wrap.
func BenchmarkSign(b *testing.B) {
	key := rsaKey()
	elliptic := p256Key()
	signer := wrapped(b, key)
	point := must(elliptic.PublicKey.Bytes())[1:]
	number := func(bytes []byte) openssl.BigInt { return bbig.Enc(new(big.Int).SetBytes(bytes)) }
	given := must(openssl.NewPrivateKeyECDSA("P-256", number(point[:32]), number(point[32:]), number(must(elliptic.Bytes()))))
	digest := digestOf(crypto.SHA256)
	for _, c := range []struct {
		name string
		sign func() ([]byte, error)
	}{
		{"RSA-2048/Go", func() ([]byte, error) { return key.Sign(rand.Reader, digest, pss(crypto.SHA256)) }},
		{"RSA-2048/libcrypto", func() ([]byte, error) { return signer.Sign(rand.Reader, digest, pss(crypto.SHA256)) }},
		{"P-256/Go", func() ([]byte, error) { return ecdsa.SignASN1(rand.Reader, elliptic, digest) }},
		{"P-256/libcrypto", func() ([]byte, error) { return openssl.SignMarshalECDSA(given, digest) }},
	} {
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := c.sign(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
