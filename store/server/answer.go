package server

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"mime"
	"net/http"
	"slices"
	"strconv"
	"strings"
)

const (
	typeJSON = "application/json"
	typePEM  = "application/x-pem-file"
)

func (s *Server) answer(w http.ResponseWriter, r *http.Request, found *pair, asked question) {
	kind := typePEM
	if !asked.caddy {
		w.Header().Set("Vary", "Accept")
		kind = preferred(r.Header.Values("Accept"))
	}
	body, err := found.encode(kind)
	if err != nil {
		s.options.Log.Error().Err(err).Str("name", asked.name).Msg("certificate not served")
		refuse(w, http.StatusServiceUnavailable, "certificate not readable")
		return
	}
	tag := entityTag(body)
	w.Header().Set("ETag", tag)
	if s.options.MaxAge > 0 {
		w.Header().Set("Cache-Control", fmt.Sprintf("max-age=%d", int64(s.options.MaxAge.Seconds())))
	}
	if holdsTag(r.Header.Values("If-None-Match"), tag) {
		w.WriteHeader(http.StatusNotModified)
		return
	}
	w.Header().Set("Content-Type", kind)
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	w.Write(body) // an error is the client's, which is gone
}

func (p *pair) encode(kind string) ([]byte, error) {
	if kind == typePEM {
		return bytes.Join([][]byte{p.chain, p.key}, nil), nil
	}
	return json.Marshal(struct {
		Cert string `json:"cert"`
		Key  string `json:"key"`
	}{string(p.chain), string(p.key)})
}

// preferred returns the first of our two types that an Accept header names,
// JSON when it names neither.
func preferred(accept []string) string {
	for entry := range strings.SplitSeq(strings.Join(accept, ","), ",") {
		kind, parameters, err := mime.ParseMediaType(entry)
		if err != nil || parameters["q"] == "0" {
			continue
		}
		if kind == typeJSON || kind == typePEM {
			return kind
		}
	}
	return typeJSON
}

// entityTag is a strong tag: the body has a key in it, so the digest of it
// tells nobody who does not hold that key anything.
func entityTag(body []byte) string {
	sum := sha256.Sum256(body)
	return `"` + hex.EncodeToString(sum[:]) + `"`
}

// holdsTag is the comparison of If-None-Match (RFC 9110 section 13.1.2), which
// is weak.
func holdsTag(values []string, tag string) bool {
	entries := strings.Split(strings.Join(values, ","), ",")
	return slices.ContainsFunc(entries, func(entry string) bool {
		entry = strings.TrimPrefix(strings.TrimSpace(entry), "W/")
		return entry == tag || entry == "*"
	})
}

// refuse answers in the one shape that every error has.
func refuse(w http.ResponseWriter, status int, reason string) {
	body, err := json.Marshal(struct {
		Result string `json:"result"`
		Reason string `json:"reason"`
	}{"error", reason})
	if err != nil {
		panic(err) // two strings
	}
	w.Header().Set("Content-Type", typeJSON)
	w.WriteHeader(status)
	w.Write(append(body, '\n')) // an error is the client's, which is gone
}
