package dir

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

func TestFetch(t *testing.T) {
	folder := t.TempDir()
	certtest.NewCA(t).Issue(t, name).Write(t, folder, name)
	time.Sleep(2 * tick) // what was written just now is given a validator that is never given again
	dir := open(t, folder)
	if dir.Name() != "files" {
		t.Errorf("name %q", dir.Name())
	}
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
	for _, from := range []string{"", "files"} {
		again, err := dir.Fetch(t.Context(), store.Request{Name: name, Validator: bundle.Validator, From: from})
		if err != nil || !again.NotModified || len(again.Pairs) != 0 || again.Validator != bundle.Validator {
			t.Errorf("nothing has changed: %+v, %v", again, err)
		}
	}
	other, err := dir.Fetch(t.Context(), store.Request{Name: name, Validator: bundle.Validator, From: "another"})
	if err != nil || other.NotModified {
		t.Errorf("the validator is another store's: %+v, %v", other, err)
	}
	_, err = dir.Fetch(t.Context(), store.Request{Name: "b.example"})
	if want := `store files: get "b.example": unknown name`; err == nil || err.Error() != want {
		t.Errorf("error %v, want %s", err, want)
	}
}

// TestValidatorOfFresh fetches what was written so recently that it could be written again and look the same.
func TestValidatorOfFresh(t *testing.T) {
	issued := certtest.NewCA(t).Issue(t, name)
	folder := t.TempDir()
	dir := open(t, folder)
	tried := 0
	for range 100 {
		begun := time.Now()
		issued.Write(t, folder, name)
		bundle, err := dir.Fetch(t.Context(), store.Request{Name: name})
		if err != nil {
			t.Fatal(err)
		}
		again, err := dir.Fetch(t.Context(), store.Request{Name: name, Validator: bundle.Validator})
		if err != nil {
			t.Fatal(err)
		}
		if time.Since(begun) < tick/2 {
			tried++
			if again.NotModified {
				t.Fatal("not modified, which nobody can know")
			}
		}
	}
	if tried == 0 {
		t.Skip("this machine is too slow to see it")
	}
}

func TestFailures(t *testing.T) {
	ca := certtest.NewCA(t)
	issued, other := ca.Issue(t, name), ca.Issue(t, name)
	outside := t.TempDir()
	outsideCert, _ := issued.Write(t, outside, name)
	cert := func(folder string) string { return filepath.Join(folder, name+".crt") }
	key := func(folder string) string { return filepath.Join(folder, name+".key") }
	for _, test := range []struct {
		name  string
		spoil func(t *testing.T, folder string)
		want  string
	}{
		{"no key", func(t *testing.T, folder string) { remove(t, key(folder)) }, "a.example.key: no such file"},
		{"no certificate", func(t *testing.T, folder string) { remove(t, cert(folder)) }, "a.example.crt: no such file"},
		{"half a key", func(t *testing.T, folder string) { put(t, key(folder), string(issued.Key[:100])) }, "1 of 3 PEM blocks are malformed or cut short"},
		{"half a chain", func(t *testing.T, folder string) { put(t, cert(folder), string(issued.Chain[:900])) }, "malformed or cut short"},
		{"empty certificate", func(t *testing.T, folder string) { put(t, cert(folder), "") }, "a.example.crt: empty"},
		{"empty key", func(t *testing.T, folder string) { put(t, key(folder), "") }, "a.example.key: empty"},
		{"another's key", func(t *testing.T, folder string) { put(t, key(folder), string(other.Key)) }, "the private key belongs to none"},
		{
			"key in the certificate's file", func(t *testing.T, folder string) { put(t, cert(folder), string(issued.Bundle())) },
			"a.example.crt holds a private key",
		},
		{
			"certificate in the key's file", func(t *testing.T, folder string) { put(t, key(folder), string(issued.Bundle())) },
			"a.example.key holds a certificate",
		},
		{"huge", func(t *testing.T, folder string) {
			if err := os.Truncate(cert(folder), 2<<30); err != nil {
				t.Fatal(err)
			}
		}, "a.example.crt: 2147483648 bytes: at most 262144 allowed"},
		{"a folder", func(t *testing.T, folder string) {
			remove(t, cert(folder))
			put(t, filepath.Join(cert(folder), "x"), "")
		}, "a.example.crt: not a regular file"},
		{"a pipe", func(t *testing.T, folder string) {
			remove(t, cert(folder))
			if err := syscall.Mkfifo(cert(folder), 0o600); err != nil {
				t.Fatal(err)
			}
		}, "a.example.crt: not a regular file"},
		{"a link out of it", func(t *testing.T, folder string) {
			remove(t, cert(folder))
			put(t, cert(folder), "-> "+outsideCert)
		}, "path escapes from parent"},
		{"a link up and out of it", func(t *testing.T, folder string) {
			remove(t, cert(folder))
			put(t, cert(folder), "-> ../"+filepath.Base(outside)+"/"+name+".crt")
		}, "path escapes from parent"},
		{"a link to itself", func(t *testing.T, folder string) {
			remove(t, cert(folder))
			put(t, cert(folder), "-> "+name+".crt")
		}, "a.example.crt"},
	} {
		t.Run(test.name, func(t *testing.T) {
			folder := t.TempDir()
			issued.Write(t, folder, name)
			dir := open(t, folder)
			test.spoil(t, folder)
			fails(t, dir, name, test.want)
		})
	}
}

