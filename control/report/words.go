package report

import (
	"fmt"
	"strconv"
	"strings"

	"hellogate/control"
)

// duration writes seconds in their two largest units.
func duration(seconds int64) string {
	if seconds < 0 {
		return "overdue"
	}
	units := []struct {
		name    string
		seconds int64
	}{{"d", 86400}, {"h", 3600}, {"m", 60}, {"s", 1}}
	for i, unit := range units {
		if seconds < unit.seconds && unit.seconds > 1 {
			continue
		}
		text := fmt.Sprintf("%d%s", seconds/unit.seconds, unit.name)
		if rest := seconds % unit.seconds; i+1 < len(units) && rest >= units[i+1].seconds {
			text += fmt.Sprintf(" %d%s", rest/units[i+1].seconds, units[i+1].name)
		}
		return text
	}
	return ""
}

// size writes bytes in units of 1024.
func size(bytes int64) string {
	value, unit := float64(bytes), 0
	for value >= 1000 && unit < 5 {
		value, unit = value/1024, unit+1
	}
	if unit == 0 {
		return fmt.Sprintf("%d B", bytes)
	}
	return fmt.Sprintf("%.1f %ciB", value, "KMGTP"[unit-1])
}

func known(count int) string {
	if count < 0 {
		return "?"
	}
	return strconv.Itoa(count)
}

func origin(cert control.Cert) string {
	text := clean(cert.Source)
	if cert.Store != "" {
		text += " from " + clean(cert.Store)
	}
	if cert.AliasOf != "" {
		text += ", for " + cert.AliasOf
	}
	return text
}

func note(cert control.Cert) string {
	var notes []string
	if cert.Withdrawn {
		notes = append(notes, "withdrawn")
	}
	if cert.LastError != "" {
		notes = append(notes, clean(cert.LastError))
	}
	return strings.Join(notes, ": ")
}

// clean escapes what is not printable ASCII: an issuer or a store's error may hold anything.
func clean(text string) string {
	for _, r := range text {
		if r < ' ' || r > '~' {
			quoted := strconv.QuoteToASCII(text)
			return quoted[1 : len(quoted)-1]
		}
	}
	return text
}
