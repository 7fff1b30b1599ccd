# Cardflow. `make demo` shows a whole card update; `make test` proves it; `make help` lists the rest.

SHELL := /bin/bash
PYTHON := .venv/bin/python
# By file: xdist 3.8 marks groups in a place that pytest 9.2 no longer reads.
PYTEST := $(PYTHON) -m pytest -q -n 3 --dist loadfile --no-loadscope-reorder
FAST := tests/core tests/mail tests/architecture tests/fuzz
export PYTHONPATH := $(CURDIR)

.DEFAULT_GOAL := help
.PHONY: help setup setup-dev setup-tests setup-node demo demo-broken demo-oidc run test test-fast test-all test-postgres test-described check chaos mutants sbom audit fmt bench histories screenshots

help: ## Say what each target does
	@sed -nE 's/^([a-z-]+):.*## (.*)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 22

setup: ## Install what the demo needs: Debian packages when missing, .venv from requirements.lock
	@scripts/setup.sh demo

setup-dev: setup
	@scripts/setup.sh dev

setup-tests: setup-dev
	@scripts/setup.sh tests

setup-node:
	@scripts/setup.sh node

demo: setup ## Run one complete card update on real components and print the proofs
	@$(PYTHON) -m cli demo

demo-broken: setup ## The same with another certificate swapped in: must fail
	@$(PYTHON) -m cli demo --broken

demo-oidc: setup setup-node ## Start everything with an OpenID provider beside it, to sign in at
	@scripts/demo_oidc.sh run

run: setup ## Start everything and stay up; Ctrl-C stops it, starting again goes on
	@$(PYTHON) -m cli up

test: setup-tests ## All tests but the slow ones
	@$(PYTEST) -m "not slow"

test-fast: setup-dev ## Rules, mails, structure and parsers, in half a minute
	@$(PYTEST) -m "not slow" $(FAST)

test-all: setup-tests setup-node ## Every test
	@$(PYTEST)

test-postgres: setup-tests setup-node ## Every test, with all databases on a PostgreSQL server that the run starts
	@$(PYTEST) --database postgresql

test-described: setup-tests ## Ask each operation of the API 1,000 times by chance; the better part of an hour
	@$(PYTEST) --dist load tests/api/described -m slow --examples 1000

check: setup-dev ## Format, lint, types, import contracts, spelling
	$(PYTHON) -m ruff format --check .
	$(PYTHON) -m ruff check .
	$(PYTHON) -m mypy .
	.venv/bin/lint-imports
	.venv/bin/codespell
	.venv/bin/bandit --quiet --configfile pyproject.toml --recursive .
	$(PYTHON) -m scripts.forbidden
	$(PYTHON) -m scripts.failpoints
	$(PYTHON) -m scripts.claims

chaos: setup-tests ## Kill every process beside every effect, and look at what is left of the world
	@$(PYTEST) -m "not thorough" tests/chaos

mutants: setup-tests ## Break the product in twelve ways, and see the faults of the matrix find each
	@$(PYTHON) -m tests.chaos.mutate

sbom: setup-dev ## Write var/sbom.cdx.json: every package, asset and image, validated (CycloneDX 1.6)
	@$(PYTHON) -m scripts.sbom

audit: setup-dev ## Compare the pinned packages with known weaknesses (needs a network)
	@$(PYTHON) -m pip_audit --requirement requirements-dev.lock --require-hashes --disable-pip --strict

fmt: setup-dev ## Format, and mend what the linter can mend
	$(PYTHON) -m ruff format .
	$(PYTHON) -m ruff check --fix .

bench: setup-tests ## Measure, beside a yardstick in the same run: one table, and var/bench/results.json
	@$(PYTHON) -m benchmarks $(if $(QUICK),--quick) $(ONLY)

histories: setup-tests ## Record what workflow tests make Temporal remember, for tests/replay
	@$(PYTEST) tests/workflows -m "not slow" --record-histories tests/replay/histories

screenshots: setup-tests ## Make the pictures of docs/user from the running system
	@$(PYTHON) scripts/screenshots.py $(if $(REVIEW),--review $(REVIEW))
