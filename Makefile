# kubectl rotate-certs. "make help" lists what there is; "make demo" shows it.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.NOTPARALLEL:
MAKEFLAGS += --no-print-directory

# The version: a git tag on this commit, else what the sources work towards.
VERSION ?= $(or $(shell git describe --tags --exact-match --match 'v*' 2>/dev/null),$(shell sed -n 's/.*Version = "\(.*\)"/\1/p' pkg/version/version.go))
COMMIT  := $(shell git describe --always --dirty --match '' 2>/dev/null)

# Go refuses to build in a checkout that git distrusts unless it may ignore git.
# Without the paths of this checkout in what is compiled, another checkout of it is compiled once.
export GOFLAGS := $(strip $(GOFLAGS) -trimpath -buildvcs=false)

# For e2e: which tests (all), and whether their cluster stays (no).
export RUN KEEP_LAB

CONTROL_PLANES ?= 3
WORKERS        ?= 1
RATE           ?= 20

# For lab-up: what the cluster is like, and its minor version of Kubernetes, which is built once.
TOPOLOGY   ?= kubeadm
KUBERNETES ?=
FORM.kubeadm :=
FORM.systemd := --topology systemd
FORM.external-etcd := --etcd-hosts 3 --etcd-layout kubespray
ifeq ($(origin FORM.$(TOPOLOGY)),undefined)
$(error TOPOLOGY=$(TOPOLOGY): use kubeadm, systemd or external-etcd)
endif
FORM = $(FORM.$(TOPOLOGY)) $(if $(KUBERNETES),--kubernetes $(KUBERNETES))

# For soak: how many power cuts, and how many kills of the watcher and of NATS each, at
# moments that the seed decides.
CUTS  ?= 20
KILLS ?= 20
SEED  ?= $(shell echo $$RANDOM)

STAMP    := github.com/rotate-certs/rotate-certs/pkg/version
GO_BUILD := CGO_ENABLED=0 go build -trimpath -ldflags '-s -w -X $(STAMP).Version=$(VERSION) -X $(STAMP).GitCommit=$(COMMIT)'
RELEASE  := go -C test/tools/release run .
LAB      := bin/lab
IMAGES   := rotate-certs-node rotate-certs-watcher
E2E       = SKIP='TestUpgrade|TestSystemd|TestKubespray|TestRecover|AfterARecovery|$(if $(RUN),TestShape|TestRescue,$(ON_SMALL))' test/tools/e2e e2e --control-planes $(CONTROL_PLANES) --workers $(WORKERS) --config test/e2e/cluster.yaml

PROGRAMS       := kubectl-rotate_certs kubectl_complete-rotate_certs rotate-certs-node rotate-certs-watcher

# The Go modules that are checked; those below test/lab/build are programs of others.
MODULES := . test/browser test/corpus test/lab test/monitoring test/tools/demosvg test/tools/release

# For fuzz: how many inputs each target gets, and those of which packages. pkg/cluster/kube's take minutes
# to build for fuzzing, so only soak runs them; its seeds are among the unit tests.
FUZZTIME      ?= 2000x
FUZZ_PACKAGES ?= ./pkg/certs ./pkg/node/issue ./pkg/node/statedir ./pkg/node/layout ./pkg/policy/rotationpolicy ./pkg/node/store

##@ Try it
.PHONY: demo
demo: build image $(LAB) ## Install, build, boot a cluster, rotate etcd's certificates (root, Debian)
	@test/demo $(CONTROL_PLANES) $(WORKERS)

.PHONY: demo-svg
demo-svg: build image $(LAB) ## Record the rotation of "make demo" and draw it as docs/demo.svg (root, Debian)
	@go -C test/tools/demosvg build -o $(CURDIR)/bin/demosvg .
	@RECORDING=bin/demo.cast test/demo $(CONTROL_PLANES) $(WORKERS)
	@bin/demosvg draw <bin/demo.cast >bin/demo.svg
	@cp bin/demo.svg docs/demo.svg

