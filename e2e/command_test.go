package e2e

import (
	"bufio"
	"fmt"
	"os/exec"
	"regexp"
	"strings"
	"syscall"
	"testing"
)

// ctl runs a command against the gate's control socket.
func (g *gate) ctl(arguments ...string) result {
	g.t.Helper()
	return command(g.t, append(arguments, "--control", g.control)...)
}

// wantExit checks how a command ended, and what it printed.
func wantExit(t testing.TB, what string, got result, code int, stdout ...string) {
	t.Helper()
	if got.code != code {
		t.Errorf("%s: exit %d, want %d\n%s%s", what, got.code, code, got.stdout, got.stderr)
	}
	for _, want := range stdout {
		if !strings.Contains(got.stdout, want) {
			t.Errorf("%s: no %q in:\n%s", what, want, got.stdout)
		}
	}
	if code == 0 && got.stderr != "" {
		t.Errorf("%s: standard error has %q", what, got.stderr)
	}
	if code == 1 && strings.Count(strings.TrimSpace(got.stderr), "\n") != 0 {
		t.Errorf("%s: more than a line on standard error:\n%s", what, got.stderr)
	}
	wantNoSecrets(t, what, got.stdout+got.stderr)
}

// The commands that drive a running hellogate, one after another as an operator would use them.
func TestCommands(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.store.on("gone.example", status(404))
	w.visit("a.example")
	fingerprint := w.store.pairFor("a.example").fingerprint()

	wantExit(t, "status", w.ctl("status"), 0, "a.example", w.backend.address)
	wantFields(t, "status --json", w.ctl("status", "--json").stdout, "version", "cache", "stores", "names")
	wantExit(t, "cert ls", w.ctl("cert", "ls"), 0, "a.example")
	if got := w.ctl("cert", "ls", "*.other.example"); got.code != 0 || strings.Contains(got.stdout, "a.example") {
		t.Errorf("cert ls of another pattern: exit %d, %s", got.code, got.stdout)
	}
	wantExit(t, "cert show", w.ctl("cert", "show", "a.example"), 0, "a.example", fingerprint)
	wantExit(t, "explain", w.ctl("explain", "a.example"), 0, "a.example", "main")
	wantExit(t, "prefetch", w.ctl("prefetch", "b.example"), 0, "b.example", "fetched")
	wantExit(t, "flush", w.ctl("flush", "a.example", "nobody.example"), 0, "a.example")
	wantExit(t, "flush of a pattern", w.ctl("flush", "*.example"), 0, "b.example")
	w.visit("a.example")
	wantExit(t, "flush --cert", w.ctl("flush", "--cert", fingerprint), 0, "a.example")
	w.visit("a.example")
	wantExit(t, "flush --all", w.ctl("flush", "--all"), 0, "a.example")
	w.visit("a.example")
	w.store.wantRequests(t, "a.example", 4)
	wantExit(t, "shutdown", w.ctl("shutdown"), 0)
	w.eventually("it has ended", w.hasEnded)
}

// The socket may be named before the verb, behind names, and by the environment; names may be written as people do.
func TestCommandForms(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.visit("xn--mnchen-3ya.example")
	for _, name := range []string{"MÜNCHEN.example.", "münchen.example"} {
		wantExit(t, name, w.ctl("cert", "show", name), 0, "xn--mnchen-3ya.example")
	}
	wantExit(t, "before the verb", command(t, "--control", w.control, "status"), 0)
	wantExit(t, "flag behind names", command(t, "flush", "xn--mnchen-3ya.example", "--control", w.control), 0, "xn--mnchen-3ya.example")
	environment := exec.Command(hellogate, "status")
	environment.Env = append(environment.Environ(), "HELLOGATE_CONTROL="+w.control)
	if output, err := environment.CombinedOutput(); err != nil {
		t.Errorf("by the environment: %v\n%s", err, output)
	}
}

