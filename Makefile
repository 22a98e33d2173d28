# onebaton: `make help` lists the targets.
# In a pipeline: make bake VERSION=6.10.5 && make rollout VERSION=6.10.5 CONFIG=cluster.yaml

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

CONFIG ?= cluster.yaml
VERSION ?=
ACCEPT ?=
PLAN ?=
MARKDOWN ?=
YES ?=
UNTIL ?=
AS ?=
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
ONEBATON := $(BIN)/onebaton
STAMP := $(VENV)/.installed

# What Debian 12 has. mariadb-server-core is the server without a service: tests run it.
PACKAGES := podman runc iptables containernetworking-plugins packer mmdebstrap \
            openssh-client zstd dpkg-dev python3-venv mariadb-server-core mariadb-client \
            python3-mysqldb busybox-static chromium git curl jq shellcheck tcpdump

args = --config $(CONFIG) $(if $(VERSION),--version $(VERSION))
# Tables that may lose rows in a cut-over, by name.
losses = $(foreach table,$(ACCEPT),--accept-loss $(table))

until = $(if $(UNTIL),--until $(UNTIL))

.PHONY: help programs setup check bake plan rehearse rollout continue rollback finalize status doctor drift demo test test-faults test-schedules unit lint bench clean

help: ## Show this help
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: programs $(STAMP) ## Install what is needed, by name; say what is missing

programs:
	@tests/setup.sh programs

$(STAMP): pyproject.toml tests/setup.sh
	@tests/setup.sh packages $(PACKAGES)
	@tests/setup.sh python $(PYTHON) $(VENV)
	@touch $@

bake: setup ## Bake an image            (VERSION=6.10.5 CONFIG=cluster.yaml)
	@$(ONEBATON) bake $(args)

check: setup ## Check the configuration        (CONFIG=cluster.yaml)
	@$(ONEBATON) config check $(args)

# With PLAN a plan that was written is what was asked for, whatever it holds.
plan: setup ## Show what a rollout would do; status 3 when there is something (PLAN=plan.json MARKDOWN=plan.md)
	@$(ONEBATON) plan $(args) $(losses) $(if $(PLAN),--out $(PLAN)) $(if $(MARKDOWN),--markdown $(MARKDOWN)) \
	    $(if $(PLAN),|| [ $$? -eq 3 ])

rehearse: setup ## Try a change of the schema on a copy (ACCEPT="document_pool …")
	@$(ONEBATON) rehearse $(args) $(losses)

rollout: setup ## Roll the zone onto the image (VERSION=… CONFIG=… UNTIL=stage; PLAN=plan.json: that plan and no other)
	@$(ONEBATON) rollout $(args) $(losses) $(until) $(if $(PLAN),--plan $(PLAN))

continue: setup ## Approve the stage that a rollout waits before, and go on (AS=name)
	@$(ONEBATON) continue $(args) $(losses) $(until) $(if $(AS),--as $(AS))

rollback: setup ## Take the last cut-over back (YES=1: do not ask)
	@$(ONEBATON) rollback --config $(CONFIG) $(if $(YES),--yes)

finalize: setup ## Give up the generation that a cut-over left (YES=1: do not ask)
	@$(ONEBATON) finalize --config $(CONFIG) $(if $(YES),--yes)

status: setup ## Show the zone and its nodes
	@$(ONEBATON) status $(args)

doctor: setup ## Is the zone fit for a rollout? Status 4 when it is not
	@$(ONEBATON) doctor $(args)

drift: setup ## Is everything as configured? Status 3 when it is not
	@$(ONEBATON) drift $(args)

demo: setup ## The main job on this machine: bake, bootstrap, roll under writes
	@$(BIN)/python -m tests.e2e.demo

lint: setup ## ruff, mypy --strict, import-linter
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@MYPYPATH=cli $(BIN)/mypy -p onebaton
	@cd cli && ../$(BIN)/lint-imports --config ../pyproject.toml

unit: setup ## The unit tests alone
	@$(BIN)/pytest tests/unit -q

SEEDS ?= 0:20000
test-schedules: setup ## Simulated rollouts with faults falling on them (SEEDS=first:last)
	@$(BIN)/python -m tests.simulation --seeds $(SEEDS)

# The longest first, three at a time where most of the time is waited for machines. What measures
# seconds is last: one zone at a time, and beside it what hardly does anything but wait.
ZONES = tests/e2e tests/faults tests/integration tests/contract tests/standin
SLOWEST = --durations 15 --durations-min 20
test: lint ## Lint, then all tests: unit, simulated, contract, integration, end to end
	@rm -rf .cache/aws-calls
	@$(BIN)/pytest tests/unit tests/simulation -n 2 --no-loadscope-reorder
	@$(BIN)/pytest $(ZONES) -m "not alone and (quick or not faults)" -n 3 --no-loadscope-reorder \
	    $(SLOWEST)
	@$(BIN)/pytest $(ZONES) -m alone -n 2 --no-loadscope-reorder $(SLOWEST)

test-faults: setup ## Real faults in a zone of this machine, each healed and gone on from
	@$(BIN)/pytest tests/faults --timeout 900

bench: setup ## Ratios measured in one run
	@for bench in tests/bench/bench_*.py; do \
	    $(BIN)/python -m "tests.bench.$$(basename "$$bench" .py)"; done

clean: ## Remove the demo's machines and everything built here
	@tests/setup.sh clean
	@rm -rf $(VENV) .cache .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
