package sni

import (
	"errors"
	"fmt"
	"regexp"
	"regexp/syntax"
	"strings"
	"unicode/utf8"
)

// The time that an expression takes for a name grows with the product of both
// their lengths and no faster (Go's are automata), so bounds on the expression
// bound what a client can make us work. Its size is about the number of states,
// of which a{63} has 63.
const (
	maxRegexp  = 1000 // octets as written
	maxSize    = 1000
	maxSizeAll = 10_000 // of all in a table
)

var (
	errRegexpEmpty = errors.New("empty")
	errRegexpLong  = fmt.Errorf("longer than %d octets", maxRegexp)
	errRegexpLarge = fmt.Errorf("larger than %d states: it repeats too much", maxSize)
)

// A Regexp is a regular expression over whole names, in the syntax of [regexp].
// The zero Regexp matches nothing. Two of them are equal (by ==) only when one
// is a copy of the other.
type Regexp struct{ *expression }

type expression struct {
	text     string // as written
	anchored *regexp.Regexp
	size     int
	all      bool // matches every name, as can be seen from how it is written
}

// ParseRegexp returns the regular expression that text stands for. It is
// anchored: it must match a name from its beginning to its end. As names are in
// lower case and A-labels, text that asks for another letter is an error, and so
// is one that is too long or large to be tried on every hello.
func ParseRegexp(text string) (Regexp, error) {
	parsed, err := parseExpression(text)
	if err != nil {
		return Regexp{}, fmt.Errorf("regular expression %s: %w", quote(text), err)
	}
	return Regexp{parsed}, nil
}

func parseExpression(text string) (*expression, error) {
	switch {
	case text == "":
		return nil, errRegexpEmpty
	case len(text) > maxRegexp:
		return nil, errRegexpLong
	}
	tree, err := syntax.Parse(text, syntax.Perl)
	if err != nil {
		return nil, describeSyntax(err)
	}
	if err := checkLiterals(tree); err != nil {
		return nil, err
	}
	size := sizeOf(tree)
	if size > maxSize { // before it is compiled, which could take seconds
		return nil, errRegexpLarge
	}
	// Not of text, in which an open \Q would swallow what is put behind it.
	anchored, err := regexp.Compile(`\A(?:` + tree.String() + `)\z`)
	if err != nil {
		return nil, describeSyntax(err)
	}
	return &expression{text, anchored, size, takesAll(tree)}, nil
}

// sizeOf returns the size of tree, or no more than that it is above maxSize.
func sizeOf(tree *syntax.Regexp) int {
	size := 0
	for _, part := range tree.Sub {
		size = min(size+sizeOf(part), maxSize+1)
	}
	switch tree.Op {
	case syntax.OpLiteral:
		size = len(tree.Rune)
	case syntax.OpRepeat:
		size *= max(tree.Min, tree.Max, 1)
	default:
		size++
	}
	return min(size, maxSize+1)
}

// describeSyntax makes what regexp says about text from outside fit for an error.
func describeSyntax(err error) error {
	var cause *syntax.Error
	if errors.As(err, &cause) {
		return fmt.Errorf("%s: %s", cause.Code, quote(cause.Expr))
	}
	return err
}

// checkLiterals refuses text that is in no name.
func checkLiterals(tree *syntax.Regexp) error {
	if tree.Op == syntax.OpNoMatch || tree.Op == syntax.OpCharClass && len(tree.Rune) == 0 {
		return errNeverMatches
	}
	if tree.Op == syntax.OpLiteral {
		for _, r := range tree.Rune {
			if !inName(r, tree.Flags&syntax.FoldCase != 0) {
				return fmt.Errorf("%w: %s is in none (they are in lower case and A-labels)", errNeverMatches, quote(string(r)))
			}
		}
	}
	for _, part := range tree.Sub {
		if err := checkLiterals(part); err != nil {
			return err
		}
	}
	return nil
}

func inName(r rune, anyCase bool) bool {
	if r >= utf8.RuneSelf {
		return false
	}
	c := byte(r)
	return isLetter(c) && (anyCase || c >= 'a') || isDigit(c) || strings.IndexByte("-._", c) >= 0
}

// takesAll reports whether tree is .* or .+, whatever is written around it that
// makes no difference.
func takesAll(tree *syntax.Regexp) bool {
	switch tree.Op {
	case syntax.OpCapture:
		return takesAll(tree.Sub[0])
	case syntax.OpStar, syntax.OpPlus:
		inner := tree.Sub[0].Op
		return inner == syntax.OpAnyChar || inner == syntax.OpAnyCharNotNL || takesAll(tree.Sub[0])
	case syntax.OpConcat:
		for _, part := range tree.Sub {
			if !isAnchor(part) && !takesAll(part) {
				return false
			}
		}
		return true
	}
	return false
}

func isAnchor(tree *syntax.Regexp) bool {
	switch tree.Op {
	case syntax.OpBeginText, syntax.OpEndText, syntax.OpBeginLine, syntax.OpEndLine:
		return true
	}
	return false
}

// Match says whether name, which [Normalize] accepted, is one of the
// expression's. A client that sent none is never.
func (r Regexp) Match(name string) bool {
	return r.expression != nil && name != "" && r.anchored.MatchString(name)
}

// pattern is what a Table returns when r matched.
func (r Regexp) pattern() Pattern { return Pattern{"~" + r.text} }

// String returns the expression as ParseRegexp takes it.
func (r Regexp) String() string {
	if r.expression == nil {
		return ""
	}
	return r.text
}
