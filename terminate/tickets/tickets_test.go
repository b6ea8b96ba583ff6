package tickets

import (
	"context"
	"fmt"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// A ticket of one process is good in another that has the same keys, and in none that has not.
func TestAcrossProcesses(t *testing.T) {
	tests := []struct {
		name          string
		first, second []string
		resumes       bool
	}{
		{"the same key", lines[:1], lines[:1], true},
		{"the same keys", lines, lines, true},
		{"it encrypts with the other's second", lines[:2], []string{lines[1], lines[0]}, true},
		{"its key is the other's last", lines[:1], []string{lines[2], lines[1], lines[0]}, true},
		{"the other lacks the first", lines[:2], lines[1:2], false},
		{"the other lacks the second", lines[:2], lines[:1], true},
		{"another key", lines[:1], lines[1:2], false},
	}
	eachVersion(t, func(t *testing.T, version uint16) {
		for _, test := range tests {
			t.Run(test.name, func(t *testing.T) {
				first := mustNew(t, Options{File: string(newKeyFile(t, test.first...))})
				second := mustNew(t, Options{File: string(newKeyFile(t, test.second...))})
				client := newClient(version)
				if client.resumes(t, first) {
					t.Fatal("resumed what never was")
				}
				if got := client.resumes(t, second); got != test.resumes {
					t.Errorf("resumed %v", got)
				}
			})
		}
		t.Run("own keys", func(t *testing.T) {
			client, first := newClient(version), mustNew(t, Options{})
			client.resumes(t, first)
			if !client.resumes(t, first) || client.resumes(t, mustNew(t, Options{})) {
				t.Error("not the process' alone")
			}
		})
	})
}

// run runs keys for the rest of a bubble.
func run(t *testing.T, keys *Keys) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	over := make(chan struct{})
	go func() {
		keys.Run(ctx)
		close(over)
	}()
	t.Cleanup(func() {
		cancel()
		<-over
	})
}

// A key encrypts for one period and opens for two more; what a client is given when it resumes is of the newest.
func TestRotation(t *testing.T) {
	tests := []struct {
		name    string
		rotate  time.Duration
		pauses  []time.Duration // between handshakes
		resumes []bool
	}{
		{"at once", time.Hour, []time.Duration{0}, []bool{true}},
		{"after a rotation", time.Hour, []time.Duration{90 * time.Minute}, []bool{true}},
		{"as late as it is sure", time.Hour, []time.Duration{2*time.Hour - 2*time.Second}, []bool{true}},
		{"too late", time.Hour, []time.Duration{3*time.Hour + 2*time.Second}, []bool{false, true}},
		{"time after time", time.Hour, []time.Duration{90 * time.Minute, 110 * time.Minute, 110 * time.Minute}, []bool{true, true, true}},
		{"by default, as late as it is sure", 0, []time.Duration{24*time.Hour - 2*time.Second}, []bool{true}},
		{"by default, too late", 0, []time.Duration{36*time.Hour + 2*time.Second}, []bool{false}},
	}
	eachVersion(t, func(t *testing.T, version uint16) {
		for _, test := range tests {
			t.Run(test.name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					keys := mustNew(t, Options{Rotate: test.rotate})
					run(t, keys)
					// Whatever the key's age.
					time.Sleep(time.Duration(version) % 7 * test.rotate / 8)
					client := newClient(version)
					client.resumes(t, keys)
					for i, pause := range test.pauses {
						time.Sleep(pause)
						if got := client.resumes(t, keys); got != test.resumes[i] {
							t.Errorf("after %v: resumed %v", test.pauses[:i+1], got)
						}
					}
				})
			})
		}
	})
}

// There are never more keys than the period makes.
func TestRotationForgets(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		keys := mustNew(t, Options{Rotate: time.Minute})
		run(t, keys)
		for range 500 {
			time.Sleep(7 * time.Second)
			if n := len(keys.held()); n > lifetimes {
				t.Fatalf("%d keys", n)
			}
		}
		if n := len(keys.held()); n != lifetimes {
			t.Errorf("%d keys", n)
		}
	})
}