func TestNames(t *testing.T) {
	folder := t.TempDir()
	inside := filepath.Join(folder, "inside")
	if err := os.Mkdir(inside, 0o700); err != nil {
		t.Fatal(err)
	}
	issued := certtest.NewCA(t).Issue(t, name)
	issued.Write(t, folder, name)
	issued.Write(t, inside, "")
	dir := open(t, inside)
	for _, bad := range []string{"", "..", "../" + name, "/" + name, "A.example", name + ".", "x\x00", "*.example"} {
		fails(t, dir, bad, "name")
	}
	long := strings.Repeat(strings.Repeat("a", 62)+".", 4) + "a"
	if len(long) != 253 {
		t.Fatal(len(long))
	}
	wants(t, dir, long) // a name too long for a file is a no
	for _, taken := range []string{"live", "domains", "certificates", "staging", "archive"} {
		put(t, filepath.Join(inside, taken, "x"), "")
		wants(t, dir, taken)
	}
}

func TestComesAndGoes(t *testing.T) {
	parent := t.TempDir()
	issued := certtest.NewCA(t).Issue(t, name)
	for _, folder := range []string{"one", "two"} {
		if err := os.Mkdir(filepath.Join(parent, folder), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	issued.Write(t, filepath.Join(parent, "two"), name)
	link := filepath.Join(parent, "link")
	put(t, link, "-> one")
	dir := open(t, link)
	wants(t, dir, name)
	remove(t, link)
	_, err := dir.Fetch(t.Context(), store.Request{Name: name})
	var failure *store.Failure
	if !errors.As(err, &failure) || !failure.Unreachable || errors.Is(err, store.ErrUnknown) {
		t.Errorf("the folder is gone, but not unreachable: %v", err)
	}
	put(t, link, "-> two")
	wants(t, dir, name, issued)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := dir.Fetch(ctx, store.Request{Name: name}); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	for _, bad := range []string{"none", filepath.Join("two", name+".crt")} {
		if _, err := Open(Options{Path: filepath.Join(parent, bad)}); err == nil {
			t.Errorf("%s was opened", bad)
		}
	}
	dir.Close()
	dir.Close()
	fails(t, dir, "b.example", "closed")
}

// TestValidator changes each of the files that an answer is made of, or would be made of.
func TestValidator(t *testing.T) {
	ca := certtest.NewCA(t)
	issued, other := ca.Issue(t, name), ca.Issue(t, name)
	flatFiles := pairOf(issued, name+".crt", name+".key")
	for _, test := range []struct {
		name   string
		files  files
		change func(t *testing.T, folder string)
	}{
		{"certificate", flatFiles, func(t *testing.T, folder string) { put(t, filepath.Join(folder, name+".crt"), string(issued.Chain)) }},
		{"key", flatFiles, func(t *testing.T, folder string) { put(t, filepath.Join(folder, name+".key"), string(issued.Key)) }},
		{
			"a layout that goes before", pairOf(issued, name+".cert.pem", name+".key.pem"),
			func(t *testing.T, folder string) { other.Write(t, folder, name) },
		},
		{"one more key", files{name + ".pem": string(issued.Bundle())}, func(t *testing.T, folder string) {
			put(t, filepath.Join(folder, name+".pem.rsa"), string(other.Bundle()))
		}},
		{"a file moved over with its time kept", flatFiles, func(t *testing.T, folder string) {
			path := filepath.Join(folder, name+".crt")
			info, err := os.Stat(path)
			if err != nil {
				t.Fatal(err)
			}
			put(t, path+".new", string(issued.Chain))
			if err := os.Chtimes(path+".new", info.ModTime(), info.ModTime()); err != nil {
				t.Fatal(err)
			}
			rename(t, path+".new", path)
		}},
		{"files instead of a SAN", pairOf(ca.Issue(t, name), "other.crt", "other.key"), func(t *testing.T, folder string) {
			issued.Write(t, folder, name)
		}},
		{"written over with its time and size kept", flatFiles, func(t *testing.T, folder string) {
			path := filepath.Join(folder, name+".crt")
			info, err := os.Stat(path)
			if err != nil {
				t.Fatal(err)
			}
			put(t, path, string(issued.Chain))
			if err := os.Chtimes(path, info.ModTime(), info.ModTime()); err != nil {
				t.Fatal(err)
			}
			time.Sleep(2 * tick)
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			if !native && strings.HasPrefix(test.name, "written over") {
				t.Skip("the time of a change is not known")
			}
			folder := t.TempDir()
			test.files.write(t, folder)
			time.Sleep(2 * tick)
			dir := open(t, folder)
			before, err := dir.Fetch(t.Context(), store.Request{Name: name})
			if err != nil {
				t.Fatal(err)
			}
			again, err := dir.Fetch(t.Context(), store.Request{Name: name, Validator: before.Validator})
			if err != nil || !again.NotModified {
				t.Fatalf("nothing has changed: %+v, %v", again, err)
			}
			test.change(t, folder)
			after, err := dir.Fetch(t.Context(), store.Request{Name: name, Validator: before.Validator})
			if err != nil || after.NotModified || after.Validator == before.Validator {
				t.Errorf("it has changed: %+v, %v", after, err)
			}
		})
	}
}
