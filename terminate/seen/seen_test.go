package seen

import (
	"os"
	"path/filepath"
	"testing"
	"time"
)

func TestSame(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	at := time.Now().Add(-time.Hour)
	write := func(path, text string) {
		t.Helper()
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(path, at, at); err != nil {
			t.Fatal(err)
		}
	}
	look := func() Files {
		t.Helper()
		files, err := Look(file, "")
		if err != nil {
			t.Fatal(err)
		}
		return files
	}
	write(file, "one")
	before := look()
	for _, test := range []struct {
		name   string
		change func()
		same   bool
	}{
		{"untouched", func() {}, true},
		{"another size", func() { write(file, "other") }, false},
		{"back as it was", func() { write(file, "one") }, true},
		{"another time", func() { os.Chtimes(file, at, at.Add(time.Second)) }, false},
		{"another mode", func() { write(file, "one"); os.Chmod(file, 0o400) }, false},
		{"another file", func() { write(file+".new", "two"); os.Rename(file+".new", file) }, false},
	} {
		test.change()
		if got := before.Same(look()); got != test.same {
			t.Errorf("%s: same: %t", test.name, got)
		}
	}
	if Files(nil).Same(Files{}) || Files(nil).Same(nil) {
		t.Error("what was never looked at is the same as something")
	}
	if none, err := Look(""); err != nil || !none.Same(Files{}) {
		t.Errorf("no files are not the same as none: %v", err)
	}
	os.Remove(file)
	if files, err := Look(file); err == nil || files != nil {
		t.Errorf("a file that is not there: %v, %v", files, err)
	}
}
