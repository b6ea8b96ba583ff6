package folder

import (
	"context"
	"errors"
	"fmt"
	"strings"
)

const (
	maxElements = 8
	maxElement  = 255 // octets of a file's name, on the file systems there are
	others      = "-_.*~+=@"
)

var errLocks = errors.New(`the keys under "locks" are for Lock alone`)

// split returns the folders of a key and its last element.
func (f *Folder) split(ctx context.Context, key string) (above []string, base string, err error) {
	elements, err := f.below(ctx, key)
	if err != nil {
		return nil, "", err
	}
	if len(elements) == 0 {
		return nil, "", errors.New("no key")
	}
	last := len(elements) - 1
	return elements[:last], elements[last], nil
}

// below returns the elements of a prefix.
func (f *Folder) below(ctx context.Context, prefix string) ([]string, error) {
	if err := ctx.Err(); err != nil {
		return nil, context.Cause(ctx)
	}
	if prefix == "" {
		return nil, nil
	}
	elements := strings.Split(prefix, "/")
	if len(elements) > maxElements {
		return nil, fmt.Errorf("a key of %d elements, of at most %d", len(elements), maxElements)
	}
	for _, element := range elements {
		if err := checkElement(element); err != nil {
			return nil, err
		}
	}
	if strings.EqualFold(elements[0], locks) {
		return nil, errLocks
	}
	return elements, nil
}

// checkElement is the last look before something becomes the name of a file.
func checkElement(element string) error {
	switch {
	case element == "":
		return errors.New("an empty element of a key")
	case len(element) > maxElement:
		return fmt.Errorf("an element of a key of %d bytes, of at most %d", len(element), maxElement)
	case element[0] == '.':
		return errors.New("an element of a key that begins with a dot")
	case strings.ContainsFunc(element, isOdd):
		return fmt.Errorf("an element of a key with other than letters, digits and %s", others)
	}
	return nil
}

func isOdd(r rune) bool {
	letter := 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z'
	return !letter && (r < '0' || r > '9') && !strings.ContainsRune(others, r)
}
