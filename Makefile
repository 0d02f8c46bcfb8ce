# make without a target lists the targets.

SHELL       := bash
.SHELLFLAGS := -euo pipefail -c

BINARY      := pdns-distribute
VERSION     ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
STATICCHECK := honnef.co/go/tools/cmd/staticcheck@v0.8.2
VULN        := golang.org/x/vuln/cmd/govulncheck@v1.9.0
SBOM        := github.com/CycloneDX/cyclonedx-gomod/cmd/cyclonedx-gomod@v1.10.0
NFPM        := github.com/goreleaser/nfpm/v2/cmd/nfpm@v2.43.0
ARCH        := $(shell go env GOARCH)
FUZZTIME    ?= 1m
DURATION    ?= 10m
SEED        ?= $(shell date +%s)

.PHONY: help
help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: setup
setup: ## install PowerDNS and the tools for tests and demo (Debian), where missing
	@packaging/setup.sh

.PHONY: build
build: ## build ./pdns-distribute, one static binary
	CGO_ENABLED=0 go build -trimpath -buildvcs=false -ldflags '-s -w -X main.version=$(VERSION)' -o $(BINARY) .

# The tools run on this machine, whatever GOARCH is built for.
RELEASE     := env -u GOARCH VERSION=$(VERSION) NFPM=$(NFPM) SBOM=$(SBOM) packaging/release.sh

.PHONY: deb
deb: ## make dist/pdns-distribute_VERSION_ARCH.deb
	@$(RELEASE) deb $(ARCH)

.PHONY: rpm
rpm: ## make dist/pdns-distribute-VERSION.ARCH.rpm
	@$(RELEASE) rpm $(ARCH)

.PHONY: artifacts
artifacts:
	@$(RELEASE) all amd64 arm64

.PHONY: release
release: ## make dist/: packages, archives, SBOM and checksums for amd64 and arm64, twice in different places, and compare; takes minutes
	@NFPM=$(NFPM) SBOM=$(SBOM) packaging/reproducible.sh artifacts dist

.PHONY: demo
demo: setup build ## see it work: primary, secondaries and broker on this machine
	./$(BINARY) demo

# -count=1: a result out of Go's cache says nothing about the PowerDNS that is installed now.
# The longest first, so that they do not stand alone at the end. In the tests of the pure ones nothing runs beside anything else:
# the race detector finds nothing there, and takes ten times as long; the roles' tests use their locks under it. It also takes a
# multiple of the memory that tests measure. A pure package whose tests start a goroutine is pure no more: take it out.
# go vet is a matter of make lint.
LONG := pdns-distribute/roles/fleet pdns-distribute/broker pdns-distribute/proxy pdns-distribute/roles/installation
PURE := pdns-distribute pdns-distribute/powerdns/zone pdns-distribute/roles/checkpoint

# The tests of fleets that take nine seconds of a processor and more: together more than half of what all take. make test-heavy runs
# them, and .ci/run does. TestServedMeansServed takes more and is for make test all the same: it is the promise.
HEAVY := TestKilled TestCluster TestNewSecondaryIsGivenLess TestNoStaleAnswers TestManyZonesByManyClients TestLargeZone TestAway TestClients \
	TestScrubAmidChanges TestRotation TestLeaderIsCutOff TestTheEdgeStandsAlone TestReplicaThatLags TestBrokerWiped TestOlderInstallation \
	TestPrimaryAPISaysWrong TestChangeIsWithheld TestSyncBesideDeletions TestSOAEdit TestBrokersAreNodes TestLeaderIsStopped \
	TestChangesThatNoSerialShows TestProofFromOutside TestOneBadZone TestEmptiedPrimary TestConvertedToNSEC3 \
	TestForgedStates TestSources TestNobodyClaimsARole TestScopedKeyOfAFleet TestStoreLost TestDoctorFinds TestCheckFindsAndRepairs \
	TestDuplicateNodeIDsAndClocks TestFillByBatches TestBrokerGoesBack
