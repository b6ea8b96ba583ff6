package store_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"hellogate/store"
	"hellogate/store/certtest"
)

func TestDir(t *testing.T) {
	folder := t.TempDir()
	issued := certtest.NewCA(t).Issue(t, name)
	issued.Write(t, folder, name)
	dir := newDir(t, folder)
	bundle, err := dir.Fetch(t.Context(), store.Request{Name: name})
	if err != nil {
		t.Fatal(err)
	}
	if bundle.Store != "files" || bundle.Freshness != (store.Freshness{}) || bundle.Validator.IsZero() {
		t.Errorf("got %+v", bundle)
	}
	if _, err := store.Check(bundle.Pairs[0], name, time.Now()); err != nil {
		t.Error(err)
	}
	again, err := dir.Fetch(t.Context(), store.Request{Name: name, Validator: bundle.Validator})
	if err != nil || !again.NotModified || len(again.Pairs) != 0 || again.Validator != bundle.Validator {
		t.Errorf("nothing has changed: %+v, %v", again, err)
	}
	for _, file := range []string{".crt", ".key"} {
		later := time.Now().Add(time.Hour)
		if err := os.Chtimes(filepath.Join(folder, name+file), later, later); err != nil {
			t.Fatal(err)
		}
		again, err := dir.Fetch(t.Context(), store.Request{Name: name, Validator: bundle.Validator})
		if err != nil || again.NotModified || len(again.Pairs) != 1 {
			t.Errorf("%s has changed: %+v, %v", file, again, err)
		}
		bundle = again
	}
	if _, err := dir.Fetch(t.Context(), store.Request{Name: "b.example"}); !errors.Is(err, store.ErrUnknown) {
		t.Error(err)
	}
	if want := `store files: get "b.example": unknown name`; fetchError(t, dir, "b.example").Error() != want {
		t.Errorf("error %v, want %s", fetchError(t, dir, "b.example"), want)
	}
}

func TestDirFailures(t *testing.T) {
	ca := certtest.NewCA(t)
	issued := ca.Issue(t, name)
	outside := t.TempDir()
	outsideCert, _ := issued.Write(t, outside, name)
	cert := func(folder string) string { return filepath.Join(folder, name+".crt") }
	key := func(folder string) string { return filepath.Join(folder, name+".key") }
	remove := func(t *testing.T, path string) {
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
	}
	for _, test := range []struct {
		name  string
		spoil func(t *testing.T, folder string)
		want  string
	}{
		{"no key", func(t *testing.T, folder string) { remove(t, key(folder)) }, "a.example.key: no such file"},
		{"no certificate", func(t *testing.T, folder string) { remove(t, cert(folder)) }, "a.example.crt: no such file"},
		{"half written", func(t *testing.T, folder string) { write(t, key(folder), string(issued.Key[:100])) }, "key: 1 of 1 PEM blocks"},
		{"empty", func(t *testing.T, folder string) { write(t, cert(folder), "") }, "cert is missing or empty"},
		{
			"another's key", func(t *testing.T, folder string) { write(t, key(folder), string(ca.Issue(t, name).Key)) },
			"the private key belongs to none",
		},
		{
			"key in the certificate's file", func(t *testing.T, folder string) { write(t, cert(folder), string(issued.Bundle())) },
			"cert holds a private key",
		},
		{"huge", func(t *testing.T, folder string) {
			if err := os.Truncate(cert(folder), 2<<30); err != nil {
				t.Fatal(err)
			}
		}, "a.example.crt: 2147483648 bytes: at most 262144 allowed"},
		{"a folder", func(t *testing.T, folder string) {
			remove(t, cert(folder))
			if err := os.Mkdir(cert(folder), 0o700); err != nil {
				t.Fatal(err)
			}
		}, "a.example.crt: not a regular file"},
		{"a pipe", func(t *testing.T, folder string) {
			remove(t, cert(folder))
			if err := syscall.Mkfifo(cert(folder), 0o600); err != nil {
				t.Fatal(err)
			}
		}, "a.example.crt: not a regular file"},
		{"a link out of it", func(t *testing.T, folder string) {
			remove(t, cert(folder))
			if err := os.Symlink(outsideCert, cert(folder)); err != nil {
				t.Fatal(err)
			}
		}, "path escapes from parent"},
	} {
		t.Run(test.name, func(t *testing.T) {
			folder := t.TempDir()
			issued.Write(t, folder, name)
			dir := newDir(t, folder)
			test.spoil(t, folder)
			err := fetchError(t, dir, name)
			if !strings.Contains(err.Error(), test.want) {
				t.Errorf("error %v, want it to say %q", err, test.want)
			}
			if failure := failureOf(t, err); !failure.Exempt || failure.Unreachable {
				t.Errorf("%v should be of that name alone: %+v", err, failure)
			}
		})
	}
}

func TestDirNames(t *testing.T) {
	folder := t.TempDir()
	inside := filepath.Join(folder, "inside")
	if err := os.Mkdir(inside, 0o700); err != nil {
		t.Fatal(err)
	}
	issued := certtest.NewCA(t).Issue(t, name)
	issued.Write(t, folder, name)
	issued.Write(t, inside, "")
	dir := newDir(t, inside)
	for _, bad := range []string{"", "..", "../" + name, "/" + name, "A.example", name + ".", "x\x00"} {
		failureOf(t, fetchError(t, dir, bad))
	}
	long := strings.Repeat(strings.Repeat("a", 62)+".", 4) + "a"
	if err := fetchError(t, dir, long); len(long) != 253 || !errors.Is(err, store.ErrUnknown) {
		t.Errorf("a name too long for a file is a no: %v", err)
	}
}

func TestDirComesAndGoes(t *testing.T) {
	parent := t.TempDir()
	issued := certtest.NewCA(t).Issue(t, name)
	for _, folder := range []string{"one", "two"} {
		if err := os.Mkdir(filepath.Join(parent, folder), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	issued.Write(t, filepath.Join(parent, "two"), name)
	link := filepath.Join(parent, "link")
	if err := os.Symlink("one", link); err != nil {
		t.Fatal(err)
	}
	dir := newDir(t, link)
	if err := fetchError(t, dir, name); !errors.Is(err, store.ErrUnknown) {
		t.Error(err)
	}
	if err := os.Remove(link); err != nil {
		t.Fatal(err)
	}
	if err := fetchError(t, dir, name); !failureOf(t, err).Unreachable {
		t.Errorf("the folder is gone, but not unreachable: %v", err)
	}
	if err := os.Symlink("two", link); err != nil {
		t.Fatal(err)
	}
	if _, err := dir.Fetch(t.Context(), store.Request{Name: name}); err != nil {
		t.Error(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := dir.Fetch(ctx, store.Request{Name: name}); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	if _, err := store.NewDir("", filepath.Join(parent, "none")); err == nil {
		t.Error("a missing folder was accepted")
	}
	if _, err := store.NewDir("", filepath.Join(parent, "two", name+".crt")); err == nil {
		t.Error("a file was accepted as a folder")
	}
}

func newDir(t *testing.T, folder string) *store.Dir {
	t.Helper()
	dir, err := store.NewDir("files", folder)
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

func fetchError(t *testing.T, dir *store.Dir, name string) error {
	t.Helper()
	bundle, err := dir.Fetch(t.Context(), store.Request{Name: name})
	if err == nil {
		t.Fatalf("%q: got %+v", name, bundle)
	}
	return err
}
