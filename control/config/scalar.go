package config

import (
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"reflect"
	"strings"
	"time"
	"unicode"

	"github.com/goccy/go-yaml/ast"

	"hellogate/sni"
)

// textFunc reads one value from its text; node is what YAML took it for.
type textFunc func(text string, node ast.Node) (reflect.Value, error)

// textParsers read the types that are more than their kind.
var textParsers = map[reflect.Type]textFunc{
	reflect.TypeFor[Size]():          readBy(ParseSize),
	reflect.TypeFor[time.Duration](): readBy(ParseDuration),
	reflect.TypeFor[TLSVersion]():    readBy(parseTLSVersion),
	reflect.TypeFor[fs.FileMode]():   readBy(parseMode),
	reflect.TypeFor[sni.Pattern]():   readBy(sni.ParsePattern),
	reflect.TypeFor[sni.Regexp]():    readBy(sni.ParseRegexp),
	reflect.TypeFor[netip.Prefix]():  readBy(parsePrefix),
	reflect.TypeFor[Percent]():       readBy(parsePercent),
	reflect.TypeFor[Hash]():          readBy(parseHash),
	reflect.TypeFor[Bytes]():         readBy(parseBytes),
	reflect.TypeFor[TLVType]():       readBy(parseTLVType),
	reflect.TypeFor[StartTLS]():      readBy(parseStartTLS),
	reflect.TypeFor[Switch]():        readSwitch,
}

func readBy[T any](parse func(string) (T, error)) textFunc {
	return func(text string, _ ast.Node) (reflect.Value, error) {
		value, err := parse(text)
		return reflect.ValueOf(value), err
	}
}

// textParser returns what reads a value of this type, or nil for the types that
// have parts.
func textParser(kind reflect.Type, option string) textFunc {
	switch option {
	case "name":
		return readBy(parseName)
	case "exact":
		return readBy(parseExactName)
	case "auto":
		return readBy(parseAutoDuration)
	}
	if parse, ok := textParsers[kind]; ok {
		return parse
	}
	switch kind.Kind() {
	case reflect.String:
		return func(text string, node ast.Node) (reflect.Value, error) { return readText(kind, text, node) }
	case reflect.Int:
		return readCount
	case reflect.Bool:
		return readBool
	}
	return nil
}

// parseName reads the name of a host, or nothing.
func parseName(text string) (string, error) {
	if text == "" {
		return "", nil
	}
	return sni.Parse(text)
}

// parseExactName reads the name of a host where a pattern would make no sense.
func parseExactName(text string) (string, error) {
	if strings.HasPrefix(text, "*") || strings.HasPrefix(text, ".") {
		return "", fmt.Errorf("%s is a pattern: only whole names can be fetched", quote(text))
	}
	return sni.Parse(text)
}

// parseAutoDuration reads a duration in which "auto" is 0.
func parseAutoDuration(text string) (time.Duration, error) {
	if text == "auto" {
		return 0, nil
	}
	value, err := ParseDuration(text)
	if err == nil && value == 0 {
		return 0, errors.New("must be longer than 0, or auto")
	}
	return value, err
}

func readText(kind reflect.Type, text string, node ast.Node) (reflect.Value, error) {
	value := reflect.New(kind).Elem()
	if choice, ok := value.Interface().(choice); ok {
		if err := checkChoice(choice, text); err != nil {
			return value, err
		}
	} else if node.Type() == ast.BoolType {
		return value, fmt.Errorf("want text, got the truth value %s: put quotes around it", text)
	}
	if strings.ContainsFunc(text, unicode.IsControl) {
		return value, errors.New("a line break or another control character in it")
	}
	value.SetString(text)
	return value, nil
}

func readCount(text string, node ast.Node) (reflect.Value, error) {
	count, err := parseCount(text)
	if err == nil && node.Type() != ast.IntegerType {
		err = fmt.Errorf("want a whole number, got the text %s: take the quotes away", quote(text))
	}
	return reflect.ValueOf(count), err
}

func readBool(text string, node ast.Node) (reflect.Value, error) {
	value, ok := node.(*ast.BoolNode)
	if !ok {
		return reflect.Value{}, fmt.Errorf("want true or false, got %s", quote(text))
	}
	return reflect.ValueOf(value.Value), nil
}

func readSwitch(text string, node ast.Node) (reflect.Value, error) {
	value, err := readBool(text, node)
	if err != nil {
		return value, err
	}
	if value.Bool() {
		return reflect.ValueOf(SwitchOn), nil
	}
	return reflect.ValueOf(SwitchOff), nil
}

// scalarText returns the text of a single value as it was written, without its
// quotes: of a number the digits, not what YAML computes from them.
func scalarText(node ast.Node) (string, bool) {
	switch node := node.(type) {
	case *ast.StringNode:
		return node.Value, true
	case *ast.LiteralNode:
		return node.Value.Value, true
	case *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode, *ast.InfinityNode, *ast.NanNode:
		return node.GetToken().Value, true
	}
	return "", false
}

func keyText(key ast.Node) string {
	if explicit, ok := key.(*ast.MappingKeyNode); ok {
		key = explicit.Value
	}
	if text, ok := scalarText(key); ok {
		return text
	}
	return key.GetToken().Value
}

func describe(node ast.Node) string {
	switch node.(type) {
	case *ast.SequenceNode:
		return "a list"
	case *ast.MappingNode, *ast.MappingValueNode:
		return "keys and values"
	}
	return "one value"
}

// field is where in a struct the value of a key belongs.
type field struct {
	index  int
	option string
}

func fieldsOf(kind reflect.Type) map[string]field {
	fields := make(map[string]field, kind.NumField())
	for i := range kind.NumField() {
		tag, tagged := kind.Field(i).Tag.Lookup("yaml")
		if key, option, _ := strings.Cut(tag, ","); tagged && key != "-" {
			fields[key] = field{index: i, option: option}
		}
	}
	return fields
}
