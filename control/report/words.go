package report

import (
	"fmt"
	"strconv"
	"strings"
	"time"

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

func names(count int) string { return control.Numbered(count, "name", "names") }

// openFiles writes how many there are, where that is known.
func openFiles(count int) string {
	if count < 0 {
		return "? open files"
	}
	return control.Numbered(count, "open file", "open files")
}

func origin(cert control.Cert) string {
	text := clean(cert.Source)
	if cert.Store != "" && cert.Source != sourcePinned {
		text += " from " + clean(cert.Store)
	}
	if cert.AliasOf != "" {
		text += ", for " + cert.AliasOf
	}
	return text
}

// What a control.Cert has as its source when it was put there by hand, and what is said of one that is not for everybody.
const (
	sourcePinned = "pinned"
	withoutECDSA = "clients that can't use ECDSA"
)

// age is for how long a certificate has been there.
func age(cert control.Cert) string {
	return duration(max(int64(time.Since(cert.FetchedAt)/time.Second), 0))
}

// took is how long the store needed, where one was asked.
func took(cert control.Cert) string {
	if cert.TookMS == 0 {
		return "-"
	}
	return fmt.Sprintf("%.1f ms", cert.TookMS)
}

// refetch is when the store is asked again, which of a pinned certificate it is not.
func refetch(cert control.Cert) string {
	if cert.Source == sourcePinned {
		return "-"
	}
	return duration(cert.RefetchIn)
}

// trouble is what went wrong with a name.
func trouble(cert control.Cert) string {
	var parts []string
	if cert.Withdrawn {
		parts = append(parts, "withdrawn")
	}
	if cert.Expiring {
		parts = append(parts, "about to expire, and no newer one is known")
	}
	if cert.LastError != "" {
		parts = append(parts, clean(cert.LastError))
	}
	return strings.Join(parts, ": ")
}

// note is what is worth saying of a certificate in a table.
func note(cert control.Cert) string {
	var notes []string
	if text := trouble(cert); text != "" {
		notes = append(notes, text)
	}
	if cert.AliasOf != "" {
		notes = append(notes, "alias of "+cert.AliasOf)
	}
	if cert.WithoutECDSA {
		notes = append(notes, "for "+withoutECDSA)
	}
	if len(cert.RoutedTo) > 0 {
		notes = append(notes, "routed to "+clean(strings.Join(cert.RoutedTo, " ")))
	}
	for _, remark := range cert.Remarks {
		notes = append(notes, clean(remark))
	}
	return strings.Join(notes, "; ")
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
