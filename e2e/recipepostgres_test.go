package e2e

import (
	"bytes"
	"context"
	"fmt"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
)

// postgresPassword is that of the user app, on every server.
const postgresPassword = "e2e-postgres-password"

// postgresServer is a PostgreSQL server of the tests' own. It has a database of each name that newPostgres was given, and
// takes the user app with a password, by SCRAM, with TLS of its own and without.
type postgresServer struct {
	address string
	folder  string
	own     pair // its certificate, for server.internal and the names of tenants
}

// postgresProgram finds one of the server's programs, which Debian keeps off the PATH.
func postgresProgram(t testing.TB, name string) string {
	t.Helper()
	found, _ := filepath.Glob("/usr/lib/postgresql/*/bin/" + name)
	if len(found) == 0 {
		return program(t, name)
	}
	slices.Sort(found)
	return found[len(found)-1]
}

// newPostgres runs one whose cluster_name is name.
func newPostgres(t testing.TB, name string) *postgresServer {
	t.Helper()
	p := &postgresServer{address: freeAddress(t), folder: openFolder(t)}
	owner := account(t, "postgres", "nobody")
	give(t, p.folder, owner)
	p.initialise(t, owner)
	p.own = ca().issue([]string{"server.internal", "tenant1.db.example", "tenant2.db.example"})
	certFile, keyFile := p.own.write(t, p.folder, "own")
	give(t, certFile, owner)
	give(t, keyFile, owner)
	arguments := []string{"-D", filepath.Join(p.folder, "data")}
	for _, setting := range []string{
		"listen_addresses=127.0.0.1", "port=" + itoa(portOf(p.address)), "unix_socket_directories=" + p.folder, "cluster_name=" + name,
		"ssl=on", "ssl_cert_file=" + certFile, "ssl_key_file=" + keyFile, "fsync=off", "shared_buffers=1MB", "autovacuum=off",
	} {
		arguments = append(arguments, "-c", setting)
	}
	server := exec.Command(postgresProgram(t, "postgres"), arguments...)
	as(server, owner)
	runPeer(t, p.address, server, syscall.SIGQUIT) // at once: nothing of it is kept
	return p
}

// initialise makes the data folder, and has everybody come in by password but raw, who is whoever says so.
func (p *postgresServer) initialise(t testing.TB, owner *user.User) {
	t.Helper()
	password, data := filepath.Join(p.folder, "password"), filepath.Join(p.folder, "data")
	writeFile(t, password, postgresPassword)
	give(t, password, owner)
	initdb := exec.Command(postgresProgram(t, "initdb"), "-D", data, "-U", "app", "--pwfile", password,
		"--auth", "scram-sha-256", "--no-sync", "--no-locale", "--encoding", "UTF8", "--no-instructions")
	as(initdb, owner)
	initdb.Dir = p.folder
	if output, err := initdb.CombinedOutput(); err != nil {
		t.Fatalf("initdb: %v\n%s", err, output)
	}
	writeFile(t, filepath.Join(data, "pg_hba.conf"), "host all raw all trust\nhost all all all scram-sha-256\nlocal all all trust\n")
	single := exec.Command(postgresProgram(t, "postgres"), "--single", "-D", data, "postgres")
	as(single, owner)
	single.Stdin = strings.NewReader("create role raw superuser login\n")
	if output, err := single.CombinedOutput(); err != nil {
		t.Fatalf("postgres --single: %v\n%s", err, output)
	}
}

// psql is a psql that asks for a name through hellogate; more is further words of its connection string, which win.
func (g *gate) psql(name, more string, arguments ...string) *exec.Cmd {
	g.t.Helper()
	target := fmt.Sprintf("host=%s hostaddr=127.0.0.1 port=%s dbname=postgres user=app sslmode=verify-full sslrootcert=%s connect_timeout=10 %s",
		name, g.port(), ca().rootFile(g.t), more)
	command := exec.Command(program(g.t, "psql"), append([]string{"-X", "-A", "-t", "-q", target}, arguments...)...)
	command.Env = []string{"PGPASSWORD=" + postgresPassword, "LC_ALL=C", "HOME=" + g.t.TempDir(), "PATH=/usr/bin:/bin"}
	return command
}

// psqlRuns runs psql with an input until it ends and gives what it printed.
func (g *gate) psqlRuns(name, more, input string, arguments ...string) result {
	g.t.Helper()
	made := g.psql(name, more, arguments...)
	ctx, cancel := context.WithTimeout(context.Background(), 2*patience)
	defer cancel()
	var stdout, stderr bytes.Buffer
	command := exec.CommandContext(ctx, made.Path, made.Args[1:]...)
	command.Env, command.Stdin, command.Stdout, command.Stderr = made.Env, strings.NewReader(input), &stdout, &stderr
	command.WaitDelay = patience
	command.Run()
	if ctx.Err() != nil {
		g.t.Fatalf("psql hangs after %q %q", &stdout, &stderr)
	}
	return result{stdout: stdout.String(), stderr: stderr.String(), code: command.ProcessState.ExitCode()}
}

// asks runs one statement and checks what comes.
func (g *gate) asks(name, more, statement, want string) {
	g.t.Helper()
	got := g.psqlRuns(name, more, "", "-c", statement)
	if got.code != 0 || strings.TrimSpace(got.stdout) != want {
		g.t.Errorf("%s %s: %s: got %q, want %q: %s", name, more, statement, got.stdout, want, got.stderr)
	}
}
