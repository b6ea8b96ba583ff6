package main

import (
	"context"
	"crypto/rand"
	"fmt"
	"os"
	"path/filepath"
)

// certificateStore is the child that hellogate fetches certificates from. One serves the whole benchmark, so that what
// it makes for the many names it makes once.
type certificateStore struct {
	*child
	address, tokenFile string
}

// startStore starts it on processors. Close it.
func startStore(ctx context.Context, folder string, processors []int) (*certificateStore, error) {
	token := rand.Text()
	s := &certificateStore{tokenFile: filepath.Join(folder, "token")}
	if err := os.WriteFile(s.tokenFile, []byte(token+"\n"), 0o600); err != nil {
		return nil, err
	}
	started, err := startChild(ctx, "store", processors)
	if err != nil {
		return nil, err
	}
	var answer listening
	if err := started.ask(storeSecrets{Token: token}, &answer); err != nil {
		started.close()
		return nil, fmt.Errorf("store: %w", err)
	}
	s.child, s.address = started, answer.Address
	return s, nil
}
