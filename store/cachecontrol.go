package store

import (
	"net/http"
	"strconv"
	"strings"
	"time"
)

// maxSeconds is what a longer time is taken for (RFC 9111, 1.2.2).
const maxSeconds = 1 << 31

// freshness reads Cache-Control and Age as a shared cache does (RFC 9111, 4.2.1): s-maxage goes before max-age, the first
// of two alike counts, and what can't be read is passed by.
func freshness(header http.Header) Freshness {
	var fresh Freshness
	shared, private := int64(-1), int64(-1)
	for name, value := range directives(strings.Join(header.Values("Cache-Control"), ",")) {
		switch name {
		case "no-store":
			fresh.NoStore = true
		case "no-cache", "private":
			fresh.Revalidate = true
		case "s-maxage":
			shared = first(shared, value)
		case "max-age":
			private = first(private, value)
		}
	}
	age := shared
	if age < 0 {
		age = private
	}
	switch {
	case age == 0:
		fresh.Revalidate = true
	case age > 0:
		fresh.Known = true
		fresh.MaxAge = time.Duration(age-max(seconds(header.Get("Age")), 0)) * time.Second
	}
	return fresh
}

func first(had int64, value string) int64 {
	if had >= 0 {
		return had
	}
	return seconds(value)
}

// directives yields the directives of a Cache-Control value, their names in lower case, their values unquoted.
func directives(value string) func(yield func(name, value string) bool) {
	return func(yield func(name, value string) bool) {
		for value != "" {
			var directive string
			directive, value = cutDirective(value)
			name, argument, _ := strings.Cut(directive, "=")
			name = strings.ToLower(strings.TrimSpace(name))
			argument = strings.Trim(strings.TrimSpace(argument), `"`)
			if name != "" && !yield(name, argument) {
				return
			}
		}
	}
}

// cutDirective cuts value at its first comma outside of quotes.
func cutDirective(value string) (directive, rest string) {
	quoted := false
	for i := 0; i < len(value); i++ {
		switch c := value[i]; {
		case c == '\\' && quoted:
			i++
		case c == '"':
			quoted = !quoted
		case c == ',' && !quoted:
			return value[:i], value[i+1:]
		}
	}
	return value, ""
}

// seconds reads a number of seconds; -1 is no such number.
func seconds(text string) int64 {
	text = strings.TrimSpace(text)
	if text == "" || strings.Trim(text, "0123456789") != "" {
		return -1
	}
	number, err := strconv.ParseInt(text, 10, 64)
	if err != nil || number > maxSeconds {
		return maxSeconds
	}
	return number
}

// retryAfter reads Retry-After (RFC 9110, 10.2.3), in seconds or as a date. It is between 0 and MaxRetryAfter.
func retryAfter(header http.Header, now time.Time) time.Duration {
	value := header.Get("Retry-After")
	if wait := seconds(value); wait >= 0 {
		return min(time.Duration(wait)*time.Second, MaxRetryAfter)
	}
	date, err := http.ParseTime(value)
	if err != nil {
		return 0
	}
	return min(max(date.Sub(now), 0), MaxRetryAfter)
}
