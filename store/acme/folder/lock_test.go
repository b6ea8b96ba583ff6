package folder

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/rs/zerolog"
)

// child takes the lock, says so, and holds it until it is killed; or until its lock is lost, which it says too.
func child() {
	set := options(os.Getenv("FOLDER_CHILD"))
	f, err := Open(set)
	if err != nil {
		fmt.Println(err)
		return
	}
	held, release, err := f.Lock(context.Background(), "a.example")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer release()
	fmt.Println("held")
	<-held.Done()
	fmt.Println(context.Cause(held))
	time.Sleep(time.Minute)
}

type process struct {
	command *exec.Cmd
	lines   *bufio.Scanner
}

// holder starts a process that holds the lock.
func holder(t *testing.T, path string) *process {
	t.Helper()
	executable, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	command := exec.Command(executable)
	command.Env = append(os.Environ(), "FOLDER_CHILD="+path)
	output, err := command.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { command.Process.Kill(); command.Wait() })
	p := &process{command: command, lines: bufio.NewScanner(output)}
	p.says(t, "held")
	return p
}

func (p *process) says(t *testing.T, want string) {
	t.Helper()
	if !p.lines.Scan() || p.lines.Text() != want {
		t.Fatalf("%q, %v; want %q", p.lines.Text(), p.lines.Err(), want)
	}
}

func lock(t *testing.T, f *Folder, name string) (context.Context, func()) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 15*time.Second)
	t.Cleanup(cancel)
	held, release, err := f.Lock(ctx, name)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(release)
	return held, release
}

// wantHeld checks that nobody else gets the lock within some beats.
func wantHeld(t *testing.T, f *Folder, name string, beats int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Duration(beats)*beat)
	defer cancel()
	_, release, err := f.Lock(ctx, name)
	if err == nil {
		release()
		t.Fatal("two hold the lock")
	}
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Fatal(err)
	}
}

// TestLock: one at a time, for as long as it holds it; names don't get in each other's way; nothing is left behind.
func TestLock(t *testing.T) {
	f, other := opened(t), (*Folder)(nil)
	other = open(t, f.Path())
	held, release := lock(t, f, "a.example")
	_, releaseB := lock(t, other, "*.b.example")
	ctx, cancel := context.WithTimeout(context.Background(), 6*beat)
	defer cancel()
	_, _, err := other.Lock(ctx, "a.example")
	host, _ := os.Hostname()
	wantError(t, err, fmt.Sprintf("process %d of %q holds", os.Getpid(), host))
	if held.Err() != nil {
		t.Errorf("the lock was lost: %v", context.Cause(held))
	}
	release()
	release()
	releaseB()
	if !errors.Is(context.Cause(held), context.Canceled) {
		t.Errorf("%v", context.Cause(held))
	}
	_, release = lock(t, other, "a.example")
	release()
	for _, at := range []string{locks, temporary} {
		if left, err := os.ReadDir(filepath.Join(f.Path(), at)); err != nil || len(left) > 0 {
			t.Errorf("left in %s: %v, %v", at, left, err)
		}
	}
}

// TestLockEndsWithItsContext, and is held until it is released all the same: the work that it guards may still end.
func TestLockEndsWithItsContext(t *testing.T) {
	f := opened(t)
	ctx, cancel := context.WithCancel(context.Background())
	held, release, err := f.Lock(ctx, "a.example")
	if err != nil {
		t.Fatal(err)
	}
	cancel()
	<-held.Done()
	wantHeld(t, f, "a.example", 6)
	release()
	_, release = lock(t, f, "a.example")
	release()
}

// TestLockOfKilledProcess: on the same machine, it is free at once.
func TestLockOfKilledProcess(t *testing.T) {
	if boot() == "" {
		t.Skip("this system has no boot id")
	}
	log := new(logged)
	set := options(filepath.Join(t.TempDir(), "acme"))
	set.Beat, set.Log = time.Hour, zerolog.New(log)
	f, err := Open(set)
	if err != nil {
		t.Fatal(err)
	}
	killed := holder(t, f.Path())
	ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
	defer cancel()
	if _, _, err := f.Lock(ctx, "a.example"); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("a lock that is held: %v", err)
	}
	killed.command.Process.Kill()
	killed.command.Wait()
	lock(t, f, "a.example")
	if !log.has(fmt.Sprintf(`"pid":%d`, killed.command.Process.Pid)) {
		t.Errorf("logged %s", log.text.String())
	}
}

// TestLockOfStoppedProcess: without a sign of life it is free after three beats, and one who goes on learns that it has
// lost it before it does anything else.
func TestLockOfStoppedProcess(t *testing.T) {
	f := opened(t)
	stopped := holder(t, f.Path())
	wantHeld(t, f, "a.example", 6)
	if err := stopped.command.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	held, release := lock(t, f, "a.example")
	if took := time.Since(began); took < 2*beat {
		t.Errorf("taken over after %s", took)
	}
	if err := stopped.command.Process.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	stopped.says(t, ErrLost.Error())
	time.Sleep(3 * beat)
	if held.Err() != nil {
		t.Errorf("who took it over lost it: %v", context.Cause(held))
	}
	release()
}

