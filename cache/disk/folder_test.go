package disk

import (
	"bufio"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func mode(t *testing.T, path string) os.FileMode {
	t.Helper()
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	return info.Mode().Perm()
}

func TestModes(t *testing.T) {
	parent := filepath.Join(t.TempDir(), "parent")
	if err := os.Mkdir(parent, 0o755); err != nil {
		t.Fatal(err)
	}
	l := &lab{t: t, pace: quick(), log: &lines{}, options: Options{Dir: filepath.Join(parent, "tier")}}
	l.open()
	defer func() { l.Close() }()
	check := func() {
		t.Helper()
		if got := mode(t, l.options.Dir); got != 0o700 {
			t.Fatalf("the folder has the mode %04o", got)
		}
		if got := mode(t, l.file()); got != 0o600 {
			t.Fatalf("the file has the mode %04o", got)
		}
		if got := mode(t, parent); got != 0o755 {
			t.Fatalf("the parent has the mode %04o", got)
		}
	}
	check()
	l.reopen(func() {
		for path, mode := range map[string]os.FileMode{l.options.Dir: 0o777, l.file(): 0o644} {
			if err := os.Chmod(path, mode); err != nil {
				t.Fatal(err)
			}
		}
	})
	check()
}

func TestRefusedPlaces(t *testing.T) {
	tests := map[string]struct {
		prepare func(t *testing.T, dir string) // dir is there
		says    string
	}{
		"folder is a link": {func(t *testing.T, dir string) {
			must(t, os.Rename(dir, dir+".real"))
			must(t, os.Symlink(dir+".real", dir))
		}, "is a symbolic link"},
		"folder is a file": {func(t *testing.T, dir string) {
			must(t, os.Remove(dir))
			must(t, os.WriteFile(dir, nil, 0o600))
		}, "not a directory"},
		"folder of somebody else": {func(t *testing.T, dir string) {
			asRoot(t)
			must(t, os.Chown(dir, 12345, -1))
		}, "belongs to uid 12345"},
		"file is a link": {func(t *testing.T, dir string) {
			must(t, os.WriteFile(dir+".real", nil, 0o600))
			must(t, os.Symlink(dir+".real", filepath.Join(dir, fileName)))
		}, "is a symbolic link"},
		"file is a link to nothing": {func(t *testing.T, dir string) {
			must(t, os.Symlink(dir+".real", filepath.Join(dir, fileName)))
		}, "is a symbolic link"},
		"file is a fifo": {func(t *testing.T, dir string) {
			must(t, unix.Mkfifo(filepath.Join(dir, fileName), 0o600))
		}, "is a special file"},
		"file is a folder": {func(t *testing.T, dir string) {
			must(t, os.Mkdir(filepath.Join(dir, fileName), 0o700))
		}, "is a directory"},
		"file of somebody else": {func(t *testing.T, dir string) {
			asRoot(t)
			path := filepath.Join(dir, fileName)
			must(t, os.WriteFile(path, nil, 0o600))
			must(t, os.Chown(path, 12345, -1))
		}, "belongs to uid 12345"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "tier")
			must(t, os.Mkdir(dir, 0o700))
			test.prepare(t, dir)
			tier, err := Open(Options{Dir: dir})
			if err == nil {
				tier.Close()
			}
			if err == nil || !strings.Contains(err.Error(), test.says) || !strings.Contains(err.Error(), dir) {
				t.Fatalf("got %v, want one that says %q", err, test.says)
			}
			if _, err := os.Lstat(dir + ".real/" + fileName); err == nil {
				t.Fatal("something was written behind the link")
			}
		})
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func asRoot(t *testing.T) {
	t.Helper()
	if !isRoot() {
		t.Skip("needs root")
	}
}

func TestSecondOpener(t *testing.T) {
	l := newLab(t, false, quick())
	records := l.fill(3)
	tier, err := Open(l.options)
	if err == nil {
		tier.Close()
	}
	if !errors.Is(err, ErrInUse) || !strings.Contains(err.Error(), l.options.Dir) {
		t.Fatalf("got %v", err)
	}
	l.holds(records[0])
	l.Put(sample(7))
	l.reopen(nil)
	l.holds(sample(7))
	// The lock is the folder's: a file that somebody moved away frees nothing.
	must(t, os.Rename(l.file(), l.file()+".moved"))
	if _, err := Open(l.options); !errors.Is(err, ErrInUse) {
		t.Fatalf("got %v", err)
	}
}

// childOpens opens the tier of a folder, says what came of it, and ends with its standard input.
func childOpens() {
	tier, err := Open(Options{Dir: os.Getenv("DISK_DIR")})
	if err != nil {
		fmt.Println(errors.Is(err, ErrInUse), err)
		return
	}
	fmt.Println("open")
	io.Copy(io.Discard, os.Stdin)
	tier.Close()
}

func TestSecondProcess(t *testing.T) {
	l := newLab(t, false, quick())
	l.fill(1)
	if said := <-startOpener(t, l.options.Dir).said; !strings.HasPrefix(said, "true ") || !strings.Contains(said, l.options.Dir) {
		t.Fatalf("the child says %q", said)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	child := startOpener(t, l.options.Dir)
	if said := <-child.said; said != "open" {
		t.Fatalf("the child says %q", said)
	}
	if _, err := Open(l.options); !errors.Is(err, ErrInUse) {
		t.Fatalf("got %v", err)
	}
	child.stdin.Close() // an end like any other, while somebody waits
	l.open()
	l.holds(sample(0))
}

type opener struct {
	said  chan string
	stdin io.Closer
}

// startOpener starts a child that opens the tier of a folder.
func startOpener(t *testing.T, dir string) opener {
	t.Helper()
	command := exec.Command(os.Args[0])
	command.Env = append(os.Environ(), childVariable+"=open", "DISK_DIR="+dir)
	stdin, err := command.StdinPipe()
	must(t, err)
	stdout, err := command.StdoutPipe()
	must(t, err)
	command.Stderr = os.Stderr
	must(t, command.Start())
	said := make(chan string, 1)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		line, _ := bufio.NewReader(stdout).ReadString('\n')
		said <- strings.TrimSuffix(line, "\n")
	}()
	t.Cleanup(func() {
		stdin.Close()
		<-ended
		command.Wait()
	})
	return opener{said, stdin}
}

func TestKeyFile(t *testing.T) {
	key := filling(1, keySize)
	tests := map[string]struct {
		content []byte
		mode    os.FileMode
		says    string // "": it is read
	}{
		"raw":             {key, 0o600, ""},
		"raw, newline":    {append(append([]byte{}, key...), '\n'), 0o400, ""},
		"hex":             {[]byte(hex.EncodeToString(key)), 0o600, ""},
		"hex, newline":    {[]byte(hex.EncodeToString(key) + "\n"), 0o600, ""},
		"upper case hex":  {[]byte(strings.ToUpper(hex.EncodeToString(key)) + "\r\n"), 0o600, ""},
		"base64":          {[]byte(base64.StdEncoding.EncodeToString(key) + "\n"), 0o600, ""},
		"base64, url":     {[]byte(base64.RawURLEncoding.EncodeToString(key)), 0o600, ""},
		"empty":           {nil, 0o600, "neither"},
		"too short":       {key[1:], 0o600, "neither"},
		"too long":        {append(append([]byte{}, key...), 1, 2), 0o600, "neither"},
		"hex of 31":       {[]byte(hex.EncodeToString(key[1:])), 0o600, "neither"},
		"large":           {make([]byte, 1<<20), 0o600, "neither"},
		"two newlines":    {[]byte(hex.EncodeToString(key) + "\n\n"), 0o600, "neither"},
		"group can read":  {key, 0o640, "chmod 600"},
		"others can read": {key, 0o604, "chmod 600"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "key")
			must(t, os.WriteFile(path, test.content, 0o600))
			must(t, os.Chmod(path, test.mode))
			got, err := readKey(path)
			if test.says == "" {
				must(t, err)
				if string(got) != string(key) {
					t.Fatal("it is another key")
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), test.says) || !strings.Contains(err.Error(), path) {
				t.Fatalf("got %v", err)
			}
		})
	}
	if _, err := Open(Options{Dir: t.TempDir(), KeyFile: filepath.Join(t.TempDir(), "missing")}); !errors.Is(err, os.ErrNotExist) {
		t.Fatalf("missing: %v", err)
	}
	if _, err := readKey(t.TempDir()); err == nil {
		t.Fatal("a folder was read")
	}
}
