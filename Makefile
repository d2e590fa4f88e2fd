# Each target sets up what it needs: Python 3.11 or later, make and a package index are enough.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
RECORDS ?=
DIR ?=
QUERY ?=
DATABASE ?= lines

.PHONY: demo dev docs reference test test-fast test-long call-sites bench bench-quick lint types audit clean

demo: $(VENV)/.local
	$(BIN)/embedding-assets demo $(if $(RECORDS),--records "$(RECORDS)" --database $(DATABASE)) \
	  $(if $(QUERY),--query "$(QUERY)" --database $(DATABASE))

dev: $(VENV)/.local
	$(BIN)/embedding-assets dev $(if $(DIR),--dir "$(DIR)")

# mypy runs beside the tests. One process imports every test first, so that the workers find all packages compiled.
# Two workers more than processors: tests wait for servers and children a part of their time.
test: lint
	$(BIN)/mypy > $(VENV)/types.log & types=$$!; \
	$(BIN)/python -m pytest --collect-only --quiet > /dev/null; \
	$(BIN)/python -m pytest --numprocesses $$($(BIN)/python -c 'import os; print(min(4, os.cpu_count()) + 2)') \
	  --dist worksteal --durations 10; tests=$$?; \
	wait $$types; typed=$$?; cat $(VENV)/types.log; exit $$((tests || typed))

# No server, no Dagster run, no Chroma.
T := embedding_assets_tests
FAST := $(addprefix $(T)/openai_batches/, test_output.py test_reconcile.py test_requests.py test_retry.py \
    test_remote.py test_batch_errors.py) $(addprefix $(T)/executions/, test_plan.py test_changes.py test_fold.py) \
  $(addprefix $(T)/ledger/, test_batch_summary.py test_overdue.py) \
  $(T)/rows/test_record.py $(T)/versions/test_history.py $(T)/bucket/test_keys.py $(T)/test_layout.py $(T)/test_errors.py $(T)/test_databases.py $(T)/docs

test-fast: $(VENV)/.dev
	$(BIN)/python -m pytest $(FAST)

test-long: $(VENV)/.dev
	$(BIN)/python -m pytest -m long --timeout 14400 --log-cli-level WARNING

# The list of call sites for the fault matrix, after a change of what the product calls.
call-sites: $(VENV)/.dev
	$(BIN)/python -m embedding_assets_tests.faults.renew

bench: $(VENV)/.bench
	$(BIN)/python -m benchmarks --out docs/performance

bench-quick: $(VENV)/.bench
	$(BIN)/python -m benchmarks.quick

docs: $(VENV)/.docs
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet --strict

# The pages of settings and commands, after a change of either.
reference: $(VENV)/.dev
	$(BIN)/python -m embedding_assets_tests.docs.reference

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.dev
	$(BIN)/mypy

# --strict: a package that the service knows nothing about fails it too, so that a service that is away is no success.
audit: $(VENV)/.dev
	$(BIN)/python -m pip_audit --strict --no-deps --disable-pip --progress-spinner off --requirement constraints.txt || \
	  { echo "make audit: a package above has a known vulnerability, or could not be looked up: then nothing is known"; exit 1; }

$(VENV)/bin/python:
	$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or later is needed" if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip

$(VENV)/.local: $(VENV)/bin/python pyproject.toml constraints.txt
	$(BIN)/python -m pip install --quiet --no-compile --constraint constraints.txt --editable '.[local]'
	@touch $@

$(VENV)/.dev: $(VENV)/bin/python pyproject.toml constraints.txt
	$(BIN)/python -m pip install --quiet --no-compile --constraint constraints.txt --editable '.[local,dev]'
	@touch $@

$(VENV)/.bench: $(VENV)/.dev
	$(BIN)/python -m pip install --quiet --no-compile --constraint constraints.txt --editable '.[bench]'
	@touch $@

$(VENV)/.docs: $(VENV)/bin/python pyproject.toml constraints.txt
	$(BIN)/python -m pip install --quiet --no-compile --constraint constraints.txt 'mkdocs-material>=9.6'
	@touch $@

clean:
	rm -rf $(VENV) site screenshots .dagster_home .mypy_cache .ruff_cache .pytest_cache .hypothesis

# The targets as `make help` lists them, one line each: keep it complete (a test compares it with .PHONY).
#: help         this list
#: demo         run everything once on this machine: no account, no key (RECORDS=file.jsonl DATABASE=lines for your own, QUERY=text)
#: dev          the Dagster UI on the embedded servers, with small batches arriving (DIR=folder keeps everything there)
#: test         lint, types and every test that is not marked long
#: test-fast    the tests of the pure parts
#: test-long    the tests that run for hours
#: call-sites   renew the list of call sites of the fault matrix, after a change of what the product calls
#: bench        measure everything in docs/performance.md and fill its tables
#: bench-quick  measure one merge; fails if it got slower
#: docs         the documentation as a site, in site/
#: reference    write the pages of settings and commands again, from the code
#: lint         ruff check and ruff format
#: types        mypy
#: audit        look for known vulnerabilities of the packages in constraints.txt (asks pypi.org)
#: pins         write constraints.txt again from the package index (PYTHON=python3.11, the oldest supported)
#: clean        remove the environment, caches and local Dagster data
.PHONY: help pins
.DEFAULT_GOAL := help

help:
	@sed -n 's/^#: /  make /p' Makefile

PINS := .venv-pins
PINS_HEADER := \# The versions this project was tried with: names and versions only.

# An environment of its own, without the old constraints. A version that is not a plain name==version stops it.
pins:
	rm -rf $(PINS)
	$(PYTHON) -m venv $(PINS)
	$(PINS)/bin/python -m pip install --quiet --upgrade pip
	$(PINS)/bin/python -m pip install --quiet --upgrade --editable '.[local,dev,bench]'
	$(PINS)/bin/python -m pip freeze --exclude-editable > $(PINS)/frozen.txt
	LC_ALL=C sort --ignore-case $(PINS)/frozen.txt > $(PINS)/pins.txt
	! grep --invert-match --line-number --extended-regexp '^[A-Za-z0-9._-]+==[^ /:@]+$$' $(PINS)/pins.txt
	{ echo '$(PINS_HEADER)'; cat $(PINS)/pins.txt; } > constraints.txt
	rm -rf $(PINS)
