package config

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"

	"github.com/goccy/go-yaml/ast"
)

// decoder writes what a document says into a Config, and collects what is wrong
// with it. It goes by the yaml tags of the fields: a name, and what else is
// special about the text ("name", "auto") or about those in a list ("names"), or
// that a list may be written as one text with blanks in it ("words").
type decoder struct {
	origin   *origin
	problems Problems
	// faults are where a problem was reported, or what a misspelt key was
	// probably meant to be.
	faults faults
}

// setting is where the decoder is.
type setting struct {
	path   string // for people
	option string
}

func (s setting) key(key, option string) setting {
	return setting{path: child(s.path, key), option: option}
}

func (s setting) entry(key string) setting {
	return setting{path: child(s.path, key)}
}

func (s setting) item(i int) setting {
	return setting{path: fmt.Sprintf("%s[%d]", s.path, i), option: itemOptions[s.option]}
}

// itemOptions are the options of a list's items, by that of the list.
var itemOptions = map[string]string{"names": "exact", "hosts": "name"}

func (d *decoder) report(at place, path, message string) {
	if d.full() {
		return
	}
	d.faults.mark(path)
	d.problems = append(d.problems, d.origin.problemAt(at, path, message))
}

// full reports whether nothing more is reported, so that what it takes to say it
// can be saved too.
func (d *decoder) full() bool { return len(d.problems) >= mostProblems }

// value writes what node says to into. A null, which is what a section without
// content is, leaves the default.
func (d *decoder) value(node ast.Node, at setting, into reflect.Value) {
	if at.path != "" {
		d.origin.places[at.path] = placeOf(startOf(node))
	}
	if node.Type() == ast.NullType {
		return
	}
	if parse := textParser(into.Type(), at.option); parse != nil {
		d.scalar(node, at, into, parse)
		return
	}
	switch into.Kind() {
	case reflect.Struct:
		d.structure(node, at, into)
	case reflect.Pointer:
		element := fresh(into.Type().Elem())
		d.value(node, at, element)
		into.Set(element.Addr())
	case reflect.Slice:
		d.list(node, at, into)
	case reflect.Map:
		d.entries(node, at, into)
	default:
		panic("config: no way to read a " + into.Type().String())
	}
}

// fresh returns an addressable new value with its defaults.
func fresh(kind reflect.Type) reflect.Value {
	pointer := reflect.New(kind)
	if value, ok := pointer.Interface().(defaulter); ok {
		value.setDefaults()
	}
	return pointer.Elem()
}

func (d *decoder) scalar(node ast.Node, at setting, into reflect.Value, parse textFunc) {
	where := placeOf(startOf(node))
	text, ok := scalarText(node)
	if !ok {
		d.report(where, at.path, "want one value, got "+describe(node))
		return
	}
	value, err := parse(text, node)
	if err != nil {
		d.report(where, at.path, err.Error())
		return
	}
	into.Set(value)
}

func (d *decoder) list(node ast.Node, at setting, into reflect.Value) {
	if text, ok := scalarText(node); ok && at.option == "words" {
		into.Set(reflect.ValueOf(strings.Fields(text)))
		return
	}
	sequence, ok := node.(*ast.SequenceNode)
	if !ok {
		d.report(placeOf(startOf(node)), at.path, "want a list, got "+describe(node))
		return
	}
	into.Set(reflect.MakeSlice(into.Type(), 0, len(sequence.Values)))
	for i, item := range sequence.Values {
		element := fresh(into.Type().Elem())
		if item.Type() == ast.NullType {
			d.report(placeOf(startOf(item)), at.item(i).path, "nothing is written here")
		} else {
			d.value(item, at.item(i), element)
		}
		into.Set(reflect.Append(into, element))
	}
}

func (d *decoder) entries(node ast.Node, at setting, into reflect.Value) {
	into.Set(reflect.MakeMap(into.Type()))
	for _, pair := range d.pairs(node, at) {
		element := fresh(into.Type().Elem())
		d.pair(pair, at.entry(keyText(pair.Key)), element)
		into.SetMapIndex(reflect.ValueOf(keyText(pair.Key)), element)
	}
}

func (d *decoder) structure(node ast.Node, at setting, into reflect.Value) {
	fields := fieldsOf(into.Type())
	for _, pair := range d.pairs(node, at) {
		key := keyText(pair.Key)
		field, ok := fields[key]
		if !ok {
			d.unknown(pair, key, at, fields)
			continue
		}
		d.pair(pair, at.key(key, field.option), into.Field(field.index))
	}
}

// pair reads the value of a key. What is wrong with more than one value as a
// whole is shown at its key.
func (d *decoder) pair(pair *ast.MappingValueNode, at setting, into reflect.Value) {
	d.value(pair.Value, at, into)
	if _, single := scalarText(pair.Value); !single {
		d.origin.places[at.path] = placeOf(startOf(pair.Key))
	}
}

func (d *decoder) unknown(pair *ast.MappingValueNode, key string, at setting, fields map[string]field) {
	if d.full() {
		return
	}
	where, path := placeOf(startOf(pair.Key)), child(at.path, key)
	known := slices.Sorted(maps.Keys(fields))
	if guess := closest(key, known); guess != "" {
		d.faults.mark(child(at.path, guess))
	}
	d.report(where, path, "unknown key"+didYouMean(key, known))
}

// pairs returns the keys and values of a mapping. Of a key that is written
// twice the first counts, the others are reported.
func (d *decoder) pairs(node ast.Node, at setting) []*ast.MappingValueNode {
	var all []*ast.MappingValueNode
	switch node := node.(type) {
	case *ast.MappingNode:
		all = node.Values
	case *ast.MappingValueNode:
		all = []*ast.MappingValueNode{node}
	default:
		d.report(placeOf(startOf(node)), at.path, "want keys and values, got "+describe(node))
	}
	lines := make(map[string]int, len(all))
	return slices.DeleteFunc(slices.Clone(all), func(pair *ast.MappingValueNode) bool {
		key, where := keyText(pair.Key), placeOf(startOf(pair.Key))
		first, twice := lines[key]
		switch {
		case twice && d.full():
		case twice:
			d.report(where, child(at.path, key), fmt.Sprintf("written twice, first on line %d", first))
		default:
			lines[key] = where.line
		}
		return twice
	})
}
