# The two commands of the README are `make demo` and `make test`. Everything else is for those who work on Clarion.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

# The Kubernetes version of the test control plane: 1.31, 1.34 or 1.37.
KUBERNETES ?= 1.34
export KUBERNETES
# `oldest`: the tests run with the oldest FRR-K8s that Clarion works with.
FRR_K8S ?=
export FRR_K8S
# How many nodes and Services `make storms` has.
STORM ?= 1000x5000
# What `make bench-load` is told, as `--services 10000 --daemons 5`.
LOAD ?=
# What `make bench-long` is told, as `--minutes 120 --rate 20`.
LONG ?=
# How many Services `make bench-peers` creates.
SERVICES ?= 5000
# How many schedules `make simulate` runs.
SCHEDULES ?= 100000
# How long `make soak` goes on.
MINUTES ?= 2
# What `make simulate` and `make soak` begin with, to run something again.
SEED ?=
# What `make release` makes.
export VERSION IMAGE DRY_RUN
# What the tests run; set it to test another build.
export CLARION_BIN ?= $(abspath $(or $(CARGO_TARGET_DIR),target))/debug/clarion
# Where release builds are.
RELEASE := $(abspath $(or $(CARGO_TARGET_DIR),target))/release
# Each test of test/envtest has a control plane of its own: about 0.5 GiB and, at its start, a core.
TEST_THREADS ?= 3

.PHONY: help
help: ## Show this
	@grep -hE '^[a-z0-9-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z0-9-]+):[^#]*## */\1\t/' | expand -t 14

.PHONY: demo
demo: build ## Show, on real parts, how a Service gets an announced address; KEEP=1 leaves it running
	@$(dir $(CLARION_BIN))demo

.PHONY: test
test: tools lint generated build ## Run all tests
	@echo "--- tests"
	RUST_TEST_THREADS=$(TEST_THREADS) cargo test --workspace --exclude clarion-e2e

.PHONY: simulate
simulate: ## Run the operator on a simulated cluster; SCHEDULES=1000000 for more, SEED=42 to run one again
	@echo "--- simulation: $(SCHEDULES) schedules"
	CLARION_SCHEDULES=$(SCHEDULES) $(if $(SEED),CLARION_SEED=$(SEED)) \
	  cargo test --profile simulation --package clarion --lib -- --nocapture simulation

.PHONY: soak
soak: build ## Run the operator on a real control plane while everything goes wrong; MINUTES=40 for longer, SEED=42 to do the same again
	@test/tools/build kubernetes >/dev/null
	@test/tools/build frr-k8s >/dev/null
	@echo "--- everything goes wrong"
	@MINUTES="$(MINUTES)" SEED="$(SEED)" $(dir $(CLARION_BIN))soak

.PHONY: storms
storms: tools ## See what happens to a large cluster when everything changes at once; STORM=200x1000 for another one
	cargo build --release --package clarion --bin clarion
	CLARION_BIN=$(RELEASE)/clarion CLARION_STORM=$(STORM) RUST_TEST_THREADS=1 \
	  cargo test --workspace --test envtest -- --nocapture storms::

.PHONY: e2e
e2e: e2e-parts ## Run the core of the tests on a network of FRR-K8s and FRR; needs root
	cargo test --workspace --test e2e -- core::

.PHONY: e2e-full
e2e-full: e2e-parts ## Run all tests on a network of FRR-K8s and FRR; needs root
	CLARION_PREVIOUS="$$(test/tools/build previous)/clarion" cargo test --workspace --test e2e

.PHONY: lab
lab: e2e-parts ## Bring up a network of FRR-K8s and FRR with Clarion, to look around; needs root
	@cargo run --quiet --package clarion-e2e --bin lab

.PHONY: timeline
timeline: e2e-parts ## Measure the time from a Service to a route, Clarion's part and FRR-K8s's; needs root
	cargo build --release --package clarion --package clarion-e2e --bins
	@CLARION_BIN=$(RELEASE)/clarion $(RELEASE)/timeline

.PHONY: confirmable
confirmable: e2e-parts ## Measure how many prefixes of a node FRR-K8s can tell of; needs root
	@$(dir $(CLARION_BIN))confirmable

.PHONY: e2e-parts
e2e-parts:
	@test/e2e/install
	@$(MAKE) build

