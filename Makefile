# Versions of the linters, run from the module cache: nothing is installed on the machine.
GOFUMPT     := mvdan.cc/gofumpt@v0.12.0
STATICCHECK := honnef.co/go/tools/cmd/staticcheck@v0.8.2
GOVULNCHECK := golang.org/x/vuln/cmd/govulncheck@v1.8.0
SHELL       := bash

FUZZTIME ?= 10s
SOAK     ?= 20m
BENCH    ?=
# End-to-end tests at once, whatever the processors: most of their time they wait.
E2E_AT_ONCE ?= 8

.DEFAULT_GOAL := help
.PHONY: help build test lint bench routebench scalebench gobench fuzz soak profile

help: ## what can be made
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):[^#]*## /  \1\t/' | expand -t 14

build: ## bin/hellogate
	go build -trimpath -o bin/hellogate ./cmd/hellogate

test: ## unit, race, fuzz-corpus and end-to-end tests; installs by apt what they need
	@bash .ci/prepare
	HELLOGATE_REQUIRE_PEERS=1 go test -race $$(go list ./... | grep -Ev '/e2e(/soak)?$$')
	HELLOGATE_REQUIRE_PEERS=1 go test -count=1 -timeout 20m -parallel $(E2E_AT_ONCE) ./e2e
	HELLOGATE_REQUIRE_PEERS=1 HELLOGATE_E2E_RACE=1 go test -count=1 -timeout 20m -parallel $(E2E_AT_ONCE) ./e2e
	HELLOGATE_REQUIRE_PEERS=1 HELLOGATE_E2E_TAGS=noepoll go test -count=1 -timeout 20m -parallel $(E2E_AT_ONCE) ./e2e
	HELLOGATE_SOAK=1m go test -count=1 -timeout 20m -v ./e2e/soak

lint: ## formatting, vet (Linux and macOS), staticcheck, known vulnerabilities
	@files=$$(go run $(GOFUMPT) -l .) && if [ -n "$$files" ]; then echo "not formatted as gofumpt does:"; echo "$$files"; exit 1; fi
	go vet ./...
	GOOS=darwin go vet ./...
	go run $(STATICCHECK) ./...
	@output=$$(go run $(GOVULNCHECK) ./... 2>&1) || { \
	  if grep -q '^govulncheck: fetching vulnerabilities' <<<"$$output"; then \
	    echo "govulncheck: its database is out of reach, not checked"; \
	  else echo "$$output"; exit 1; fi; }

bench: ## hellogate beside HAProxy, hitch and nginx, installed by apt; BENCH="-reps 1 -tests hs-ecdsa", or -h
	@bash .ci/prepare bench
	@$(MAKE) --no-print-directory build
	go run ./e2e/bench -hellogate bin/hellogate -o bin/bench.json $(BENCH)
	@$(MAKE) --no-print-directory routebench scalebench

routebench: ## the match of a name among 100,000 exact routes
	go test -run '^$$' -bench 'TableFind/(exact|conditions)' -cpu 1 ./sni
	go test -run '^$$' -bench Routes -cpu 1 ./e2e/bench

scalebench: ## the cache with 1,000,000 names: look-ups, a flood of unknown ones, a start from disk; 4 GB and some minutes
	go test -run '^$$' -bench ScaleLookup -benchtime 2000000x -cpu 1 -timeout 30m ./cache
	go test -run '^$$' -bench 'Scale(Flood|Start)' -benchtime 1x -timeout 30m ./cache

gobench: ## Go benchmarks of the hot paths
	go test -run '^$$' -bench . -skip '^BenchmarkScale' -benchmem ./...

soak: ## all kinds of load mixed for SOAK (20m), every byte checked; leaks fail it; SEED=N does the same again
	HELLOGATE_SOAK=$(SOAK) HELLOGATE_SOAK_SEED=$(SEED) go test -count=1 -timeout 0 -v ./e2e/soak

profile: build ## CPU profiles of handshakes, bulk and round trips into profiles/, and the top of each
	go run ./e2e/profile

fuzz: ## every fuzz target for FUZZTIME (10s), one after another
	@set -e; for package in $$(go list ./...); do \
	  for target in $$(go test -list '^Fuzz' $$package | grep '^Fuzz' || true); do \
	    echo "fuzz $$package $$target"; \
	    go test -run '^$$' -fuzz "^$$target\$$" -fuzztime $(FUZZTIME) -fuzzminimizetime 10x $$package; \
	  done; done
