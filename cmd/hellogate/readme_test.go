package main

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"hellogate/control/config"
)

var yamlBlock = regexp.MustCompile("(?s)```yaml\n(.*?)```")

// The configurations that the README shows are good ones.
func TestREADMEConfigurations(t *testing.T) {
	text, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	blocks := yamlBlock.FindAllSubmatch(text, -1)
	if len(blocks) < 2 {
		t.Fatalf("%d configurations", len(blocks))
	}
	for _, block := range blocks {
		if _, err := config.Parse("README.md", completed(block[1])); err != nil {
			t.Errorf("%v in\n%s", err, block[1])
		}
	}
	// The second shows every key: what it leaves out, or shows another default of, would be found here.
	all := string(blocks[1][1])
	for _, key := range []string{"listeners", "limits", "tls", "stores", "breaker", "cache", "lookups", "permission", "prefetch", "hooks", "fallback", "backends", "routes", "control", "log"} {
		if !strings.Contains("\n"+all, "\n"+key+":") {
			t.Errorf("no %s", key)
		}
	}
}

// completed is a configuration of which the README shows a part, with what it takes to be one.
func completed(part []byte) []byte {
	whole := "\n" + string(part)
	for _, section := range []struct{ key, text string }{
		{"listeners", `[{address: ":443"}]`},
		{"stores", `[{dir: {path: /etc/hellogate/certs}}]`},
		{"backends", `{main: {servers: [{address: "127.0.0.1:9000"}]}}`},
	} {
		if !strings.Contains(whole, "\n"+section.key+":") {
			whole += section.key + ": " + section.text + "\n"
		}
	}
	return []byte(whole)
}

// Every command is mentioned.
func TestREADMECommands(t *testing.T) {
	text, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, command := range newApp(nil, nil).Commands {
		if !strings.Contains(string(text), command.Name) {
			t.Errorf("no %s", command.Name)
		}
	}
}