.PHONY: screenshots
screenshots: build image $(LAB) ## Draw the pages of the dashboard on two clusters: all into bin/screenshots, those of README.md into docs/ (root, Debian)
	@test/tools/browser screenshots

.PHONY: lab-up
lab-up: $(LAB) ## Boot a real cluster: CONTROL_PLANES=3 WORKERS=1 TOPOLOGY=kubeadm|systemd|external-etcd KUBERNETES=1.37 (root, Debian)
	@$(LAB) up --control-planes $(CONTROL_PLANES) --workers $(WORKERS) $(FORM)

.PHONY: lab-down
lab-down: $(LAB) ## Remove that cluster without a trace
	@$(LAB) down

##@ Build
.PHONY: build
build: ## Build the programs into bin/
	@mkdir -p bin
	@$(GO_BUILD) -o bin/ $(PROGRAMS:%=./cmd/%)
	@echo "$(VERSION): $(PROGRAMS:%=bin/%)"

.PHONY: image
image: ## Write the images for linux/amd64 and linux/arm64 to dist/ (no Docker)
	@for image in $(IMAGES); do $(RELEASE) image -version $(VERSION) -o dist/$$image.tar $$image; done

.PHONY: dist
dist: ## Write the archives of plugin and node program to dist/, and krew-manifest.yaml with their sums
	@$(RELEASE) dist -version $(VERSION) -o dist -manifest krew-manifest.yaml

.PHONY: notices
notices: ## Write the licences of all that is linked into the programs to dist/THIRD-PARTY-NOTICES; archives and images hold them
	@$(RELEASE) notices -version $(VERSION) -o dist/THIRD-PARTY-NOTICES $(PROGRAMS)

.PHONY: generate
generate: ## Write what follows from the API types and manifests: CustomResourceDefinitions, deep copies, the watcher's roles, the kustomize base
	@"$$(test/tools/build controller-gen)/controller-gen" object crd paths=./pkg/api/v1alpha1 output:crd:dir=deploy/chart/crds
	@UPDATE=1 go test -count=1 -run TestGeneratedRotateRole ./plugin/manifests
	@UPDATE=1 go test -count=1 -run TestGeneratedKustomizeBase ./plugin/manifests # with the roles

# Where tests write their files: in memory where that is possible.
IN_MEMORY = GOTMPDIR= TMPDIR=$$(test/tools/testdir)

##@ Check
.PHONY: test
test: ## Everything: the checks below, then those on clusters, as root on Linux
	@targets="fmt lint unit fuzz packaging"; ! test/tools/e2e possible 2>/dev/null || targets="$$targets programs e2e e2e-small"; took=; \
	for target in $$targets; do began=$$SECONDS; $(MAKE) $$target MADE=yes; took="$$took $$target $$((SECONDS - began)),"; done; \
	echo "seconds:$$took in all $$SECONDS"; test/tools/e2e possible || true

.PHONY: fmt
fmt: ## Fail where gofmt would change something
	@unformatted=$$(gofmt -l .); [ -z "$$unformatted" ] || { echo "run gofmt -w on:" $$unformatted; exit 1; }
	@echo "gofmt: ok"

.PHONY: vet
vet: ## go vet, on every module; lint does the same and more
	@for module in $(MODULES); do go -C $$module vet -tags e2e ./...; done
	@echo "vet: ok"

.PHONY: lint
lint: ## golangci-lint, on every module
	@tools=$$(test/tools/build golangci-lint); for module in $(MODULES); do \
		(cd $$module && "$$tools/golangci-lint" run --config $(CURDIR)/.golangci.yml); done

.PHONY: unit
unit: ## Unit and plugin tests with the race detector, on every module but packaging
	@test/tools/need gcc
	@$(IN_MEMORY) GORACE=atexit_sleep_ms=0 go test -vet=off -race -timeout 20m ./... # programs that tests start would wait a second each when they end
	@$(IN_MEMORY) GORACE=atexit_sleep_ms=0 go -C test/lab test -vet=off -race ./...
	@go -C test/corpus test -vet=off ./...
	@go -C test/tools/demosvg test -vet=off ./...
	@go -C test/monitoring test -vet=off -count=1 ./... # it reads files that are not of its module

