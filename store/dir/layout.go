package dir

import (
	"os"
	"path"
	"slices"
	"strings"
)

// paths are where a chain and its key are. key is empty where one file holds both, possibly several times.
type paths struct{ chain, key string }

// layout is a way to lay out the files of a name. base is the name as the files are called by it: of a wildcard, in one
// of its spellings.
type layout struct {
	paths func(l *look, base string) []paths
	// either: the same certificate may be in several places, and one of them is taken, rather than all.
	either bool
}

// The layouts, in the order in which they are looked for.
const (
	flat    = iota // NAME.crt and NAME.key
	flatPEM        // NAME.cert.pem and NAME.key.pem
	bundle         // NAME.pem with both, or HAProxy's NAME.pem.rsa and NAME.pem.ecdsa, beside or instead
	folder         // NAME/fullchain.pem and privkey.pem
	certbot        // live/NAME/fullchain.pem and privkey.pem
	modMD          // domains/NAME/pubcert.pem and privkey.pem, and pubcert.X.pem and privkey.X.pem for further keys
	caddy          // certificates/ISSUER/NAME/NAME.crt and NAME.key; the folder may be certificates itself
	lego           // certificates/NAME.crt and NAME.key
	numLayouts
)

var layouts = [numLayouts]layout{
	flat:    {paths: fixed("", ".crt", "", ".key")},
	flatPEM: {paths: fixed("", ".cert.pem", "", ".key.pem")},
	bundle:  {paths: bundlePaths},
	folder:  {paths: fixed("", "/fullchain.pem", "", "/privkey.pem")},
	certbot: {paths: fixed("live/", "/fullchain.pem", "live/", "/privkey.pem")},
	modMD:   {paths: modMDPaths},
	caddy:   {paths: caddyPaths, either: true},
	lego:    {paths: fixed("certificates/", ".crt", "certificates/", ".key")},
}

func fixed(before, after, keyBefore, keyAfter string) func(*look, string) []paths {
	return func(_ *look, base string) []paths {
		if isPart(base, after) {
			return nil
		}
		return []paths{{before + base + after, keyBefore + base + keyAfter}}
	}
}

// isPart says that base and suffix make a file of another name: lego's NAME.issuer.crt, or half of NAME.cert.pem and
// NAME.key.pem.
func isPart(base, suffix string) bool {
	switch suffix {
	case ".crt", ".key":
		return strings.HasSuffix(base, ".issuer")
	case ".pem", ".pem.rsa", ".pem.ecdsa":
		return strings.HasSuffix(base, ".cert") || strings.HasSuffix(base, ".key")
	}
	return false
}

func bundlePaths(_ *look, base string) []paths {
	if isPart(base, ".pem") {
		return nil
	}
	return []paths{{chain: base + ".pem"}, {chain: base + ".pem.rsa"}, {chain: base + ".pem.ecdsa"}}
}

func modMDPaths(l *look, base string) []paths {
	at := "domains/" + base + "/"
	found := []paths{{at + "pubcert.pem", at + "privkey.pem"}}
	for _, name := range listFew(l.root, "domains/"+base) {
		for _, prefix := range []string{"pubcert.", "privkey."} {
			suffix, further := strings.CutPrefix(name, prefix)
			both := paths{at + "pubcert." + suffix, at + "privkey." + suffix}
			if further && strings.HasSuffix(suffix, ".pem") && !slices.Contains(found, both) {
				found = append(found, both)
			}
		}
	}
	return found
}

func caddyPaths(l *look, base string) []paths {
	issuers := l.dir.issuers(l.root)
	found := make([]paths, len(issuers))
	for i, issuer := range issuers {
		at := issuer + "/" + base + "/" + base
		found[i] = paths{at + ".crt", at + ".key"}
	}
	return found
}

// wildcards are the spellings of the wildcard above parent: as it is, as lego writes it, as Caddy does.
func wildcards(parent string) []string {
	return []string{"*." + parent, "_." + parent, "wildcard_." + parent}
}

// unspell returns what base stands for: "*.parent" for any of the spellings of a wildcard.
func unspell(base string) string {
	first, parent, below := strings.Cut(base, ".")
	if below && (first == "_" || first == "wildcard_") {
		return "*." + parent
	}
	return base
}

// listFew returns the names in a folder, of those that hold only a few files.
func listFew(root *os.Root, at string) []string {
	const most = 256
	opened, err := root.Open(at)
	if err != nil {
		return nil
	}
	defer opened.Close()
	names, err := opened.Readdirnames(most)
	if err != nil {
		return nil
	}
	slices.Sort(names)
	return names
}

// subject returns what a change of the file or folder at p concerns: base is the name that its files are called by, and
// container says that it is a folder of such files or of such folders. Neither: nothing of the layouts is there.
func subject(p string) (base string, container bool) {
	parts := strings.Split(p, "/")
	for _, part := range parts {
		if part == "" || part[0] == '.' {
			return "", false
		}
	}
	switch parts[0] {
	case "live":
		return inFolder(parts, "fullchain.pem", "privkey.pem"), len(parts) == 1
	case "domains":
		return inFolder(parts, "pubcert.*pem", "privkey.*pem"), len(parts) == 1
	case "certificates":
		return inCertificates(parts), len(parts) == 1 || len(parts) == 2 && cutSuffix(parts[1], ".crt", ".key") == ""
	case "staging":
		return inFolder(parts, "pubcert.*pem"), len(parts) == 1
	case "archive":
		if len(parts) > 1 {
			return "", false
		}
	}
	return atTop(parts), false
}

func atTop(parts []string) string {
	switch {
	case len(parts) == 1:
		if base := cutSuffix(parts[0], ".cert.pem", ".key.pem", ".pem.rsa", ".pem.ecdsa", ".pem", ".crt", ".key"); base != "" {
			return base
		}
		return parts[0] // which may be NAME/
	case len(parts) == 2 && (parts[1] == "fullchain.pem" || parts[1] == "privkey.pem"):
		return parts[0]
	}
	return inIssuer(parts)
}

// inFolder returns the name of live/NAME or domains/NAME and of the files in it.
func inFolder(parts []string, files ...string) string {
	if len(parts) == 2 {
		return parts[1]
	}
	matches := func(pattern string) bool {
		matched, err := path.Match(pattern, parts[2])
		return err == nil && matched
	}
	if len(parts) == 3 && slices.ContainsFunc(files, matches) {
		return parts[1]
	}
	return ""
}

func inCertificates(parts []string) string {
	if len(parts) == 2 {
		return cutSuffix(parts[1], ".crt", ".key")
	}
	return inIssuer(parts[1:])
}

// inIssuer returns the name of ISSUER/NAME and of the pair in it.
func inIssuer(parts []string) string {
	switch {
	case len(parts) == 2:
		return parts[1]
	case len(parts) == 3 && (parts[2] == parts[1]+".crt" || parts[2] == parts[1]+".key"):
		return parts[1]
	}
	return ""
}

// cutSuffix returns file without the first of suffixes that it has, or nothing.
func cutSuffix(file string, suffixes ...string) string {
	for _, suffix := range suffixes {
		if base, found := strings.CutSuffix(file, suffix); found && !isPart(base, suffix) {
			return base
		}
	}
	return ""
}
