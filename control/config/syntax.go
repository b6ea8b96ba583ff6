package config

import (
	"errors"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/lexer"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"
)

// maxFile bounds a configuration file: the parser's memory is many times the
// file's size, and nobody writes 4 MB of configuration by hand.
const maxFile = 4 << 20

// parse returns the root of the one document in text, or nil when it is empty.
func parse(o *origin, text string) (ast.Node, Problems) {
	if problems := checkText(o); problems != nil {
		return nil, problems
	}
	tokens := lexer.Tokenize(text)
	if problems := checkTokens(o, tokens); problems != nil {
		return nil, problems
	}
	file, err := parseTokens(tokens)
	if err != nil {
		return nil, Problems{syntaxProblem(o, err)}
	}
	return onlyDocument(o, file)
}

// parseTokens turns a panic of the parser into an error: a strange file must
// not end a process that was asked to check it.
func parseTokens(tokens token.Tokens) (file *ast.File, err error) {
	defer func() {
		if reason := recover(); reason != nil {
			err = fmt.Errorf("the YAML parser gave up: %v", reason)
		}
	}()
	return parser.Parse(tokens, 0, parser.AllowDuplicateMapKey())
}

func syntaxProblem(o *origin, err error) Problem {
	var syntax yaml.Error
	if !errors.As(err, &syntax) {
		return o.problemAt(place{}, "", printable(err.Error()))
	}
	message := printable(syntax.GetMessage())
	if strings.Contains(message, "\t") || strings.HasPrefix(message, "tab ") {
		message = "a tab, where YAML wants spaces"
	}
	return o.problemAt(placeOf(syntax.GetToken()), "", message)
}

func onlyDocument(o *origin, file *ast.File) (ast.Node, Problems) {
	var root ast.Node
	for _, document := range file.Docs {
		switch {
		case document.Body == nil || document.Body.Type() == ast.DirectiveType:
		case root == nil:
			root = document.Body
		default:
			return nil, Problems{o.problemAt(placeOf(startOf(document.Body)), "", "a second YAML document: one file holds one")}
		}
	}
	return root, nil
}

// checkText refuses what YAML does not allow in a file and terminals show
// badly, before the parser guesses at it.
func checkText(o *origin) Problems {
	var problems Problems
	for i, line := range o.lines {
		column := 1
		for offset, r := range strings.TrimSuffix(line, "\r") {
			_, size := utf8.DecodeRuneInString(line[offset:])
			switch {
			case r == utf8.RuneError && size == 1:
				problems = append(problems, o.problemAt(place{i + 1, column}, "", "not UTF-8 text"))
			case r != '\t' && isUnsafe(r):
				message := fmt.Sprintf("the character U+%04X, which cannot be seen", r)
				problems = append(problems, o.problemAt(place{i + 1, column}, "", message))
			}
			if len(problems) >= 10 {
				return problems
			}
			column++
		}
	}
	return problems
}

// isUnsafe reports whether r changes how the text around it is shown: control
// characters, those that turn the direction of the text, and line breaks that
// only some programs take for one.
func isUnsafe(r rune) bool {
	return unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r) || r == '\u2028' || r == '\u2029'
}

// checkTokens refuses the parts of YAML that this file does not need and that
// would make its size and its meaning hard to see, and nesting deep enough to
// make the parser slow.
func checkTokens(o *origin, tokens token.Tokens) Problems {
	const deepest, widest = 32, 200
	var problems Problems
	open := 0
	for _, t := range tokens {
		switch t.Type {
		case token.SequenceStartType, token.MappingStartType:
			open++
		case token.SequenceEndType, token.MappingEndType:
			open--
		}
		nests := t.Type == token.SequenceEntryType || t.Type == token.MappingKeyType
		if open > deepest || nests && t.Position.Column > widest {
			return append(problems, o.problemAt(placeOf(t), "", "nested too deeply"))
		}
		if message := refusedTokens[t.Type]; message != "" && len(problems) < mostProblems {
			problems = append(problems, o.problemAt(placeOf(t), "", message))
		}
	}
	return problems
}

var refusedTokens = map[token.Type]string{
	token.AliasType:    `a value that begins with * needs quotes, as in "*.example.com" (YAML aliases are not supported)`,
	token.AnchorType:   "a value that begins with & needs quotes (YAML anchors are not supported)",
	token.MergeKeyType: "YAML merge keys are not supported: write the settings out",
	token.TagType:      "a value that begins with ! needs quotes (YAML tags are not supported)",
}

// startOf returns the token that a person would point at for node.
func startOf(node ast.Node) *token.Token {
	switch node := node.(type) {
	case *ast.MappingNode:
		if !node.IsFlowStyle && len(node.Values) > 0 {
			return startOf(node.Values[0])
		}
	case *ast.MappingValueNode:
		return startOf(node.Key)
	}
	return node.GetToken()
}

func placeOf(t *token.Token) place {
	if t == nil || t.Position == nil {
		return place{}
	}
	return place{t.Position.Line, t.Position.Column}
}
