package events

import (
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"hellogate/sni"
)

func (f Filter) takes(event Event) bool {
	if len(f.Events) > 0 && !slices.Contains(f.Events, event.Event) {
		return false
	}
	if len(f.Names) == 0 || event.Name != "" && f.matches(event.Name) {
		return true
	}
	return slices.ContainsFunc(event.Names, f.matches)
}

func (f Filter) matches(name string) bool {
	return slices.ContainsFunc(f.Names, func(pattern sni.Pattern) bool { return pattern.Match(name) })
}

// ParseFilter reads the query of a request: event and name, each a list with commas, and each as often as one likes.
func ParseFilter(query url.Values) (filter Filter, err error) {
	for key, values := range query {
		for value := range strings.SplitSeq(strings.Join(values, ","), ",") {
			switch key {
			case "event":
				err = filter.addEvent(value)
			case "name":
				err = filter.addName(value)
			default:
				err = fmt.Errorf("unknown parameter %s", quote(key, 100))
			}
			if err != nil {
				return Filter{}, err
			}
		}
	}
	return filter, nil
}

func (f *Filter) addEvent(kind string) error {
	if err := CheckKind(kind); err != nil {
		return err
	}
	f.Events = append(f.Events, kind)
	return nil
}

func (f *Filter) addName(text string) error {
	const most = 100
	if len(f.Names) == most {
		return fmt.Errorf("more than %d names", most)
	}
	pattern, err := sni.ParsePattern(text)
	if err != nil {
		return err
	}
	f.Names = append(f.Names, pattern)
	return nil
}

// CheckKind says what is wrong with the name of a kind of events.
func CheckKind(kind string) error {
	if !slices.Contains(Kinds(), kind) {
		return fmt.Errorf("event %s: %s expected", quote(kind, 40), strings.Join(Kinds(), ", "))
	}
	return nil
}

// quote makes text from outside fit for a message or a line of the log: ASCII, quoted, no longer than most bytes.
func quote(text string, most int) string {
	if len(text) > most {
		return strconv.QuoteToASCII(text[:most]) + "..."
	}
	return strconv.QuoteToASCII(text)
}