empty :=
heavy := ^($(subst $(empty) $(empty),|,$(HEAVY)))$$

# Stores and databases of tests are in memory where there are 4 GB for them and programs may run there: that takes 14 % less time of
# processors. Go builds where it always does.
ROOM := $(shell free=$$(df --output=avail /dev/shm 2>/dev/null | tail -n 1); \
	[ "$${free:-0}" -lt 4194304 ] || findmnt -no OPTIONS /dev/shm | grep -q noexec || echo /dev/shm)

.PHONY: test
test test-heavy: export GOTMPDIR := $(or $(GOTMPDIR),$(TMPDIR),/tmp)
test test-heavy: export TMPDIR := $(or $(TMPDIR),$(ROOM),/tmp)
test: setup ## all tests but the heaviest, with the race detector but for pure packages, against real PowerDNS
	@{ failed=0; \
	go test -count=1 -vet=off -race -timeout 25m -p 3 -parallel 5 -skip '$(heavy)' -json $(LONG) $$(go list ./... | grep -vxF "$$(printf '%s\n' $(LONG) $(PURE))") || failed=1; \
	go test -count=1 -vet=off -json $(PURE) || failed=1; \
	go test -count=1 -vet=off -run 'Memory|^TestEarlyAnswer$$' -json ./proxy || failed=1; \
	exit $$failed; } | go run ./.ci/count

.PHONY: test-heavy
test-heavy: setup ## the heaviest tests of fleets, which make test leaves out
	@go test -count=1 -vet=off -race -timeout 25m -parallel 3 -run '$(heavy)' -json ./roles/fleet | go run ./.ci/count

# Tests of memory want the machine for themselves.
.PHONY: test-quick
test-quick: ## the tests that need no PowerDNS and little time, in about a minute, without the race detector; the others are counted as skipped
	@go test -short -vet=off -skip '^TestMemory' -p 5 -parallel 8 -json $(LONG) $$(go list ./... | grep -vxF "$$(printf '%s\n' $(LONG))") | go run ./.ci/count -quiet

.PHONY: torture
torture: setup ## 3,000 zones at once, changes beside a fill, then changes of every kind for DURATION (10m) under questions: nothing former is answered once it is said to be served
	TORTURE=$(DURATION) go test -count=1 -timeout 0 -run '^TestEarlyAnswer$$' ./proxy
	TORTURE=$(DURATION) go test -tags campaign -count=1 -timeout 0 -run '^(TestTorture|TestThousandsOfZones|TestChangesPassAFill|TestThousandByBatches)$$' -v ./roles/fleet

.PHONY: test-page
test-page: ## the page of the health role in Chromium: clicks, search, keys, dark, small, without a script; SHOTS=DIR keeps pictures
	@packaging/setup.sh browser
	go test -tags browser -count=1 -timeout 10m -v -run '^TestBrowser' ./roles/page

.PHONY: test-damage
test-damage: ## damage each file of a broker's and a secondary's store in each way, DAMAGE_ROUNDS (2) times by seed; takes half an hour
	DAMAGE_ROUNDS=$${DAMAGE_ROUNDS:-2} go test -timeout 3h -run '^TestDamagedStore$$' -v ./broker
	DAMAGE_ROUNDS=$$(( $${DAMAGE_ROUNDS:-2} * 100 )) go test -timeout 3h -run '^TestDamagedFile$$' -v ./powerdns/store
	DAMAGE_ROUNDS=1 go test -tags campaign -timeout 3h -run '^(TestBrokersAreNodes|TestDamagedCopies|TestClusterWithAFullDisk|TestClusterWithDamagedFiles)$$' -v ./roles/fleet

.PHONY: test-remedies
test-remedies: setup ## raise alarms, run what they tell an operator to run, and see them end; takes minutes
	go test -tags campaign -race -timeout 20m -v -run '^(TestRemedies|TestRemediesThatShow|TestQueueGivesNothing|TestListedAndNotServed)$$' ./roles/fleet

