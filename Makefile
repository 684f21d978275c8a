# Everything runs from .venv in this folder; each target sets up what it needs. Works with GNU Make 3.81 (macOS).
# Windows: the package works, this file does not; follow the lines of the `.venv` rule by hand.

SHELL := /bin/bash
.DEFAULT_GOAL := help

# 3.12 and 3.11 come first: pgserver, which some tests use, has no wheels above 3.12.
CANDIDATES := python3.12 python3.11 python3.13 python3
PYTHON ?= $(shell for name in $(CANDIDATES); do \
	"$$name" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1 \
	&& { command -v "$$name"; break; }; done)

VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

# Things that vendor SDKs would otherwise write into the home folder.
export MEM0_DIR := $(CURDIR)/build/mem0
export MEM0_TELEMETRY := False
export PIP_DISABLE_PIP_VERSION_CHECK := 1

PROVEN := memxfer/ledger/*,memxfer/engine/*,memxfer/ids.py
COVERAGE_FLOOR := 95
WORKERS ?= 2

.PHONY: help install demo test test-slow check format bench docs pictures reference lock clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-11s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

install: $(READY) ## set up .venv with the locked dependencies

$(READY): pyproject.toml requirements.lock
	@test -n "$(PYTHON)" || { \
		echo "memxfer needs Python 3.11 or newer with the venv module; none of these has it: $(CANDIDATES)." >&2; \
		echo "Install one (on Debian also python3-venv), or name yours: make $(or $(MAKECMDGOALS),install) PYTHON=/path/to/python3" >&2; \
		exit 1; }
	@"$(PYTHON)" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' || { \
		echo "$(PYTHON) is not a Python 3.11 or newer with the venv module; name another: make $(or $(MAKECMDGOALS),install) PYTHON=/path/to/python3" >&2; exit 1; }
	"$(PYTHON)" -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --no-deps --require-hashes -r requirements.lock
	$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation -e .
	$(BIN)/python -m pip check
	@touch $@

demo: $(READY) ## move memories from Mem0 to a local Synap, crash, resume, compare: about a minute
	@$(BIN)/memxfer demo

check: $(READY) docs ## format, lint, types, layers; the documentation builds and its links lead somewhere
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(READY) ## put the code into shape
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

test: $(READY) ## all tests but the slow ones, with branch coverage
	@mkdir -p build
	$(BIN)/pytest -n $(WORKERS) -m "not slow" --cov --cov-branch --cov-report=
	$(BIN)/coverage report --include='$(PROVEN)' --fail-under=$(COVERAGE_FLOOR)

test-slow: $(READY) ## the tests that take minutes
	@mkdir -p build
	$(BIN)/pytest -m slow

bench: $(READY) ## the speed and memory bars, as ratios measured in one run
	@for script in tests/bench/*.py; do \
		case "$$script" in */_*|*/conftest.py) continue;; esac; \
		echo "== $$script"; $(BIN)/python "$$script" || exit 1; done

docs: $(READY) ## build the documentation into site/; a broken link fails
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

pictures: $(READY) ## make the pictures of the documentation from real runs (reports: with a Chromium)
	$(BIN)/python docs/pictures/make.py

reference: $(READY) ## write the generated pages of the documentation
	$(BIN)/python docs/generate.py

lock: ## pin the dependencies again, with hashes and without addresses (needs uv)
	@command -v uv >/dev/null || { echo "make lock needs uv: https://docs.astral.sh/uv/" >&2; exit 1; }
	uv pip compile pyproject.toml --extra dev --universal --python-version 3.11 --generate-hashes --no-header --output-file requirements.lock

clean: ## remove what was built; .venv and .memxfer (the ledgers of your jobs) stay
	rm -rf build dist site .coverage .coverage.* coverage.xml .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
