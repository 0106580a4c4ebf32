# The environment is .venv, made by the first target that needs it and made anew when what it is made from changes.
# Servers' data are in .state. Nothing outside this folder is written, save by PostgreSQL started by root: see stack/;
# and by tests, which keep nothing: in memory, or where temporary files go.

PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready
ARGS ?=
RUNS ?= 4

.DEFAULT_GOAL := help
.PHONY: help setup demo up test check fmt bench prove prove-short load fuzz lock clean

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: $(READY) ## Make the Python environment in .venv

demo: $(READY) ## Play a small campaign and check every single event of it
	@$(BIN)/attribution demo $(ARGS)

up: $(READY) ## Run everything on this machine until Ctrl-C
	@$(BIN)/attribution up $(ARGS)

# Most of them wait for servers and processes more than they compute: more runs than cores. Each has servers of its own.
test: $(READY) ## Run the tests; ARGS="tests/db -x" runs some, RUNS=1 one after the other
	@$(BIN)/pytest --numprocesses $(RUNS) --dist loadfile --no-loadscope-reorder $(ARGS)

check: $(READY) ## Check style, formatting, types and import contracts
	$(BIN)/ruff check .
	$(BIN)/ruff format --check --quiet .
	$(BIN)/mypy
	$(BIN)/lint-imports

fmt: $(READY) ## Format the code and mend what can be mended automatically
	$(BIN)/ruff check --fix-only --quiet .
	$(BIN)/ruff format .

bench: $(READY) ## Measure throughput and latency against their goals
	@$(BIN)/attribution bench $(ARGS)

prove: $(READY) ## Prove that nothing is lost, doubled or misattributed, through 100,000 events and 110 faults
	@$(BIN)/attribution prove $(ARGS)
	@$(BIN)/pytest --longer tests/interleavings tests/model tests/faults tests/acceptance tests/migrations/test_interruption.py tests/benchmarks

prove-short: $(READY) ## The same with every kind of fault once, in two minutes
	@$(BIN)/attribution prove --short --seed 1 $(ARGS)

load: $(READY) ## Load the system to its limit and beyond, and watch its memory
	@$(BIN)/attribution load $(ARGS)

fuzz: $(READY) ## Look for bytes that break a parser, for a minute; ARGS="--seconds 600 events" looks longer
	@$(BIN)/python -m tests.fuzz $(ARGS)

lock: ## Pin the newest versions that pyproject.toml allows (needs uv)
	@command -v uv >/dev/null || { echo "make lock needs uv: https://docs.astral.sh/uv/" >&2; exit 1; }
	uv pip compile $(UV_OPTIONS) --extra tracing pyproject.toml -o requirements.lock
	uv pip compile $(UV_OPTIONS) --all-extras -c requirements.lock pyproject.toml -o requirements-dev.lock

# For every platform and Python at once, by hash, and without a word on where the packages came from.
UV_OPTIONS := --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-emit-find-links \
	--upgrade --custom-compile-command "make lock"

clean: ## Remove what was made here: environment, servers' data, caches
	@if [ -d .state ] && [ -x $(BIN)/python ]; then $(BIN)/python -m stack .state; fi
	rm -rf .venv .state .tools .hypothesis .mypy_cache .pytest_cache .ruff_cache .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(READY): requirements.lock requirements-dev.lock pyproject.toml
	@command -v $(PYTHON) >/dev/null || { \
		echo "There is no $(PYTHON). Install Python 3.11 or newer, or name one: make setup PYTHON=/path/to/python3" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "$(PYTHON) is too old: Python 3.11 or newer is needed. Name one: make setup PYTHON=python3.12" >&2; exit 1; }
	@$(BIN)/python -c 'import pip' 2>/dev/null || rm -rf .venv
	@[ -d .venv ] || $(PYTHON) -m venv .venv || { rm -rf .venv; \
		echo "$(PYTHON) cannot make environments. On Debian and Ubuntu: apt install python3-venv" >&2; exit 1; }
	@echo "Installing the packages of requirements-dev.lock into .venv ..."
	@$(BIN)/python -m pip install --disable-pip-version-check --require-hashes -r requirements-dev.lock || { \
		echo "The packages could not be installed: see above. pip needs the network, or an index it is set up for." >&2; exit 1; }
	@$(BIN)/python -m pip install --disable-pip-version-check --quiet --no-deps --no-build-isolation -e .
	@touch $(READY)