// foreign makes the lock one of a process on another machine, of which there is nothing but its file.
func foreign(t *testing.T, f *Folder, name, owner string) string {
	t.Helper()
	path := filepath.Join(f.Path(), locks, name, owner)
	content, err := note{Owner: owner, PID: 1, Host: "elsewhere", Boot: "another"}.bytes()
	if err == nil {
		err = errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, content, 0o600))
	}
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// TestLockOfAnotherMachine: what counts is whether its file changes; not its time, which is of another clock.
func TestLockOfAnotherMachine(t *testing.T) {
	f := opened(t)
	path := foreign(t, f, "a.example", "OWNER")
	old := time.Now().Add(-24 * time.Hour)
	stop := make(chan struct{})
	var beating sync.WaitGroup
	beating.Go(func() {
		for i := uint64(1); ; i++ {
			content, _ := note{Owner: "OWNER", Boot: "another", Beat: i}.bytes()
			_ = os.WriteFile(path, content, 0o600)
			_ = os.Chtimes(path, old, old)
			select {
			case <-stop:
				return
			case <-time.After(beat / 2):
			}
		}
	})
	wantHeld(t, f, "a.example", 8)
	close(stop)
	beating.Wait()
	began := time.Now()
	lock(t, f, "a.example")
	if took := time.Since(began); took < 2*beat {
		t.Errorf("taken over after %s", took)
	}
}

// TestLockIsLost when others take it, within two beats.
func TestLockIsLost(t *testing.T) {
	losses := map[string]func(t *testing.T, path string){
		"file removed":   func(_ *testing.T, path string) { os.RemoveAll(path) },
		"folder emptied": func(_ *testing.T, path string) { remove(filepath.Join(path, "*")) },
		"file replaced": func(t *testing.T, path string) {
			names, _ := filepath.Glob(filepath.Join(path, "*"))
			other := filepath.Join(t.TempDir(), "other")
			if err := errors.Join(os.WriteFile(other, nil, 0o600), os.Rename(other, names[0])); err != nil {
				t.Fatal(err)
			}
		},
		"can't be written": func(t *testing.T, path string) {
			// A file where there should be a folder: an error that is no answer.
			if err := errors.Join(os.RemoveAll(path), os.WriteFile(path, nil, 0o600)); err != nil {
				t.Fatal(err)
			}
		},
	}
	for name, lose := range losses {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			log := new(logged)
			f := opened(t)
			f.options.Log = zerolog.New(log)
			held, _ := lock(t, f, "a.example")
			lose(t, filepath.Join(f.Path(), locks, "a.example"))
			select {
			case <-held.Done():
			case <-time.After(20 * beat):
			}
			if !errors.Is(context.Cause(held), ErrLost) {
				t.Errorf("%v", context.Cause(held))
			}
			if name != "can't be written" && log.has("tried again") {
				t.Errorf("what others took is tried again: %s", log.text.String())
			}
		})
	}
}

func remove(pattern string) {
	names, _ := filepath.Glob(pattern)
	for _, name := range names {
		os.Remove(name)
	}
}

// TestLockTakeOverIsExclusive: many who see the same dead holder, over and over: one of them gets the lock at a time.
func TestLockTakeOverIsExclusive(t *testing.T) {
	f := opened(t)
	var holders atomic.Int32
	var taken atomic.Int64
	ctx, cancel := context.WithTimeout(context.Background(), 4*time.Second)
	defer cancel()
	var group sync.WaitGroup
	for i := range 12 {
		group.Go(func() {
			own := open(t, f.Path())
			own.options.Beat = 60 * time.Millisecond
			for ctx.Err() == nil {
				held, release, err := own.Lock(ctx, "a.example")
				if ctx.Err() == nil && err != nil {
					t.Error(err)
				}
				if err != nil {
					continue
				}
				if now := holders.Add(1); now != 1 {
					t.Errorf("%d hold the lock", now)
				}
				leave := sync.OnceFunc(func() { holders.Add(-1) })
				context.AfterFunc(held, leave) // a busy machine may keep it from saying that it lives
				taken.Add(1)
				time.Sleep(time.Millisecond)
				leave()
				release()
				if i%3 == 0 {
					// The next finds the lock of a dead one, if it is quick.
					content, _ := note{Boot: "another"}.bytes()
					path := filepath.Join(f.Path(), locks, "a.example")
					if os.Mkdir(path, 0o700) == nil {
						os.WriteFile(filepath.Join(path, fmt.Sprint("DEAD", taken.Load())), content, 0o600)
					}
				}
			}
		})
	}
	group.Wait()
	if taken.Load() < 20 {
		t.Errorf("taken %d times", taken.Load())
	}
	if left, err := os.ReadDir(filepath.Join(f.Path(), temporary)); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

// TestNote: a lock's file always has the same size, whatever the host is called, and odd content is no holder that can be
// asked.
func TestNote(t *testing.T) {
	content, err := note{Host: strings.Repeat("h", 255), Beat: 1 << 63}.bytes()
	if err != nil || len(content) != noteBytes {
		t.Errorf("%d bytes, %v", len(content), err)
	}
	if _, err := (note{Host: strings.Repeat("h", noteBytes)}).bytes(); err == nil {
		t.Error("no error")
	}
}

func FuzzNote(fuzz *testing.F) {
	content, _ := note{Owner: "O", Boot: "b"}.bytes()
	fuzz.Add(content)
	fuzz.Add([]byte(`{"boot":""}`))
	fuzz.Add([]byte("null"))
	fuzz.Fuzz(func(t *testing.T, content []byte) {
		if readNote(content).Boot == "" && ended(os.Stdin, content) {
			t.Errorf("%q: the holder counts as dead", content)
		}
	})
}