// Failures of a command are one line and exit code 1, wrong usage is exit code 2.
func TestCommandErrors(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for _, arguments := range [][]string{
		{"cert", "show", "nobody.example"},
		{"status", "--control", "/nonexistent/control.sock"},
	} {
		if arguments[0] != "status" {
			arguments = append([]string{"--control", w.control}, arguments...)
		}
		got := command(t, arguments...)
		wantExit(t, fmt.Sprint(arguments), got, 1)
		if strings.TrimSpace(got.stderr) == "" || got.stdout != "" {
			t.Errorf("%q: standard error %q, output %q", arguments, got.stderr, got.stdout)
		}
	}
	for _, arguments := range [][]string{
		{"dance"},
		{"status", "--dance"},
		{"flush"},
		{"cert", "dance"},
		{"cert", "show"},
		{"cert", "show", "not a name"},
		{"flush", "a..example"},
		{"run", "--config", w.config, "--listen", "127.0.0.1:0"},
		{"run", "--listen", "127.0.0.1:0", "--backend", "127.0.0.1:1", "--store", "ftp://127.0.0.1/"},
		{"run", "--idle", "tomorrow"},
		{"check"},
	} {
		got := command(t, append(arguments, "--control", w.control)...)
		if got.code != 2 || got.stderr == "" {
			t.Errorf("%q: exit %d, want 2\n%s%s", arguments, got.code, got.stdout, got.stderr)
		}
	}
}

// Every command has a help with an example, and version says which it is.
func TestHelp(t *testing.T) {
	t.Parallel()
	for _, verb := range []string{
		"", "run", "check", "demo", "certserver", "status", "flush", "cert", "cert ls", "cert show", "prefetch", "explain", "shutdown", "version",
	} {
		got := command(t, append(strings.Fields(verb), "--help")...)
		if got.code != 0 || !strings.Contains(got.stdout, "hellogate "+verb) {
			t.Errorf("%s: exit %d\n%s%s", verb, got.code, got.stdout, got.stderr)
		}
		if verb != "" && !strings.Contains(strings.ToLower(got.stdout), "example") {
			t.Errorf("%s: the help has no example", verb)
		}
	}
	wantExit(t, "version", command(t, "version"), 0, "hellogate")
}

// check lists every mistake of a configuration at once, each with its place and a caret under it; run does not start with it.
func TestConfigurationMistakes(t *testing.T) {
	t.Parallel()
	file := shortFolder(t) + "/hellogate.yaml"
	writeFile(t, file, `listeners:
  - adress: ":443"
limits:
  hello_timeout: 5parsecs
  connections: many
stores:
  - http: {url: http://192.0.2.1/certs}
backends:
  mail:
    servers: [{address: "127.0.0.1:143"}]
routes:
  - match: {names: ["bad..example"]}
    backend: nowhere
`)
	for _, verb := range []string{"check", "run"} {
		got := command(t, verb, "-c", file)
		if got.code != 1 {
			t.Errorf("%s: exit %d", verb, got.code)
		}
		for _, want := range []string{
			file + ":2:", "adress", file + ":4:", "limits.hello_timeout", file + ":5:", "limits.connections",
			file + ":7:", "plaintext", file + ":12:", "bad..example", file + ":13:", "nowhere",
		} {
			if !strings.Contains(got.stderr+got.stdout, want) {
				t.Errorf("%s: no %q in:\n%s", verb, want, got.stderr+got.stdout)
			}
		}
		if got := regexp.MustCompile(`(?m)^[ |0-9]*\^`).FindAllString(got.stderr+got.stdout, -1); len(got) < 6 {
			t.Errorf("%s: %d carets, want 6", verb, len(got))
		}
	}
}

// check accepts a good configuration.
func TestCheck(t *testing.T) {
	t.Parallel()
	g := configured(t, usesStore(newStore(t)), usesBackend("127.0.0.1:9"))
	if got := command(t, "check", "-c", g.config); got.code != 0 {
		t.Errorf("exit %d\n%s%s", got.code, got.stdout, got.stderr)
	}
}

// run needs no file: listener, store and backend as flags are enough, and a bare --backend gets a PROXY header.
func TestRunWithFlags(t *testing.T) {
	t.Parallel()
	store, backend := newStore(t), newBackend(t, echo)
	g := configured(t)
	g.run("run", "--listen", g.address, "--store", store.url(), "--backend", backend.address, "--control", g.control, "--log-format", "json")
	g.visit("a.example")
	if got := backend.next(t).header; got.Version != 2 || got.Authority != "a.example" {
		t.Errorf("header %+v", got)
	}
	if got := store.requests("a.example"); len(got) != 1 || got[0].Header.Get("Authorization") != "Bearer "+storeToken {
		t.Errorf("the store was asked %v", got)
	}
}

