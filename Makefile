# ATLAS. `make help` lists the targets; README.md explains them.
SHELL   := /bin/bash
GO      ?= go
OUT     ?= out
PROFILE ?= build/profiles/atlas.yaml
CACHE   ?= $(or $(ATLAS_CACHE),$(HOME)/.cache/atlas)
BIN     := $(CACHE)/bin
BUILD   := $(BIN)/build
KIND    ?= auto
SEED    ?= 1
CUTS    ?= 20
export ATLAS_CACHE := $(CACHE)
export CGO_ENABLED := 0

GOLANGCI  := github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0
GOVULN    := golang.org/x/vuln/cmd/govulncheck@v1.8.0

.PHONY: facts sync-random bench-boot bench-sync bench-verify drill soak twin-silence services help setup build image demo demo-down test test-unit test-md test-namespace test-mixed test-faults test-vm cuts fuzz lint vuln repro clean

help: ## this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{ printf "  make %-16s %s\n", $$1, $$2 }'

build: ## compile the builder (build image, build lab, …) into the cache
	@mkdir -p $(BIN)
	@$(GO) build -trimpath -o $(BUILD) ./build

setup: build ## install what the builder and the lab need from Debian (as root; else print the list)
	@$(BUILD) setup

image: setup ## build the image for PROFILE into OUT
	@$(BUILD) image --profile $(PROFILE) --out $(OUT)

demo: image ## a site of two servers in the lab, with its dashboard's address (KIND=vm|namespace)
	@$(BUILD) demo --kind $(KIND) --out $(OUT)

demo-down: build ## end the demo and remove its disks
	@$(BUILD) lab down --dir $(CACHE)/demo

test: setup lint test-unit test-md vuln image test-namespace test-vm ## everything: lint, unit tests, the image, both labs
	@echo "make test: all parts passed"

test-unit: ## unit tests with the race detector (its long ones without it), and every third fuzz target, by SEED, for a moment
	CGO_ENABLED=1 $(GO) test -race -short -timeout 20m ./...
	$(GO) test -timeout 15m ./sentry/sync/...
	$(MAKE) --no-print-directory fuzz FUZZTIME=500x FUZZONE=3

test-md: build ## disk sets on real md arrays, in user-mode Linux
	@$(BUILD) tools >/dev/null
	ATLAS_VM_TESTS=1 ATLAS_UML=$$($(BUILD) tools) ATLAS_TEST_ROOT=$$($(BUILD) tools) ATLAS_UML_RUN="$(BUILD) tools" \
	  $(GO) test -count=1 -timeout 15m -run TestInUserModeLinux ./initsvc/storage/md

test-namespace: ## the main job in the namespace lab (root)
	ATLAS_LAB_TESTS=namespace ATLAS_OUT=$(abspath $(OUT)) $(GO) test -count=1 -timeout 30m -v ./build/lab/e2e

test-mixed: setup ## two releases in one site: a primary with Debian 12, a secondary with 13, swapped and swapped back (KIND=namespace|vm, not auto)
	@$(BUILD) image --profile build/profiles/atlas-12.yaml --out $(OUT)/12
	@$(BUILD) image --out $(OUT)
	ATLAS_LAB_TESTS=$(if $(filter vm,$(KIND)),vm,namespace) ATLAS_OUT=$(abspath $(OUT))/12 ATLAS_OTHER=$(abspath $(OUT)) $(GO) test -count=1 -timeout 120m -v -run 'TestMainJob|TestEveryService' ./build/lab/e2e

test-faults: setup ## faults planted in a site of two releases, with each of them as the primary: what is found, and that nothing breaks (namespace lab; long)
	@$(BUILD) image --profile build/profiles/atlas-12.yaml --out $(OUT)/12
	@$(BUILD) image --out $(OUT)
	ATLAS_LAB_TESTS=namespace ATLAS_OUT=$(abspath $(OUT))/12 ATLAS_OTHER=$(abspath $(OUT)) $(GO) test -count=1 -timeout 120m -v -run TestConversionFaults ./build/lab/e2e
	ATLAS_LAB_TESTS=namespace ATLAS_OUT=$(abspath $(OUT)) ATLAS_OTHER=$(abspath $(OUT))/12 $(GO) test -count=1 -timeout 120m -v -run TestConversionFaults ./build/lab/e2e