// A key file that changes is taken within two seconds; one that is of no use is said once and changes nothing.
func TestReload(t *testing.T) {
	eachVersion(t, func(t *testing.T, version uint16) {
		synctest.Test(t, func(t *testing.T) {
			file, said := newKeyFile(t, lines[0]), &reports{}
			keys := mustNew(t, Options{File: string(file), Report: said.add})
			run(t, keys)
			client := newClient(version)
			client.resumes(t, keys)
			steps := []struct {
				name    string
				change  func()
				resumes bool
				report  string // part of it; "-": none
			}{
				{"nothing", func() {}, true, "-"},
				{"a key to come", func() { file.write(t, lines[0], lines[1]) }, true, ""},
				{"it encrypts", func() { file.write(t, lines[1], lines[0]) }, true, ""},
				{"the old one goes", func() { file.write(t, lines[1]) }, true, ""},
				{"a remark", func() { file.write(t, "# the second", lines[1]) }, true, "-"},
				{"another", func() { file.write(t, lines[2]) }, false, ""},
				{"opened to others", func() { _ = os.Chmod(string(file), 0o640) }, true, "mode 0640"},
				{"closed to them", func() { _ = os.Chmod(string(file), 0o600) }, true, ""},
				{"rubbish", func() { file.write(t, "rubbish") }, true, "line 1"},
				{"still rubbish", func() {}, true, "-"},
				{"no file", func() { _ = os.Remove(string(file)) }, true, "no such file"},
				{"still no file", func() {}, true, "-"},
				{"as before", func() { file.write(t, lines[2]) }, true, ""},
				{"no file again", func() { _ = os.Remove(string(file)) }, true, "no such file"},
				{"open to all", func() { file.write(t, lines[0]); _ = os.Chmod(string(file), 0o640) }, true, "mode 0640"},
				{"closed", func() { _ = os.Chmod(string(file), 0o600) }, false, ""},
			}
			for _, step := range steps {
				step.change()
				time.Sleep(3 * time.Second)
				if got := client.resumes(t, keys); got != step.resumes {
					t.Errorf("%s: resumed %v", step.name, got)
				}
				got := said.take()
				if step.report == "-" && len(got) > 0 || step.report != "-" && (len(got) != 1 || !strings.Contains(got[0], step.report) || (got[0] == "") != (step.report == "")) {
					t.Errorf("%s: reported %q", step.name, got)
				}
			}
		})
	})
}

// Keys outlive their process, where the next takes them from the same source.
func TestInherited(t *testing.T) {
	file, other := newKeyFile(t, lines[0]), newKeyFile(t, lines[0])
	tests := []struct {
		name          string
		before, after Options
		between       func()
		resumes       bool
		report        string
	}{
		{"own keys", Options{}, Options{}, nil, true, ""},
		{"with another period", Options{}, Options{Rotate: time.Minute}, nil, true, ""},
		{"own keys, then a file", Options{}, Options{File: string(file)}, nil, false, ""},
		{"a file, then own keys", Options{File: string(file)}, Options{}, nil, false, ""},
		{"a file that is read again", Options{File: string(file)}, Options{File: string(file)}, func() { file.write(t, lines[1]) }, false, ""},
		{"a file that is bad now", Options{File: string(file)}, Options{File: string(file)}, func() { file.write(t, "rubbish") }, true, "line 1"},
		{"a file that is gone", Options{File: string(file)}, Options{File: string(file)}, func() { _ = os.Remove(string(file)) }, true, "no such file"},
		{"another file with the same keys", Options{File: string(file)}, Options{File: string(other)}, nil, true, ""},
	}
	eachVersion(t, func(t *testing.T, version uint16) {
		for _, test := range tests {
			t.Run(test.name, func(t *testing.T) {
				file.write(t, lines[0])
				before := mustNew(t, test.before)
				client := newClient(version)
				client.resumes(t, before)
				if test.between != nil {
					test.between()
				}
				said := &reports{}
				test.after.Inherited, test.after.Report = before.Export(), said.add
				after := mustNew(t, test.after)
				if got := client.resumes(t, after); got != test.resumes {
					t.Errorf("resumed %v", got)
				}
				if got := strings.Join(said.take(), "|"); !strings.Contains(got, test.report) || (got == "") != (test.report == "") {
					t.Errorf("reported %q", got)
				}
			})
		}
	})
}

