# make without a target lists the targets.

SHELL       := bash
.SHELLFLAGS := -euo pipefail -c

BINARY      := pdns-distribute
VERSION     ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
STATICCHECK := honnef.co/go/tools/cmd/staticcheck@v0.8.2
FUZZTIME    ?= 1m

.PHONY: help
help: ## this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: setup
setup: ## install PowerDNS and the tools for tests and demo (Debian), where missing
	@packaging/setup.sh

.PHONY: build
build: ## build ./pdns-distribute, one static binary
	CGO_ENABLED=0 go build -trimpath -ldflags '-s -w -X main.version=$(VERSION)' -o $(BINARY) .

.PHONY: demo
demo: setup build ## see it work: primary, secondaries and broker on this machine
	./$(BINARY) demo

.PHONY: test
test: setup ## all tests, with the race detector, against real PowerDNS
	@go test -race -timeout 9m -parallel 8 -json ./... | go run ./.ci/count

.PHONY: bench
bench: setup build ## measure beside what PowerDNS does alone; takes six minutes, and wants a quiet machine
	go run ./roles/bench -program ./$(BINARY)

.PHONY: lint
lint: ## formatting, go vet, staticcheck, direction of imports
	@unformatted=$$(gofmt -l .); [ -z "$$unformatted" ] || { echo "run gofmt -w on:" $$unformatted; exit 1; }
	go vet ./... ./.ci/count
	go run $(STATICCHECK) ./... ./.ci/count
	go test -run '^TestImports' .

.PHONY: fuzz
fuzz: ## run each fuzz target for FUZZTIME (1m)
	@failed=; for package in $$(go list ./...); do \
		for target in $$(go test -list '^Fuzz' $$package | grep '^Fuzz' || true); do \
			echo "$$package $$target"; \
			go test -run '^$$' -fuzz "^$$target\$$" -fuzztime $(FUZZTIME) $$package || failed+=" $$target"; \
		done; \
	done; [ -z "$$failed" ] || { echo "failed:$$failed"; exit 1; }

.PHONY: clean
clean: ## remove what was built
	rm -f $(BINARY)
