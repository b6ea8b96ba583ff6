package config

import (
	"errors"
	"strings"
)

// Brief is an error on one line, for a log: of Problems each has its place, and not the line of the file. Nil is nil.
func Brief(err error) error {
	problems, ok := errors.AsType[Problems](err)
	if !ok {
		return err
	}
	var texts []string
	for _, problem := range problems {
		texts = append(texts, problem.String())
	}
	return errors.New(strings.Join(texts, "; "))
}