// Keys of another source are no help when a file can't be used.
func TestInheritedElsewhere(t *testing.T) {
	bad := newKeyFile(t, "rubbish")
	for name, before := range map[string]Options{"own keys": {}, "another file": {File: string(newKeyFile(t, lines[0]))}} {
		t.Run(name, func(t *testing.T) {
			_, err := New(Options{File: string(bad), Inherited: mustNew(t, before).Export()})
			if err == nil || !strings.Contains(err.Error(), "line 1") {
				t.Errorf("error %v", err)
			}
		})
	}
}

// Keys are no younger in the process that inherits them, and a clock that was set back does not make them so.
func TestInheritedAge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		before := mustNew(t, Options{Rotate: time.Hour})
		first := before.held()[0]
		time.Sleep(59 * time.Minute)
		after := mustNew(t, Options{Rotate: time.Hour, Inherited: before.Export()})
		run(t, after)
		if after.held()[0].secret != first.secret {
			t.Fatal("not inherited")
		}
		time.Sleep(time.Minute + 2*time.Second)
		if held := after.held(); len(held) != 2 || held[0].secret == first.secret {
			t.Errorf("%d keys, the first no other", len(held))
		}
		time.Sleep(3 * time.Hour)
		late := mustNew(t, Options{Rotate: time.Hour, Inherited: before.Export()})
		if held := late.held(); len(held) != 1 || held[0].secret == first.secret {
			t.Error("too old, and used")
		}
		now := time.Now()
		keys, err := before.inherit(before.Export(), now.Add(-100*time.Hour))
		if err != nil || keys[0].created.After(now.Add(-100*time.Hour)) {
			t.Errorf("created %v: %v", keys[0].created, err)
		}
	})
}

// What is no export is said, and no more than that.
func TestInheritedRubbish(t *testing.T) {
	const one = `{"created":"1999-12-31T00:00:00Z","secret":"c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0c2U="}`
	for name, export := range map[string]string{
		"no JSON":   "c2VjcmV0",
		"no keys":   `{"file":"","keys":[]}`,
		"short key": `{"file":"","keys":[{"created":"2026-01-01T00:00:00Z","secret":"c2VjcmV0"}]}`,
		"too many":  `{"keys":[` + strings.Repeat(one+",", maxKeys) + one + `]}`,
	} {
		t.Run(name, func(t *testing.T) {
			said := &reports{}
			keys := mustNew(t, Options{Inherited: []byte(export), Report: said.add})
			if got := said.take(); len(got) != 1 || strings.Contains(got[0], "c2Vj") || len(keys.held()) != 1 {
				t.Errorf("reported %q", got)
			}
		})
	}
}

// What can't work is an error of New.
func TestNewRefuses(t *testing.T) {
	open := newKeyFile(t, lines[0])
	if err := os.Chmod(string(open), 0o604); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name    string
		options Options
		want    string
	}{
		{"too often", Options{Rotate: time.Second}, "shortest"},
		{"backwards", Options{Rotate: -time.Hour}, "shortest"},
		{"no file", Options{File: string(open) + ".none"}, "no such file"},
		{"a folder", Options{File: t.TempDir()}, "not a regular file"},
		{"an open file", Options{File: string(open)}, "chmod 600"},
		{"an empty file", Options{File: string(newKeyFile(t))}, "holds no key"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if _, err := New(test.options); err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("error %v", err)
			}
		})
	}
}

// No way of printing keys prints one.
func TestPrinted(t *testing.T) {
	keys := mustNew(t, Options{})
	secret := keys.held()[0].secret
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%x", "%d"} {
		got := fmt.Sprintf(verb, keys)
		if got != "session ticket keys" || strings.Contains(got, fmt.Sprintf("%x", secret[:2])) {
			t.Errorf("%s: %s", verb, got)
		}
	}
}
