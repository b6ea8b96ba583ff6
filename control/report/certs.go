package report

import (
	"fmt"
	"io"
	"strings"
	"time"

	"hellogate/control"
)

// CertsHead writes the heads of the columns that CertLine fills.
func CertsHead(out io.Writer) error {
	return certLine(out, "NAME", "SOURCE", "AGE", "TOOK", "RE-FETCH IN", "EXPIRES IN", "STORE", "ISSUER", "NOTE")
}

// CertLine writes one certificate of a list that may be too long to hold.
func CertLine(out io.Writer, cert control.Cert) error {
	return certLine(out, cert.Name, cert.Source, age(cert), took(cert), refetch(cert), duration(cert.ExpiresIn),
		clean(cert.Store), clean(cert.Issuer), note(cert))
}

func certLine(out io.Writer, name, source, age, took, refetch, expires, store, issuer, note string) error {
	line := fmt.Sprintf("%-40s  %-8s  %-8s  %-9s  %-11s  %-10s  %-30s  %-30s  %s",
		name, source, age, took, refetch, expires, store, issuer, note)
	_, err := fmt.Fprintln(out, strings.TrimRight(line, " "))
	return err
}

// Cert writes all that is known of a certificate.
func Cert(out io.Writer, cert control.Cert) error {
	return table(out, func(w io.Writer) {
		line := func(key, value string) { fmt.Fprintf(w, "%s\t%s\n", key, clean(value)) }
		line("name", cert.Name)
		line("names", strings.Join(cert.Names, " "))
		line("issuer", cert.Issuer)
		line("fingerprint", cert.Fingerprint)
		line("key", keys(cert))
		line("from", origin(cert))
		line(obtained(cert))
		if cert.Source != sourcePinned {
			line("re-fetch in", refetch(cert))
		}
		line("expires", cert.NotAfter.Format(time.RFC3339)+", in "+duration(cert.ExpiresIn))
		if cert.WithoutECDSA {
			line("served to", withoutECDSA)
		}
		if len(cert.RoutedTo) > 0 {
			line("routed to", strings.Join(cert.RoutedTo, " "))
		}
		if cert.ACME != nil {
			line("acme", cert.ACME.Describe(time.Now()))
		}
		for _, remark := range cert.Remarks {
			line("remark", remark)
		}
		if text := trouble(cert); text != "" {
			line("trouble", text)
		}
	})
}

// keys says what kind of key clients are served with.
func keys(cert control.Cert) string {
	if cert.SecondKeyType == "" {
		return cert.KeyType
	}
	return cert.KeyType + ", and " + cert.SecondKeyType + " for clients that can't use it"
}

// obtained says since when it is there, and how long that took where a store was asked.
func obtained(cert control.Cert) (key, value string) {
	at := cert.FetchedAt.Format(time.RFC3339)
	switch {
	case cert.Source == sourcePinned:
		return "put there", at
	case cert.TookMS == 0:
		return "fetched", at
	}
	return "fetched", at + ", in " + took(cert)
}

// Explanation writes what a client would get, then why.
func Explanation(out io.Writer, explanation control.Explanation) error {
	return table(out, func(w io.Writer) {
		fmt.Fprintf(w, "%s: %s\n\n", explanation.Name, clean(explanation.Outcome))
		for _, step := range explanation.Steps {
			fmt.Fprintf(w, "%s\t%s\n", clean(step.Step), clean(step.Result))
		}
		if cert := explanation.Cached; cert != nil {
			fmt.Fprintf(w, "certificate\t%s\n\tby %s, expires in %s\n", cert.Fingerprint, clean(cert.Issuer), duration(cert.ExpiresIn))
		}
	})
}

// Prefetched writes what became of one name.
func Prefetched(out io.Writer, result control.PrefetchResult) error {
	line := fmt.Sprintf("%-40s  %-8s  %s", result.Name, clean(result.Result), clean(result.Reason))
	_, err := fmt.Fprintln(out, strings.TrimRight(line, " "))
	return err
}

// flushedShown is how many names are listed before they are only counted.
const flushedShown = 100

// Flushed writes what was removed from the cache.
func Flushed(out io.Writer, result control.FlushResult) error {
	for _, name := range result.Flushed[:min(len(result.Flushed), flushedShown)] {
		fmt.Fprintf(out, "flushed %s\n", name)
	}
	for _, name := range result.Pinned {
		fmt.Fprintf(out, "pinned, stays: %s\n", name)
	}
	if more := len(result.Flushed) - flushedShown; more > 0 {
		fmt.Fprintf(out, "and %d more\n", more)
	}
	_, err := fmt.Fprintf(out, "%d flushed\n", len(result.Flushed))
	return err
}