.PHONY: fuzz
fuzz: ## Fuzz what parses a node's files, a little each: FUZZTIME=2000x
	@test/tools/fuzz $(FUZZTIME) $(FUZZ_PACKAGES)

.PHONY: packaging
packaging: ## Make what is published and install it as users do, with krew
	@go -C test/tools/release test -count=1 -timeout 30m ./...

# What runs on clusters. "make test" makes it once, and says so by MADE.
.PHONY: programs
programs: build image $(LAB)
READY := $(if $(MADE),,programs)

.PHONY: e2e
e2e: $(READY) ## End-to-end tests on a real cluster; RUN=TestName for some, KEEP_LAB=yes to keep it
	@$(E2E)

# Without RUN a test is where it shows something: on the large cluster, with three control
# planes, what needs several; on a small one, where it takes less, what one node shows. What
# may depend on a cluster's form is on the odd one. Some that take a second are on two of them.
ON_ODD := TestAgents|TestBadInput|TestCheckChanges|TestCheckWithin|TestDocumentedPermissions|TestKilledPluginIsContinued|TestKubeProxy|TestNoPrivateKey|TestNotifyOnly|TestPolicy|TestRescue|TestRollback|TestRotateOneService|TestValidity
ON_SHAPES := TestADeleted|TestASigner|TestCheckOverSSH|TestDashboard|TestDryRuns|TestHistory|TestRotateOverSSH|TestSecondRotation|TestShape
ON_SMALL := $(ON_ODD)|$(ON_SHAPES)
ODD_LAB := test/tools/e2e odd --control-planes 1 --workers 1 --load-balancer=false --node-prefix odd. --config test/e2e/odd.yaml
ODD := RUN='$(or $(RUN),$(ON_ODD)|TestCheckSees|TestNewClient)' $(ODD_LAB)
.PHONY: e2e-odd
e2e-odd: $(READY) ## Those about certificates, on a cluster of other directories, keys and names
	@$(ODD)

SHAPES := RUN='$(or $(RUN),$(ON_SHAPES)|TestRotateOneService/kubelet)' test/tools/e2e shapes --control-planes 1 --workers 1 --etcd-hosts 1 --load-balancer=false \
	--config test/e2e/shapes.yaml
.PHONY: e2e-shapes
e2e-shapes: $(READY) ## Those about clusters as people have them, etcd outside, keys and files with several users; and what any small one shows
	@$(SHAPES)

# The clusters of these two are not among those of "make test".
SMALL := --control-planes 1 --workers 1 --load-balancer=false
ON_SYSTEMD := TestCheckChanges|TestCheckSees|TestCheckOverSSH|TestRotateAll|TestRotateOverSSH|TestSystemd|TestRecover
.PHONY: e2e-systemd
e2e-systemd: $(READY) ## Rotations on a cluster without kubeadm, whose components are all systemd units; part of soak
	@RUN='$(or $(RUN),$(ON_SYSTEMD))' test/tools/e2e systemd $(SMALL) $(FORM.systemd)

.PHONY: e2e-etcd
e2e-etcd: $(READY) ## Rotations where etcd is on three hosts of its own, in kubespray's layout; part of soak
	@RUN='$(or $(RUN),TestKubespray|TestRecover)' test/tools/e2e etcd $(SMALL) $(FORM.external-etcd)

.PHONY: e2e-recover
e2e-recover: $(READY) ## A cluster of which every certificate has expired is brought back over ssh; part of soak
	@RUN='$(or $(RUN),TestRecover|AfterARecovery)' test/tools/e2e recover --control-planes 3 --workers 1 --config test/e2e/cluster.yaml

VERSIONS  := 1.34 1.35 1.36 1.37
ON_MATRIX := TestCheckSees|TestComponent|TestNewClient|TestRotateAll|TestRotateOneService
.PHONY: matrix
matrix: build image $(LAB) ## Rotations on each version of Kubernetes that is supported, before a release; ten minutes more for each when it is built first
	@failed=; for version in $(VERSIONS); do RUN='$(or $(RUN),$(ON_MATRIX))' test/tools/e2e "matrix-$${version/./-}" $(SMALL) --kubernetes $$version \
		|| failed="$$failed $$version"; done; [ -z "$$failed" ] || { echo "failed on: $$failed"; exit 1; }

