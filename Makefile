# Two commands set everything up on a fresh machine: `make sweep` and `make test`.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
CASES ?= 5000
# --rest: only the tests that `make test` leaves out.
ALL ?= --all
JOBS ?= $(shell $(PYTHON) -c 'import os; print(min(8, os.cpu_count() or 1))')

.DEFAULT_GOAL := help
.PHONY: help setup sweep test test-all fuzz benchmark tables readmes check format clean

help: ## print these targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || \
		{ echo "jetbench needs Python 3.10 or newer; $(PYTHON) is $$($(PYTHON) -V). Try: make PYTHON=python3.11 $(MAKECMDGOALS)"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet -c constraints.txt torch
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[dev]'
	@touch $@

setup: $(STAMP) ## create .venv and install jetbench with its development tools

sweep: $(STAMP) ## run the sweep of the README: jetbench sweep sweeps/nano.yaml
	$(BIN)/jetbench sweep sweeps/nano.yaml

test: $(STAMP) ## run the tests that need no server, browser, cluster or quiet machine
	$(BIN)/python -m pytest -n $(JOBS) --dist worksteal --durations 15

test-all: $(STAMP) ## run every test; those that measure, or start a cluster, run alone, after the others
	$(BIN)/python -m pytest $(ALL) -n $(JOBS) --dist worksteal --durations 30 -m 'not benchmarks and not quiet and not ray'
	$(BIN)/python -m pytest $(ALL) -m 'quiet or ray'

fuzz: $(STAMP) ## hostile input on every surface, 5,000 cases, some 15 minutes; CASES=100 for fewer
	$(BIN)/python -m tests.fuzz --cases $(CASES)

benchmark: $(STAMP) ## how fast counting and running jobs are, and counting at length; needs a quiet machine
	JETBENCH_EXAMPLES=2000 $(BIN)/python -m pytest --all tests/network/test_closed_form.py
	$(BIN)/python -m pytest -m benchmarks -s tests/benchmarks

tables: $(STAMP) ## write reports/paper/ again, from the records in its folders
	$(BIN)/python -m jetbench.paper.tables reports/paper

readmes: $(STAMP) ## write the parts of the READMEs that are made from the code
	$(BIN)/python -m tests.readmes

check: $(STAMP) ## formatting, lint and types; the Dockerfiles too
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/mypy
	if [ -x $(BIN)/hadolint ]; then $(BIN)/hadolint docker/*.Dockerfile; fi

format: $(STAMP) ## format the code and mend what ruff can
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

clean: ## remove .venv and caches; reports/ is kept
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache
