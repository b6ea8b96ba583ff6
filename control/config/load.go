package config

import (
	"fmt"
	"io"
	"os"
	"reflect"
	"strings"
)

// Load reads the configuration file at path. The error is Problems when the
// file could be read and something is wrong with what it says.
func Load(path string) (*Config, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("read configuration: %w", err)
	}
	defer file.Close()
	text, err := io.ReadAll(io.LimitReader(file, maxFile+1))
	if err != nil {
		return nil, fmt.Errorf("read configuration: %w", err)
	}
	return Parse(path, text)
}

// Parse reads a configuration from the text of a file. The name of the file is
// for messages alone. The error is Problems.
func Parse(filename string, text []byte) (*Config, error) {
	if len(text) > maxFile {
		return nil, Problems{{File: filename, Message: fmt.Sprintf("larger than %s", Size(maxFile))}}
	}
	content := strings.TrimPrefix(string(text), "\uFEFF")
	d := &decoder{origin: newOrigin(filename, content), faults: newFaults()}
	root, problems := parse(d.origin, content)
	if problems != nil {
		return nil, problems.err()
	}
	config := &Config{origin: d.origin}
	config.setDefaults()
	if root != nil {
		d.value(root, setting{}, reflect.ValueOf(config).Elem())
	}
	config.complete()
	check := checker{Config: config, faults: d.faults, problems: d.problems}
	check.all()
	if err := check.problems.err(); err != nil {
		return nil, err
	}
	return config, nil
}

// readSmall reads a file of which a few kilobytes are expected. It refuses what
// is not a regular file: reading a pipe would wait, a device might never end.
func readSmall(path string) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is not a file", path)
	}
	if info.Size() > maxFile {
		return nil, fmt.Errorf("%s is larger than %s", path, Size(maxFile))
	}
	return os.ReadFile(path)
}