twin-silence: ## what a twin sends, listened to at the switch for ten minutes, and all its ports scanned (KIND=namespace|vm, not auto)
	ATLAS_LAB_TESTS=$(if $(filter vm,$(KIND)),vm,namespace) ATLAS_CAPTURE=600 ATLAS_LONG=1 ATLAS_OUT=$(abspath $(OUT)) $(GO) test -count=1 -timeout 90m -v -run TestTwin ./build/lab/e2e

SEED ?= 1
EDITS ?= 10000
sync-random: ## random edits while link and power are cut: both sides must be equal in the end (root; SEED, EDITS)
	SYNC_SEED=$(SEED) SYNC_EDITS=$(EDITS) $(GO) test -count=1 -timeout 60m -v -run 'TestRandomEdits$$' ./sentry/sync/engine

ROUNDS ?= 5
bench-boot: image ## boot time and memory against the same services under systemd, in the vm lab (ROUNDS boots of each, in turn)
	@$(BUILD) bench-boot --image $$(ls -t $(OUT)/atlas-*.img | head -n 1) --rounds $(ROUNDS)

WRITES ?= 200
TREES ?= 700,50000
bench-sync: image ## how fast a change reaches the other server, beside lsyncd with rsync and etckeeper with csync2, in the namespace lab (WRITES of each)
	@command -v lsyncd >/dev/null && command -v rsync >/dev/null || { apt-get update -qq && apt-get install -y --no-install-recommends lsyncd rsync >/dev/null; }
	@$(BUILD) bench-sync --image $$(ls -t $(OUT)/atlas-*.img | head -n 1) --writes $(WRITES) --trees $(TREES)

LOOKS ?= 100
bench-verify: image ## what a probe costs, beside monitoring-plugins and blackbox_exporter, in the namespace lab (LOOKS of each)
	@[ -x /usr/lib/nagios/plugins/check_pgsql ] || { apt-get update -qq && apt-get install -y --no-install-recommends monitoring-plugins-basic monitoring-plugins-standard smbclient libmariadb3 >/dev/null; }
	@$(BUILD) bench-verify --image $$(ls -t $(OUT)/atlas-*.img | head -n 1) --rounds $(LOOKS)

drill: image ## the faults of build/lab/e2e/testdata/drill planted in a running site, and a scoreboard of what is found (namespace lab; long)
	ATLAS_LAB_TESTS=namespace ATLAS_LONG=1 ATLAS_DRILL_SWAPS=15 ATLAS_OUT=$(abspath $(OUT)) $(GO) test -count=1 -timeout 180m -v -run 'TestDrill$$' ./build/lab/e2e

SOAK ?= 1h
soak: image ## no false alarm: a day in simulated time, then SOAK of clients at work and packets lost in the namespace lab
	$(GO) test -count=1 -timeout 20m -v -run 'TestSoak$$' ./sentry/site
	ATLAS_LAB_TESTS=namespace ATLAS_SOAK=$(SOAK) ATLAS_OUT=$(abspath $(OUT)) $(GO) test -count=1 -timeout 150m -v -run TestSoakUnderLoad ./build/lab/e2e

# What takes an hour without KVM; test-namespace runs the same at native speed.
SERVICES := TestEveryService|TestActiveDirectory|TestKill|TestBrokenConfiguration|TestTwinSendsNothing|TestTwinCannotBeReached

