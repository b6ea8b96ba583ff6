package tickets

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

// exported is the form in which keys are handed on. It is JSON, of which a version before or after this one takes what it
// knows.
type exported struct {
	File string        `json:"file"` // where the keys are from; empty: made by the process
	Keys []exportedKey `json:"keys"`
}

type exportedKey struct {
	Created time.Time `json:"created"`
	Secret  []byte    `json:"secret"`
}

// Export returns the keys for [Options].Inherited. It is as secret as they are.
func (k *Keys) Export() []byte {
	out := exported{File: k.file}
	for _, o := range k.held() {
		out.Keys = append(out.Keys, exportedKey{o.created, o.secret[:]})
	}
	text, err := json.Marshal(out)
	if err != nil { // a year beyond 9999
		return nil
	}
	return text
}

// inherit returns the keys of an export, none where they are from another source or there is no export.
func (k *Keys) inherit(export []byte, now time.Time) (keys []key, err error) {
	if len(export) == 0 {
		return nil, nil
	}
	var from exported
	if err := json.Unmarshal(export, &from); err != nil {
		// Its text may have a part of a key.
		return nil, errors.New("not what was exported")
	}
	if from.File != k.file {
		return nil, nil
	}
	if len(from.Keys) == 0 || len(from.Keys) > maxKeys {
		return nil, fmt.Errorf("%d of them, not 1 to %d", len(from.Keys), maxKeys)
	}
	for _, o := range from.Keys {
		if len(o.Secret) != keySize {
			return nil, fmt.Errorf("one has %d bytes, not %d", len(o.Secret), keySize)
		}
		keys = append(keys, key{aged(o.Created, now), [keySize]byte(o.Secret)})
	}
	return keys, nil
}

// aged is created by a clock that nobody sets: one that is set back must not make a key last longer.
func aged(created, now time.Time) time.Time {
	if created.IsZero() {
		return created
	}
	return now.Add(-max(0, now.Sub(created)))
}
