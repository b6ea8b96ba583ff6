package config

import (
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestParseDuration(t *testing.T) {
	const none = -1
	tests := []struct {
		text  string
		want  time.Duration
		error string
	}{
		{"5s", 5 * time.Second, ""},
		{"0", 0, ""},
		{"0s", 0, ""},
		{"1h30m", 90 * time.Minute, ""},
		{"1.5h", 90 * time.Minute, ""},
		{"250ms", 250 * time.Millisecond, ""},
		{"1d", 24 * time.Hour, ""},
		{"1d12h", 36 * time.Hour, ""},
		{"0.5d", 12 * time.Hour, ""},
		{"90d", 90 * 24 * time.Hour, ""},
		{"5", none, `"5" needs a unit, as in 5s or 5m`},
		{"-5s", none, `"-5s" is negative`},
		{"-1d", none, `"-1d" is negative`},
		{"1d-1h", none, "is not a duration"},
		{"12h1d", none, "is not a duration"},
		{"1dd", none, "is not a duration"},
		{"d", none, "is not a duration"},
		{"", none, "is not a duration"},
		{"soon", none, `"soon" is not a duration: write it as 500ms, 30s, 1h30m or 7d`},
		{"5 s", none, "is not a duration"},
		{"1e3d", none, "is not a duration"},
		{"NaNd", none, "is not a duration"},
		{"1000000d", none, "is longer than 290 years"},
		{"106751d23h59m", none, "is longer than 290 years"},
		{"99999999999h", none, "is not a duration"},
	}
	for _, test := range tests {
		got, err := ParseDuration(test.text)
		if test.error == "" && (err != nil || got != test.want) {
			t.Errorf("ParseDuration(%q) = %v, %v, want %v", test.text, got, err, test.want)
		}
		if test.error != "" && (err == nil || !strings.Contains(err.Error(), test.error)) {
			t.Errorf("ParseDuration(%q) = %v, %v, want error %q", test.text, got, err, test.error)
		}
	}
}

func TestDurationsAreNeverNegative(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.StringMatching(`[-+]?[0-9.]{0,20}d?[-+]?[0-9.]{0,20}(ns|ms|s|m|h|d)?`).Draw(t, "text")
		if got, err := ParseDuration(text); err == nil && got < 0 {
			t.Fatalf("ParseDuration(%q) = %v", text, got)
		}
	})
}

func TestDurationsRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := time.Duration(rapid.Int64Min(0).Draw(t, "nanoseconds"))
		if got, err := ParseDuration(want.String()); err != nil || got != want {
			t.Fatalf("ParseDuration(%q) = %v, %v", want, got, err)
		}
	})
}

func TestParseSize(t *testing.T) {
	tests := []struct {
		text  string
		want  Size
		error string
	}{
		{"0", 0, ""},
		{"65536", 64 << 10, ""},
		{"64k", 64 << 10, ""},
		{"64K", 64 << 10, ""},
		{"512m", 512 << 20, ""},
		{"32g", 32 << 30, ""},
		{"8589934591g", 8589934591 << 30, ""},
		{"8589934592g", 0, "larger than any memory"},
		{"99999999999999999999", 0, "larger than any memory"},
		{"-1", 0, "is not a size"},
		{"k", 0, "is not a size"},
		{"", 0, "is not a size"},
		{"64kb", 0, "is not a size"},
		{"1.5g", 0, "is not a size"},
		{"1_000", 0, "is not a size"},
	}
	for _, test := range tests {
		got, err := ParseSize(test.text)
		if test.error == "" && (err != nil || got != test.want) {
			t.Errorf("ParseSize(%q) = %d, %v, want %d", test.text, got, err, test.want)
		}
		if test.error != "" && (err == nil || !strings.Contains(err.Error(), test.error)) {
			t.Errorf("ParseSize(%q) = %d, %v, want error %q", test.text, got, err, test.error)
		}
	}
}

func TestSizesRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := Size(rapid.Int64Min(0).Draw(t, "bytes"))
		if got, err := ParseSize(want.String()); err != nil || got != want {
			t.Fatalf("ParseSize(%q) = %d, %v, want %d", want, got, err, want)
		}
	})
}

func TestClosest(t *testing.T) {
	known := []string{"address", "default_name", "log", "tls", "idle_timeout"}
	for text, want := range map[string]string{
		"adress": "address", "addres": "address", "adderss": "address", "Address": "address",
		"logs": "log", "lgo": "log", "tsl": "tls", "idle-timeout": "idle_timeout",
		"x": "", "port": "", "name": "", strings.Repeat("address", 1000): "",
	} {
		if got := closest(text, known); got != want {
			t.Errorf("closest(%q) = %q, want %q", text, got, want)
		}
	}
}