// run takes a folder as its store.
func TestRunWithFolder(t *testing.T) {
	t.Parallel()
	folder, backend := t.TempDir(), newBackend(t, echo)
	p := ca().issue([]string{"a.example"})
	p.write(t, folder, "a.example")
	g := configured(t)
	g.run("run", "--listen", g.address, "--store", folder, "--backend", backend.address, "--send-proxy", "v1", "--control", g.control)
	g.visit("a.example")
	if got := backend.next(t).header; got.Version != 1 {
		t.Errorf("header %+v", got)
	}
	g.refused("b.example", alertUnrecognizedName)
}

var demoCommand = regexp.MustCompile(`^curl|openssl s_client|^/[^ ]*hellogate [a-z]+`)

// The demo prints commands to try, and they work as printed.
func TestDemo(t *testing.T) {
	t.Parallel()
	program(t, "curl")
	program(t, "openssl")
	tried := map[string]int{}
	for _, line := range startDemo(t) {
		verb := demoCommand.FindString(line)
		if verb == "" {
			continue
		}
		tried[verb]++
		got := execute(t, "", "/bin/sh", "-c", line)
		switch {
		case strings.Contains(line, "https://") && strings.Contains(line, ".invalid"):
			if got.code == 0 || !strings.Contains(got.stderr, "unrecognized name") {
				t.Errorf("%s: exit %d\n%s%s", line, got.code, got.stdout, got.stderr)
			}
		case got.code != 0 || got.stdout == "":
			t.Errorf("%s: exit %d\n%s%s", line, got.code, got.stdout, got.stderr)
		case strings.Contains(line, "https://") && !strings.Contains(got.stdout, "PROXY"):
			t.Errorf("%s shows no PROXY header:\n%s", line, got.stdout)
		}
	}
	if tried["curl"] < 2 || tried["openssl s_client"] == 0 || len(tried) < 5 {
		t.Errorf("the demo printed %v commands", tried)
	}
}

// startDemo runs the demo and gives the lines it prints first, those that go on behind a backslash joined.
func startDemo(t testing.TB) []string {
	t.Helper()
	demo := exec.Command(hellogate, "demo")
	output, err := demo.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := demo.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		demo.Process.Signal(syscall.SIGTERM)
		if err := demo.Wait(); err != nil {
			t.Errorf("demo ended with %v", err)
		}
	})
	var text strings.Builder
	for scanner := bufio.NewScanner(output); scanner.Scan(); {
		text.WriteString(strings.TrimSpace(scanner.Text()) + "\n")
		if strings.HasPrefix(scanner.Text(), "Ctrl-C") {
			break
		}
	}
	return strings.Split(strings.ReplaceAll(text.String(), "\\\n", ""), "\n")
}

// A certificate server and a hellogate that uses it: exact names, SANs and wildcards are found, others are not, and the
// token is asked for.
func TestCertserver(t *testing.T) {
	t.Parallel()
	folder, address := t.TempDir(), freeAddress(t)
	ca().issue([]string{"exact.example"}).write(t, folder, "exact.example")
	ca().issue([]string{"san1.example", "san2.example"}).write(t, folder, "several")
	ca().issue([]string{"*.wild.example"}).write(t, folder, "wild")
	tokenFile := t.TempDir() + "/token"
	writeFile(t, tokenFile, storeToken+"\n")
	startPeer(t, address, hellogate, "certserver", "--listen", address, "--dir", folder, "--token-file", tokenFile)
	backend := newBackend(t, echo)
	url := "http://" + address + "/certs"
	g := start(t, fmt.Sprintf("stores: [{http: {url: %q}}]", url), usesBackend(backend.address))
	for _, name := range []string{"exact.example", "san2.example", "any.wild.example"} {
		g.visit(name)
	}
	for _, name := range []string{"other.example", "two.deep.wild.example", "wild.example"} {
		g.refused(name, alertUnrecognizedName)
	}
	denied := execute(t, "", program(t, "curl"), "-sS", "-o", "/dev/null", "-w", "%{http_code}", url+"/exact.example")
	if denied.stdout != "401" {
		t.Errorf("without a token: %s", denied.stdout)
	}
}
