package e2e

import (
	"debug/buildinfo"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// RSA certificates are served through the machine's libcrypto where the program can use it, else by Go itself, and
// clients can't tell. Status and the start event say which.
func TestRSASignatures(t *testing.T) {
	t.Parallel()
	openssl := program(t, "openssl")
	for name, test := range map[string]struct {
		binary      string
		environment []string
		want        string
	}{
		"as built here":           {hellogate, nil, expectedSigner(t, openssl)},
		"without cgo":             {withoutCgo(t), nil, "Go (libcrypto is used on Linux alone, by a program built with cgo)"},
		"libcrypto is no library": {hellogate, []string{"LD_LIBRARY_PATH=" + brokenLibrary(t)}, "Go ("},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := &world{store: newStore(t), backend: newBackend(t, answerLine)}
			w.store.on("a.example", bundle(ca().issueRSA("a.example")))
			w.gate = configured(t, usesStore(w.store), usesBackend(w.backend.address))
			w.runBinary(test.binary, test.environment...)
			for _, version := range []string{"-tls1_3", "-tls1_2"} {
				got := execute(t, "ping\n", openssl, "s_client", "-connect", w.address, "-servername", "a.example", "-quiet", version,
					"-CAfile", ca().rootFile(t), "-verify_return_error", "-verify_hostname", "a.example")
				if got.code != 0 || got.stdout != "you said ping\n" {
					t.Errorf("%s: exit %d, %q\n%s", version, got.code, got.stdout, got.stderr)
				}
			}
			w.wantSigner(test.want)
		})
	}
}

// runBinary is run with another program, and with more in its environment.
func (g *gate) runBinary(binary string, environment ...string) {
	g.t.Helper()
	g.command = exec.Command(binary, "run", "--config", g.config)
	g.command.Env = append(append(os.Environ(), "HELLOGATE_STORE_TOKEN="+storeToken), environment...)
	g.command.Stderr = g.log
	if err := g.command.Start(); err != nil {
		g.t.Fatal(err)
	}
	go func() {
		g.command.Wait()
		close(g.ended)
	}()
	g.t.Cleanup(g.stop)
	g.waitUntilReady()
}

// wantSigner checks what is said to make RSA signatures, by its beginning, and that it never failed.
func (g *gate) wantSigner(want string) {
	g.t.Helper()
	for what, text := range map[string]string{
		"status":          g.ctl("status").stdout,
		"status --json":   g.ctl("status", "--json").stdout,
		"the start event": g.log.String(),
	} {
		if !strings.Contains(text, want) {
			g.t.Errorf("%s has no %q:\n%s", what, want, text)
		}
	}
	if text := g.ctl("status", "--json").stdout; !regexp.MustCompile(`"rsa_signatures_failed": *0\b`).MatchString(text) {
		g.t.Errorf("signatures failed: %s", text)
	}
}

// expectedSigner is what a program made as the one under test has to use on this machine.
func expectedSigner(t *testing.T, openssl string) string {
	t.Helper()
	info, err := buildinfo.ReadFile(hellogate)
	if err != nil {
		t.Fatal(err)
	}
	for _, setting := range info.Settings {
		if setting.Key == "CGO_ENABLED" && setting.Value != "1" {
			return "Go ("
		}
	}
	// "OpenSSL 3.0.19 27 Jan 2026 (Library: OpenSSL 3.0.19 27 Jan 2026)"
	library := regexp.MustCompile(`\(Library: (OpenSSL 3\.[0-9.]+)`).FindStringSubmatch(execute(t, "", openssl, "version").stdout)
	if library == nil {
		return "Go ("
	}
	return "libcrypto " + library[1]
}

// withoutCgo builds the program anew.
func withoutCgo(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "hellogate")
	build := exec.Command("go", "build", "-o", path, "hellogate/cmd/hellogate")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if output, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", build, err, output)
	}
	return path
}

// brokenLibrary is a folder with a libcrypto that can't be loaded.
func brokenLibrary(t *testing.T) string {
	t.Helper()
	folder := t.TempDir()
	writeFile(t, filepath.Join(folder, "libcrypto.so.3"), strings.Repeat("no library\n", 100))
	return folder
}
