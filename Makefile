# Each target sets up what it needs: Python 3.11 or later, make and a package index are enough.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
RECORDS ?=
DATABASE ?= lines

.PHONY: demo dev test test-long bench bench-quick lint types clean

demo: $(VENV)/.local
	$(BIN)/embedding-assets demo $(if $(RECORDS),--records "$(RECORDS)" --database $(DATABASE))

dev: $(VENV)/.local
	$(BIN)/embedding-assets dev

test: lint types
	$(BIN)/python -m pytest --numprocesses auto --maxprocesses 4 --dist loadscope --no-loadscope-reorder

test-long: $(VENV)/.dev
	$(BIN)/python -m pytest -m long --timeout 14400 --log-cli-level WARNING

bench: $(VENV)/.bench
	$(BIN)/python -m benchmarks --out docs/performance

bench-quick: $(VENV)/.bench
	$(BIN)/python -m benchmarks.quick

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.dev
	$(BIN)/mypy

$(VENV)/bin/python:
	$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or later is needed" if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip

$(VENV)/.local: $(VENV)/bin/python pyproject.toml constraints.txt
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[local]'
	@touch $@

# hnswlib is built here: without a C++ compiler the direct writer is left out, and its tests are skipped.
$(VENV)/.dev: $(VENV)/bin/python pyproject.toml constraints.txt
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[local,dev]'
	-$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[direct]'
	@touch $@

$(VENV)/.bench: $(VENV)/.dev
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[bench]'
	@touch $@

clean:
	rm -rf $(VENV) .dagster_home .mypy_cache .ruff_cache .pytest_cache .hypothesis
