# make demo   make an environment, install, train a Boltzmann machine on handwritten digits
# make test   linters, type checks and the test suite
#
# Variables: PYTHON (the interpreter the environment is made from), VENV (where it lies), JOBS (test processes),
# PIPFLAGS (more arguments to pip install), ARGS (more arguments to pytest, or to each benchmark).

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
MAKEFLAGS += --no-builtin-rules
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

VENV ?= .venv
BIN := $(VENV)/bin
JOBS ?= 2
PYTHON ?= $(shell for p in python3.11 python3.12 python3.13 python3.14 python3; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)

export PIP_DISABLE_PIP_VERSION_CHECK := 1
export PIP_NO_INPUT := 1

.PHONY: help
help: ## say what there is
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-10s %s\n", $$1, $$2}' $(firstword $(MAKEFILE_LIST))

# ---- the environment: one stamp for the package, one for the tools; either goes stale with what it was installed from

# pip compiles on one core, compileall on all of them; a few packages ship files that are not meant to compile
INSTALL := $(BIN)/python -m pip install --quiet --quiet --no-compile --constraint constraints.txt $(PIPFLAGS)
COMPILE := $(BIN)/python -m compileall -qq -j 0 $(VENV)/lib || true
RUN := $(VENV)/.stamp-run
DEV := $(VENV)/.stamp-dev

$(BIN)/python:
	@test -n "$(PYTHON)" || { echo "gmc needs Python 3.11 or newer: install it, or say make PYTHON=/path/to/python" >&2; exit 1; }
	@echo "making $(VENV) with $(PYTHON)"
	@$(PYTHON) -m venv $(VENV)

$(RUN): pyproject.toml constraints.txt | $(BIN)/python
	@echo "installing gmc (torch is large: this may take a few minutes)"
	@$(INSTALL) --editable .
	@$(COMPILE)
	@touch $@

$(DEV): pyproject.toml constraints.txt | $(BIN)/python
	@echo "installing gmc and its development tools (torch is large: this may take a few minutes)"
	@$(INSTALL) --editable '.[dev]'
	@$(COMPILE)
	@touch $(RUN) $@

.PHONY: install dev
install: $(RUN) ## make the environment and install gmc in it
dev: $(DEV) ## the same with the development tools

# ---- what one does with it

.PHONY: demo
demo: $(RUN) ## train a Boltzmann machine on handwritten digits
	$(BIN)/gmc compile examples/rbm.gm --train

.PHONY: test test-fast pytest
test: lint pytest ## linters, type checks and all tests

pytest: $(DEV) ## all tests
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(JOBS) --dist loadgroup $(ARGS)

test-fast: $(DEV) ## the tests but the slow ones
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(JOBS) --dist loadgroup -m "not slow" $(ARGS)

.PHONY: lint ruff imports mypy pyright format
lint: ruff imports mypy pyright ## linters and type checks (make -k lint: all of them, whatever fails)

ruff: $(DEV)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

imports: $(DEV)
	$(BIN)/lint-imports --no-logo

mypy: $(DEV)
	$(BIN)/mypy

# Pyright calls no files at all a success: count them.
pyright: $(DEV)
	$(BIN)/pyright --pythonpath $(BIN)/python --stats | awk \
		'/^Analysis stats/ {stats = 1} /^Total files checked/ {n = $$4; print n " files"} /^[1-9][0-9]* error/ {bad = 1} \
		!stats && !/^(Loading|Setting|Auto-excluding|Found|Completed|pyright|$$)/ {print} END {exit bad || !n}'

format: $(DEV) ## let ruff rewrite what it can
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

.PHONY: bench
bench: $(DEV) ## the benchmarks and their tables (ARGS="--data FOLDER"); about an hour and a quarter
	for name in rbm_mnist_exact bars_and_stripes label_rbm ising potts gaussian_rbm dbm inpainting missing_data gate \
		rbm_centred deep_mnist fixed_mnist mp_dbm; do \
		$(BIN)/python -m benchmarks.$$name $(ARGS); \
	done
	$(BIN)/python -m benchmarks.table

.PHONY: package
package: $(DEV) ## sdist and wheel in dist/
	rm -rf build dist
	$(BIN)/python -m build

.PHONY: clean
clean: ## remove the environment and everything built, but no runs
	rm -rf $(VENV) build dist src/*.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
