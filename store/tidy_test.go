package store

import (
	"errors"
	"fmt"
	"strings"
	"testing"
)

// TestTidyHidesTheToken, also where net/http quotes a line that echoes it.
func TestTidyHidesTheToken(t *testing.T) {
	for _, token := range []string{"marker", `mar"ker`, `mar\ker\`, `"marker"`} {
		for _, format := range []string{"got %s, want 200", "malformed status %q", "%s"} {
			err := fmt.Errorf("%w: "+format, errors.ErrUnsupported, token)
			got := tidy(err, token)
			if text := got.Error(); strings.Contains(text, "mar") || !strings.Contains(text, "TOKEN") {
				t.Errorf("token %s: %s", token, text)
			}
			if !errors.Is(got, err) {
				t.Errorf("%v does not wrap %v", got, err)
			}
		}
	}
}
