package tickets

import (
	"encoding/hex"
	"strings"
	"testing"
	"time"
)

const (
	small64  = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8gISIjJCUmJygpKissLS4v"
	smallHex = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f202122232425262728292a2b2c2d2e2f"
	large64  = small64 + "MDEyMzQ1Njc4OTo7PD0+P0BBQkNERUZHSElKS0xNTk8="
	// What they come to, by another implementation of RFC 5869. Machines that share a file rely on it.
	smallMade = "16e0f8cf2f23ad2eedd657fc0c4cb5dfc51795f6f09a2c30b1c13fa6d083e7e2"
	largeMade = "62d1969f71ccfbd8b015b2c109cfa546d249bfb629e511c95bf99994c564c814"
)

func TestParseKeys(t *testing.T) {
	tests := []struct {
		name, text string
		want       []string
		err        string
	}{
		{"base64 of 48", small64 + "\n", []string{smallMade}, ""},
		{"base64 of 80", large64, []string{largeMade}, ""},
		{"hex", smallHex, []string{smallMade}, ""},
		{"capital hex", strings.ToUpper(smallHex), []string{smallMade}, ""},
		{"in order", large64 + "\n" + small64 + "\n", []string{largeMade, smallMade}, ""},
		{"remarks and space", "# new\r\n\r\n  " + small64 + " \r\n\t\n#" + large64, []string{smallMade}, ""},
		{"nothing", "", nil, "no key"},
		{"remarks alone", "# none\n", nil, "no key"},
		{"rubbish behind a key", small64 + "\nrubbish!\n", nil, "line 2: neither"},
		{"32 bytes in hex", strings.Repeat("ab", 32), nil, "line 1: the key has 32 bytes"},
		{"80 bytes as openssl breaks the line", small64 + "\n" + large64[len(small64):], nil, "line 2: the key has 32 bytes"},
		{"two keys in a line", small64 + " " + small64, nil, "line 1: neither"},
		{"too many", strings.Repeat(small64+"\n", maxKeys+1), nil, "more than 16"},
		{"too large", strings.Repeat("#", maxFile+1), nil, "larger"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			keys, err := parseKeys([]byte(test.text))
			if test.err != "" {
				if err == nil || !strings.Contains(err.Error(), test.err) {
					t.Errorf("error %v", err)
				}
				return
			}
			var got []string
			for _, k := range keys {
				got = append(got, hex.EncodeToString(k.secret[:]))
			}
			if err != nil || strings.Join(got, " ") != strings.Join(test.want, " ") {
				t.Errorf("%v, %v", got, err)
			}
		})
	}
}

func FuzzParseKeys(f *testing.F) {
	for _, text := range []string{"", small64, smallHex + "\n#\n" + large64, "rubbish", small64[:63] + "\x00"} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		keys, err := parseKeys(text)
		if (err == nil) != (len(keys) > 0) || len(keys) > maxKeys {
			t.Fatalf("%d keys, %v", len(keys), err)
		}
		if err != nil && len(err.Error()) > 100 {
			t.Fatalf("the error repeats the file: %v", err)
		}
		for _, k := range keys {
			if k.secret == [keySize]byte{} {
				t.Fatal("an empty key")
			}
		}
	})
}

func FuzzInherit(f *testing.F) {
	own := &Keys{rotate: time.Hour}
	own.turn(time.Now())
	f.Add(own.Export())
	f.Add([]byte(`{"keys":[{"created":"9999-01-01T00:00:00Z","secret":""}]}`))
	f.Fuzz(func(t *testing.T, export []byte) {
		now := time.Now()
		keys, err := own.inherit(export, now)
		if err != nil && keys != nil || len(keys) > maxKeys {
			t.Fatalf("%d keys, %v", len(keys), err)
		}
		for _, k := range keys {
			if k.created.After(now) {
				t.Fatalf("created %v", k.created)
			}
		}
	})
}
