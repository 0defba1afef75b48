# SPDX-License-Identifier: Apache-2.0

SHELL := /usr/bin/env bash -o pipefail
.SHELLFLAGS := -ec
.DEFAULT_GOAL := help

export PATH := $(PATH):/usr/local/go/bin:/usr/sbin:/sbin
# One set of flags for all that is compiled, so that all share the build cache.
export CGO_ENABLED := 0
export GOFLAGS := -mod=readonly -trimpath -buildvcs=false

CACHE := $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/kube-wlbs
VERSION ?= dev
IMAGE_REGISTRY := kube-wlbs.dev
BIN := bin

LDFLAGS := -s -w
CLUSTER := $(BIN)/cluster
IN_LAB := $(CLUSTER) exec --
# Go's own output with every test named, or only what fails: make test V=1
TEST_FLAGS := $(if $(V),-v)

##@ Start here

.PHONY: help
help: ## Show this help
	@awk 'BEGIN {FS = ":.*##"; printf "\nUsage: make \033[36mTARGET\033[0m [NAME=VALUE...]\n"} \
	  /^##@/ {printf "\n\033[1m%s\033[0m\n", substr($$0, 5)} \
	  /^[a-z0-9-]+:.*##/ {printf "  \033[36m%-18s\033[0m %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: demo
demo: deploy $(BIN)/demo ## A four-node cluster on this machine, with a virtual IP that all its workers serve
	$(IN_LAB) $(BIN)/demo

.PHONY: demo-down
demo-down: cluster-down ## Remove what demo made

##@ Test

.PHONY: test
test: test-unit test-bpf test-envtest test-rig test-e2e ## All tests (root; from nothing about half an hour, then minutes)

.PHONY: test-unit
test-unit: ## Unit tests, the convergence simulation included; no privilege needed
	@[ "$$(id -u)" != 0 ] || hack/install-packages wire
	go test $(TEST_FLAGS) $$(hack/test-packages unit)

.PHONY: test-bpf
test-bpf: ## BPF programs and netlink code, in this machine's kernel (root)
	hack/install-packages rig
	go test $(TEST_FLAGS) -count=1 $$(hack/test-packages kernel)

.PHONY: test-envtest
test-envtest: ## API validation and controllers, against a real API server
	KUBEBUILDER_ASSETS="$$(hack/kubernetes/build envtest)" go test $(TEST_FLAGS) $$(hack/test-packages envtest)

.PHONY: test-rig
test-rig: build ## Whole agents in network namespaces: failover, partitions, stalls (root)
	hack/install-packages rig
	KUBE_WLBS_BIN=$(CURDIR)/$(BIN) go test $(TEST_FLAGS) -count=1 -timeout 20m ./e2e/rig/...

.PHONY: test-e2e
test-e2e: deploy ## The operator on a kind cluster, faults included (root)
	go test -c -o $(BIN)/e2e.test ./e2e/kind
	cd e2e/kind && KUBE_WLBS_BIN=$(CURDIR)/$(BIN) $(CURDIR)/$(IN_LAB) $(CURDIR)/$(BIN)/e2e.test -test.count=1 -test.timeout 30m $(if $(V),-test.v)

.PHONY: test-kernels
test-kernels: $(BIN)/vm ## Tests on other kernels, in emulated machines: make test-kernels KERNELS=6.1,6.12
	hack/install-packages rig vm
	$(BIN)/vm test $(if $(KERNELS),--kernel $(KERNELS))

.PHONY: test-kernels-ci
test-kernels-ci: $(BIN)/vm ## Of these, what shows most in little time: the filter and one card, on 6.1 and 6.12
	hack/install-packages rig vm
	$(BIN)/vm test --kernel 6.1,6.12 --package filter --agents=false --cards virtio-net --run 'virtio-net/plain/1500/^Multicast$$'

.PHONY: test-drivers
test-drivers: $(BIN)/vm ## Agents on emulated network cards: make test-drivers CARDS=e1000e KERNELS=6.1
	hack/install-packages rig vm
	$(BIN)/vm drivers $(if $(KERNELS),--kernel $(KERNELS)) $(if $(CARDS),--cards $(CARDS))

.PHONY: bench
bench: build ## Cost per packet, packets per second, failover, agents at rest, beside other ways to do the same (root)
	hack/install-packages rig bench
	go test -run '^$$' -bench . -count 3 ./dataplane/...
	KUBE_WLBS_BIN=$(CURDIR)/$(BIN) go test -run '^$$' -bench . -benchtime 1x -timeout 30m ./e2e/rig