# VERSION is the program's own elsewhere: only one that is given on the command line is meant.
RELEASES := $(or $(PDNS),$(if $(findstring command,$(origin VERSION)),$(VERSION),4.9 5.1))

.PHONY: test-long
test-long: setup ## fleets that move in and out, ALIAS records that follow their targets, the dashboard asked of a real Prometheus, reasons of failing zones, and the whole of what tests do a part of; takes minutes
	go test -tags campaign -timeout 60m -v -run '^(TestMovingInAndOut|TestAliasesFollowTheirTarget|TestUnansweredAliases|TestReasonsOfFailingZones|TestLargeZone|TestAway|TestClients|TestPrometheus|TestNATSLines)$$' ./roles/fleet

.PHONY: test-powerdns
test-powerdns: ## tests with other releases of PowerDNS, of VERSION ("4.9 5.1", fetched from Debian) or in the folder PDNS, beside the installed one; SHORT=1 takes minutes
	@packaging/setup.sh $(if $(SHORT),,databases)
	@packaging/test-powerdns.sh $(if $(SHORT),short,all) $(RELEASES)

.PHONY: test-databases
test-databases: ## two primaries on replicated PostgreSQL and MariaDB, and on a Galera cluster; takes ten minutes
	@packaging/setup.sh databases
	go test -tags databases -timeout 40m -v -run '^TestPrimaryBesideAReplica$$|^TestPromotion$$|^TestSplit$$|^TestSecondaryBackends$$|^TestActingPrimaryIsKilled$$|^TestGalera$$' ./roles/fleet

.PHONY: man
man: ## write what is made from the source: manual pages, units, docs/commands.md, docs/settings.md, docs/metrics.md, docs/json.md, docs/openapi.json, and tables of docs/powerdns.md
	go run ./roles/reference
	go run . man > packaging/man/$(BINARY).1
	go run . man --markdown > docs/commands.md

.PHONY: bench
bench: setup build ## measure beside what PowerDNS does alone; takes six minutes, and wants a quiet machine
	go run ./roles/bench -program ./$(BINARY)

.PHONY: soak
soak: setup build ## a random workload with faults for DURATION (10m) by SEED, held against a model; FLAGS='-faults all', -h lists them
	go run ./roles/soak -program ./$(BINARY) -duration $(DURATION) -seed $(SEED) $(FLAGS)

.PHONY: lint
lint: ## formatting, go vet, staticcheck, direction of imports
	@unformatted=$$(gofmt -l .); [ -z "$$unformatted" ] || { echo "run gofmt -w on:" $$unformatted; exit 1; }
	go vet ./... ./.ci/count
	go vet -tags databases ./roles/fleet
	go vet -tags campaign ./roles/fleet ./roles/secondary
	go vet -tags matrix ./roles/fleet
	go vet -tags browser ./roles/page
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

.PHONY: vuln
vuln: ## fail on known vulnerabilities in what the program calls; say so where their database cannot be reached
	@VULN=$(VULN) packaging/vuln.sh

.PHONY: images
images: ## fail where the registry lacks an image that Dockerfile or compose.yaml names; say so where it cannot be reached
	@packaging/images.sh

.PHONY: sbom
sbom: build ## write what ./pdns-distribute is made of to pdns-distribute.cdx.json (CycloneDX)
	go run $(SBOM) bin -json -std -noserial -notimestamp -version "$(VERSION)" -output $(BINARY).cdx.json ./$(BINARY)

.PHONY: reproducible
reproducible: ## build twice in different places, and fail unless both programs are the same; takes minutes
	@packaging/reproducible.sh build $(BINARY)

.PHONY: clean
clean: ## remove what was built
	rm -rf $(BINARY) $(BINARY).cdx.json dist