.PHONY: build
build:
	@command -v cargo >/dev/null || { echo "Rust is needed: https://rustup.rs"; exit 1; }
	@echo "--- building Clarion (the first time this takes about 4 minutes on 2 cores)"
	@cargo build --workspace --bins

.PHONY: tools
tools: ## Build the components that tests run against, once
	@echo "--- test components: etcd and kube-apiserver $(KUBERNETES), 1.31 and 1.37, FRR-K8s, MetalLB, helm, kustomize, tools for OLM and krew, Prometheus, a collector of OpenTelemetry, Clarion as it was before"
	@test/tools/build kubernetes >/dev/null
	@test/tools/build kubernetes 1.31 >/dev/null
	@test/tools/build kubernetes 1.37 >/dev/null
	@test/tools/build frr-k8s >/dev/null
	@test/tools/build frr-k8s-next >/dev/null
	@test/tools/build frr-k8s-oldest >/dev/null
	@test/tools/build metallb >/dev/null
	@test/tools/build packaging >/dev/null
	@test/tools/build krew >/dev/null
	@test/tools/build prometheus >/dev/null
	@test/tools/build collector >/dev/null
	@test/tools/build previous >/dev/null

.PHONY: lint
lint: ## Check format and lints
	@echo "--- format and lints"
	cargo fmt --all --check
	cargo clippy --workspace --all-targets -- --deny warnings

.PHONY: generated
generated: build ## Check that generated files are those that the code generates
	@echo "--- generated files"
	@scripts/generated --check
	@scripts/bundle --check

.PHONY: generate
generate: build ## Generate CRDs, the catalogues of reasons and metrics, schemas, and packaging files
	@scripts/generated
	@scripts/bundle

.PHONY: bundle
bundle: ## Generate the OLM bundle and catalog, and what the Helm chart has of config/ and crds/
	@scripts/bundle

.PHONY: site
site: ## Make a site of the documentation, in target/site
	@scripts/site

.PHONY: release
release: $(if $(DRY_RUN),build) ## Prepare a release: VERSION=1.2.3; DRY_RUN=1 only shows what would change
	@scripts/release

.PHONY: bench
bench: tools ## Measure plans, the allocator, and the operator on a real control plane beside bare requests
	cargo build --release --package clarion --package clarion-bench --bins
	cargo bench --package clarion-bench --bench plan --bench allocate --bench memory
	@for program in growth latency pending commands webhook "load --daemons 5 --seconds 0" \
	  "load --services 10000 --daemons 2 --seconds 0" figures; do \
	  RUST_LOG=info CLARION_BIN=$(RELEASE)/clarion $(RELEASE)/$$program; done

.PHONY: bench-load
bench-load: tools ## Measure a large cluster at rest and under load; LOAD="--services 10000" for another one
	cargo build --release --package clarion --package clarion-bench --bin clarion --bin load
	@RUST_LOG=info CLARION_BIN=$(RELEASE)/clarion $(RELEASE)/load $(LOAD)

.PHONY: bench-long
bench-long: tools ## See whether the operator takes more and more of anything in half an hour; LONG="--minutes 120" for longer
	cargo build --release --package clarion --package clarion-bench --bin clarion --bin long
	@RUST_LOG=info CLARION_BIN=$(RELEASE)/clarion $(RELEASE)/long $(LONG)

.PHONY: bench-dashboard
bench-dashboard: tools ## Draw the dashboard with data of a real operator under load, in about 8 minutes
	cargo build --release --package clarion --package clarion-bench --bin clarion --bin dashboard
	@RUST_LOG=info CLARION_BIN=$(RELEASE)/clarion $(RELEASE)/dashboard

.PHONY: bench-peers
bench-peers: tools ## Measure Clarion and MetalLB one after the other, in about half an hour; SERVICES=500 for fewer
	cargo build --release --package clarion --package clarion-bench --bin clarion --bin peers
	@RUST_LOG=info CLARION_BIN=$(RELEASE)/clarion $(RELEASE)/peers $(SERVICES)

.PHONY: image
image: ## Build the container image, if buildah is there; else the static binary alone
	@scripts/image

.PHONY: reproducible
reproducible: ## Build the static binary twice, in two places, and compare the bytes; takes 20 minutes on 2 cores
	@scripts/reproducible

.PHONY: deny
deny: ## Check licences, bans and sources of dependencies; needs cargo-deny
	cargo deny check licenses bans sources