##@ Develop

.PHONY: build
build: $(BIN)/wlbs-manager $(BIN)/wlbs-agent $(BIN)/kubectl-wlbs $(BIN)/kubectl_complete-wlbs $(BIN)/whoami ## Compile the programs into bin/

PREFIX ?= /usr/local
.PHONY: install-plugin
install-plugin: $(BIN)/kubectl-wlbs ## Put kubectl wlbs and its shell completion into PREFIX/bin (PREFIX=/usr/local)
	install -D -m 0755 $(BIN)/kubectl-wlbs $(DESTDIR)$(PREFIX)/bin/kubectl-wlbs
	ln -sf kubectl-wlbs $(DESTDIR)$(PREFIX)/bin/kubectl_complete-wlbs

.PHONY: generate
generate: generate-api generate-bpf ## Everything that is generated: deep copies, CRDs, RBAC, BPF objects

.PHONY: generate-api
generate-api: $(BIN)/controller-gen
	hack/generate-api $(BIN)/controller-gen

.PHONY: generate-bpf
generate-bpf:
	hack/install-packages bpf
	go generate ./dataplane/filter/...

.PHONY: verify
verify: $(BIN)/controller-gen $(BIN)/deadcode ## Fail on stale generated files, go.mod, formatting and scripts, and on code that nobody calls
	hack/install-packages bpf lint
	hack/verify

.PHONY: lint
lint: $(BIN)/golangci-lint ## Linters, those for Kubernetes APIs included
	$(BIN)/golangci-lint run --allow-parallel-runners
	$(BIN)/golangci-lint run --allow-parallel-runners --config .golangci-kal.yml ./api/...

.PHONY: lint-fix
lint-fix: $(BIN)/golangci-lint ## Let linters mend what they can
	$(BIN)/golangci-lint run --fix

.PHONY: rig
rig: build ## Hosts in network namespaces with running agents, to play with: make rig HOSTS=3 (root)
	hack/install-packages rig
	KUBE_WLBS_BIN=$(CURDIR)/$(BIN) go run ./hack/rig up --hosts $(or $(HOSTS),3)

.PHONY: rig-down
rig-down: ## Remove the hosts that rig made
	go run ./hack/rig down

##@ Cluster

.PHONY: cluster-up
cluster-up: $(CLUSTER) ## A kind cluster of one control plane and three workers
	$(CLUSTER) up

.PHONY: cluster-down
cluster-down: $(CLUSTER) ## Remove the cluster; its images stay cached
	$(CLUSTER) down

.PHONY: images
images: build $(BIN)/image ## Container images as archives in bin/, without a container engine
	hack/images $(BIN) $(IMAGE_REGISTRY) $(VERSION)

.PHONY: deploy
deploy: images cluster-up ## Put the operator on the cluster
	hack/deploy $(CLUSTER) $(BIN)/{manager,agent,whoami}.tar

.PHONY: cache
cache: ## Where caches are, and how large
	@du -sh $(CACHE)/* "$$(go env GOCACHE)" "$$(go env GOMODCACHE)" 2>/dev/null || true

# Go decides what is to be compiled anew, and takes no time where nothing is.
.PHONY: FORCE
$(BIN)/wlbs-manager $(BIN)/wlbs-agent $(BIN)/kubectl-wlbs: $(BIN)/%: FORCE
	@go build -ldflags "$(LDFLAGS)" -o $@ ./cmd/$*
# kubectl completes the arguments of a plugin by a program of this name: the plugin, which knows by it what to do.
$(BIN)/kubectl_complete-wlbs: | $(BIN)/kubectl-wlbs
	@ln -sf kubectl-wlbs $@
$(BIN)/whoami $(BIN)/cluster $(BIN)/image $(BIN)/demo $(BIN)/vm: $(BIN)/%: FORCE
	@go build -ldflags "$(LDFLAGS)" -o $@ ./hack/$*
$(BIN)/controller-gen: FORCE
	@go build -C hack/tools -ldflags "$(LDFLAGS)" -o $(CURDIR)/$@ sigs.k8s.io/controller-tools/cmd/controller-gen
$(BIN)/deadcode: FORCE
	@go build -C hack/tools -ldflags "$(LDFLAGS)" -o $(CURDIR)/$@ golang.org/x/tools/cmd/deadcode
$(BIN)/golangci-lint: FORCE
	@go build -C hack/tools/lint -ldflags "$(LDFLAGS)" -o $(CURDIR)/$@ .
