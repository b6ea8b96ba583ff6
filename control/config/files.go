package config

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"os"
	"os/user"
	"strings"
)

// CheckFiles looks at what c only names: that the files and folders are there,
// can be read and hold what they should, that keys belong to their
// certificates, and that the group exists. The error is Problems, one line
// each. Nothing stays open, and no key stays in memory.
func (c *Config) CheckFiles() error {
	files := fileChecker{origin: c.origin}
	if files.origin == nil {
		files.origin = new(origin)
	}
	for i, store := range c.Stores {
		files.store(fmt.Sprintf("stores[%d]", i), store)
	}
	files.roots("cache.alias_ca_file", c.Cache.AliasCAFile)
	files.pair("fallback.cert_file", c.Fallback.CertFile, "fallback.key_file", c.Fallback.KeyFile)
	if c.Control.Group != "" {
		files.group("control.group", c.Control.Group)
	}
	return files.problems.err()
}

type fileChecker struct {
	origin   *origin
	problems Problems
}

func (f *fileChecker) problem(path string, err error) {
	found := f.origin.problem(path, err.Error())
	found.Source = ""
	f.problems = append(f.problems, found)
}

func (f *fileChecker) store(path string, store Store) {
	if store.Dir != nil {
		f.folder(path+".dir.path", store.Dir.Path)
	}
	if http := store.HTTP; http != nil {
		f.token(path+".http.token_file", http.TokenFile)
		f.roots(path+".http.ca_file", http.CAFile)
		f.pair(path+".http.cert_file", http.CertFile, path+".http.key_file", http.KeyFile)
	}
}

func (f *fileChecker) folder(path, folder string) {
	// Opened, not only looked at: one that may not be read is of no use.
	open, err := os.Open(folder)
	if err != nil {
		f.problem(path, err)
		return
	}
	defer open.Close()
	if info, err := open.Stat(); err != nil {
		f.problem(path, err)
	} else if !info.IsDir() {
		f.problem(path, fmt.Errorf("%s is not a folder", folder))
	}
}

// read returns the content of a file; nil when it could not be read, which is
// reported, or when none is named.
func (f *fileChecker) read(path, file string) []byte {
	if file == "" {
		return nil
	}
	content, err := readSmall(file)
	if err != nil {
		f.problem(path, err)
		return nil
	}
	return content
}

func (f *fileChecker) token(path, file string) {
	content := f.read(path, file)
	if content != nil && strings.TrimSpace(string(content)) == "" {
		f.problem(path, fmt.Errorf("%s is empty", file))
	}
}

func (f *fileChecker) roots(path, file string) {
	content := f.read(path, file)
	if content != nil && !x509.NewCertPool().AppendCertsFromPEM(content) {
		f.problem(path, fmt.Errorf("%s holds no PEM certificate", file))
	}
}

func (f *fileChecker) pair(certPath, certFile, keyPath, keyFile string) {
	cert, key := f.read(certPath, certFile), f.read(keyPath, keyFile)
	if cert == nil || key == nil {
		return
	}
	if _, err := tls.X509KeyPair(cert, key); err != nil {
		f.problem(keyPath, fmt.Errorf("%s with %s: %w", keyFile, certFile, err))
	}
}

func (f *fileChecker) group(path, group string) {
	if isDigits(group) {
		return
	}
	if _, err := user.LookupGroup(group); err != nil {
		f.problem(path, fmt.Errorf("no group is called %s", quote(group)))
	}
}
