package config

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"os/user"
	"slices"
	"strings"
)

// CheckFiles looks at what c only names: that the files and folders are there,
// can be read and hold what they should, that keys belong to their
// certificates, and that the group exists. The error is Problems, one line
// each. A command that can't be called now may be there when it is needed: of
// that it adds a warning to c.Warnings. Nothing stays open, and no key stays in
// memory.
func (c *Config) CheckFiles() error {
	files := fileChecker{origin: c.origin}
	if files.origin == nil {
		files.origin = new(origin)
	}
	for i, store := range c.Stores {
		files.store(fmt.Sprintf("stores[%d]", i), store)
	}
	files.clientAuth("tls.client_auth", c.TLS.ClientAuth)
	files.key("session_tickets.key_file", c.SessionTickets.KeyFile)
	for i, route := range c.Routes {
		files.route(fmt.Sprintf("routes[%d]", i), route)
	}
	for _, name := range c.BackendNames() {
		files.backend(child("backends", name), c.Backends[name])
	}
	files.roots("cache.alias_ca_file", c.Cache.AliasCAFile)
	files.newFolder("cache.dir", c.Cache.Dir)
	files.key("cache.dir_key_file", c.Cache.DirKeyFile)
	files.roots("permission.ca_file", c.Permission.CAFile)
	files.pair("fallback.cert_file", c.Fallback.CertFile, "fallback.key_file", c.Fallback.KeyFile)
	files.group("control.group", c.Control.Group)
	files.group("control.read_socket.group", c.Control.ReadSocket.Group)
	files.secret("control.peter_sslers.password_file", c.Control.PeterSSLers.PasswordFile)
	c.checkCommand(files.origin, "hooks.command[0]", c.Hooks.Command)
	for i, store := range c.Stores {
		if acme := store.ACME; acme != nil {
			c.checkCommand(files.origin, fmt.Sprintf("stores[%d].acme.dns01", i), acme.DNS01)
			c.checkCommand(files.origin, fmt.Sprintf("stores[%d].acme.message", i), acme.Message)
		}
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
		f.secret(path+".http.token_file", http.TokenFile)
		f.secret(path+".http.password_file", http.PasswordFile)
		f.roots(path+".http.ca_file", http.CAFile)
		f.pair(path+".http.cert_file", http.CertFile, path+".http.key_file", http.KeyFile)
	}
	if redis := store.Redis; redis != nil {
		f.secret(path+".redis.password_file", redis.PasswordFile)
		f.roots(path+".redis.ca_file", redis.CAFile)
		f.pair(path+".redis.cert_file", redis.CertFile, path+".redis.key_file", redis.KeyFile)
	}
	if acme := store.ACME; acme != nil {
		f.roots(path+".acme.ca_file", acme.CAFile)
		f.hmac(path+".acme.eab.hmac_file", acme.EAB.HMACFile)
		f.newFolder(path+".acme.storage", acme.Storage)
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

// newFolder looks at a folder that is made when it is not there.
func (f *fileChecker) newFolder(path, folder string) {
	if folder == "" {
		return
	}
	if _, err := os.Lstat(folder); !errors.Is(err, fs.ErrNotExist) {
		f.folder(path, folder)
	}
}

// checkCommand warns of a command that could not be called now.
func (c *Config) checkCommand(origin *origin, path string, command []string) {
	if len(command) == 0 {
		return
	}
	// Its own words are "exec:" and the path, which the cause may have, too.
	_, err := exec.LookPath(command[0])
	if cause, ok := errors.AsType[*exec.Error](err); ok {
		err = fmt.Errorf("%s can't be called: %w", command[0], cause.Err)
	}
	if err == nil {
		return
	}
	warning := origin.problem(path, err.Error()).String()
	if !slices.Contains(c.Warnings, warning) {
		c.Warnings = append(c.Warnings, warning)
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

func (f *fileChecker) secret(path, file string) {
	content := f.read(path, file)
	if content != nil && strings.TrimSpace(string(content)) == "" {
		f.problem(path, fmt.Errorf("%s is empty", file))
	}
}

// hmac looks at a key as CAs hand it out (RFC 8555, section 7.3.4).
func (f *fileChecker) hmac(path, file string) {
	f.key(path, file)
	content, err := readSmall(file)
	if err != nil || strings.TrimSpace(string(content)) == "" {
		return
	}
	if _, err := base64.RawURLEncoding.DecodeString(strings.TrimRight(strings.TrimSpace(string(content)), "=")); err != nil {
		f.problem(path, fmt.Errorf("%s holds no key in base64url", file)) // the error would quote it
	}
}

// key looks at a secret that is of no use once others can read it.
func (f *fileChecker) key(path, file string) {
	f.secret(path, file)
	if info, err := os.Stat(file); err == nil && info.Mode()&0o077 != 0 {
		f.problem(path, fmt.Errorf("%s has mode %04o: others can read it", file, info.Mode().Perm()))
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
	if group == "" || isDigits(group) {
		return
	}
	if _, err := user.LookupGroup(group); err != nil {
		f.problem(path, fmt.Errorf("no group is called %s", quote(group)))
	}
}