# Each commit runs another part of what breaks disks, power and updates; PART=all runs all of it.
PART     ?= $(shell echo $$(( $$(git rev-list --count HEAD 2>/dev/null || echo 0) % 3 )))
VM_0     := TestCut$$|TestDiskPulled
VM_1     := TestHolds|TestBadSlot
VM_2     := TestWizard
VM_all   := $(VM_0)|$(VM_1)|$(VM_2)

test-vm: ## the main job and services of the kernel in the vm lab (QEMU), and in turn power cuts and pulled disks, held and bad starts, or the wizard
	ATLAS_LAB_TESTS=vm ATLAS_SEED=$(SEED) ATLAS_OUT=$(abspath $(OUT)) $(GO) test -count=1 -timeout 75m -v -run 'TestMainJob|TestKernelServices|TestTwinIsSilent|$(VM_$(PART))' ./build/lab/e2e

services: image ## every service with real clients, killed, broken, swapped, and the twin listened to, in the vm lab (long)
	ATLAS_LAB_TESTS=vm ATLAS_OUT=$(abspath $(OUT)) $(GO) test -count=1 -timeout 180m -v -run '$(SERVICES)' ./build/lab/e2e

cuts: image ## power cuts at CUTS random moments of serving, booting and installing (long: an hour and more without KVM)
	ATLAS_LAB_TESTS=vm ATLAS_LONG=1 ATLAS_CUTS=$(CUTS) ATLAS_SEED=$(SEED) ATLAS_OUT=$(abspath $(OUT)) $(GO) test -count=1 -timeout 240m -v -run 'Cut|BadSlot' ./build/lab/e2e

# Counted, not timed: a fuzz run that is stopped by the clock now and then reports that as a failure.
FUZZTIME ?= 20000x
FUZZONE  ?= 1
fuzz: ## every fuzz target for FUZZTIME (one in FUZZONE of them, chosen by SEED)
	@set -e; n=$(SEED); grep -rl --include='*_test.go' '^func Fuzz' . | xargs -n1 dirname | sort -u | while read -r p; do \
	  for f in $$(cat $$p/*_test.go | sed -n 's/^func \(Fuzz[A-Za-z0-9_]*\).*/\1/p'); do \
	    n=$$((n + 1)); [ $$((n % $(FUZZONE))) = 0 ] || continue; \
	    echo "$$p $$f"; $(GO) test -run '^$$' -fuzz "^$$f\$$" -fuzztime $(FUZZTIME) -fuzzminimizetime 5x $$p >/tmp/atlas-fuzz.$$$$ || { cat /tmp/atlas-fuzz.$$$$; rm -f /tmp/atlas-fuzz.$$$$; exit 1; }; \
	    rm -f /tmp/atlas-fuzz.$$$$; \
	  done; done

$(BIN)/golangci-lint:
	@mkdir -p $(BIN)
	GOBIN=$(BIN) $(GO) install $(GOLANGCI)

$(BIN)/govulncheck:
	@mkdir -p $(BIN)
	GOBIN=$(BIN) $(GO) install $(GOVULN)

lint: $(BIN)/golangci-lint ## golangci-lint (vet, staticcheck, revive, errorlint, gofumpt, …)
	$(BIN)/golangci-lint run ./...

vuln: $(BIN)/govulncheck ## known vulnerabilities in what we call
	@if $(BIN)/govulncheck ./... >$(CACHE)/vuln.log 2>&1; then tail -n 3 $(CACHE)/vuln.log; \
	elif grep -qE 'no such host|connection refused|i/o timeout|dial tcp' $(CACHE)/vuln.log; then \
	  echo "NOT RUN: govulncheck cannot reach its database from here; run make vuln where it can"; \
	else cat $(CACHE)/vuln.log; exit 1; fi

RELEASE ?= 13
facts: setup ## ask the daemons of Debian RELEASE what they know, into sentry/convert/facts (root)
	@$(BUILD) facts --release $(RELEASE)

repro: setup ## build the image twice and compare the bytes
	@$(BUILD) repro --profile $(PROFILE)

clean: ## remove OUT
	rm -rf $(OUT)