# What upgrades start from.
OLDER ?= c50b14e15726
.PHONY: e2e-upgrade
e2e-upgrade: $(READY) ## Upgrade an installation of an earlier commit, which is built for it, to this one
	@older=$$(test/tools/older $(OLDER) v0.0.9); OLDER=$$older MORE_IMAGES="$$older/dist/rotate-certs-node.tar $$older/dist/rotate-certs-watcher.tar" RUN=TestUpgrade $(ODD_LAB)

# Two small clusters are no more work for a machine than the one of e2e.
.PHONY: e2e-small
e2e-small: $(READY) ## e2e-odd and e2e-shapes, side by side
	@setsid bash -c "$(SHAPES)" >bin/e2e-shapes.log 2>&1 & shapes=$$!; trap 'kill -- -$$shapes 2>/dev/null || true' EXIT; failed=; \
		{ $(ODD); } || failed=odd; wait $$shapes || failed="$$failed shapes"; \
		cat bin/e2e-shapes.log; [ -z "$$failed" ] || { echo "failed on: $$failed"; exit 1; }

.PHONY: bench
bench: build image $(LAB) ## Measure beside kubeadm's documented procedure, print tables, fail on a missed aim; RATE=20 requests of each client a second (root, Debian)
	@test/tools/bench $(CONTROL_PLANES) $(WORKERS) $(RATE)

.PHONY: bench-older
bench-older: build image $(LAB) ## Measure rotations by the programs of an earlier commit and by these in turn, on one cluster: OLDER=commit RATE=20 (root, Debian)
	@test/tools/bench-older $(OLDER) $(RATE)

.PHONY: standin
standin: ## Rotate by a distribution's command, with stand-ins for RKE2, K3s and MicroK8s below the real systemd, and Docker containers by the real Docker (root, Debian); part of soak
	@test/tools/need systemd-container curl
	@STANDIN=yes go test -vet=off -count=1 -v ./test/standin

.PHONY: browser
browser: $(READY) ## Drive the dashboard in Chromium on two clusters: RUN=TestName for some, KEEP_LAB=yes to keep them (root, Debian); part of soak
	@test/tools/browser

.PHONY: soak
soak: build image $(LAB) ## Long campaigns: every crash point, every state of the disk, power cuts of a node, API servers gone, kills of plugin, watcher and NATS (root, Debian); SEED=n
	@test/tools/fuzz 100000x
	@test/tools/need gcc
	@CRASH_POINTS=all go test -count=1 -v -timeout 3h ./test/crash
	@$(MAKE) standin
	@$(MAKE) browser MADE=yes RUN=
	@test/tools/powercut $(CUTS) $(SEED)
	@SOAK=yes RUN="TestAPIServersUnavailable|TestKilledPlugin" $(E2E)
	@$(MAKE) e2e-systemd MADE=yes RUN=
	@$(MAKE) e2e-etcd MADE=yes RUN=
	@$(MAKE) e2e-odd MADE=yes RUN=TestComponent
	@$(MAKE) e2e-recover MADE=yes RUN=
	@$(MAKE) e2e-upgrade MADE=yes
	@SOAK_KILLS=$(KILLS) SEED=$(SEED) TIMEOUT=2h RUN='TestWatcher/(survives|continues)' $(E2E)

##@ Other
.PHONY: clean
clean: ## Remove bin/ and dist/
	@rm -rf bin dist

.PHONY: help
help: ## List the targets
	@awk -F ':.*## ' '/^##@ /{print "\n" substr($$0, 5)} /^[a-z0-9-]+:.*## /{printf "  make %-10s %s\n", $$1, $$2}' Makefile

# Go knows best whether it must build again.
.PHONY: $(LAB)
$(LAB):
	@mkdir -p bin
	@go -C test/lab build -o $(CURDIR)/$(LAB) ./cmd/lab
