# The README's two commands are `make run` and `make test`. Both make the environment first, from the lock.
PYTHON ?= $(shell for p in python3.11 python3.12 python3.13 python3; do $$p -c 'import sys; sys.exit(not (3,11) <= sys.version_info[:2] < (3,14))' 2>/dev/null && { echo $$p; break; }; done)
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/installed
PYTHONS := python3.12 python3.13
TESTS := tests
TWO := -n 2 --dist loadfile --no-loadscope-reorder  # two files of tests at once; notebooks are tested one after the other, each reads what the one before wrote

.PHONY: run test check lint pythons bench lab panel notebooks lock clean help

run: $(STAMP)  ## the whole course on the embedded cohort, quick profile
	$(BIN)/rahelpers run --profile quick

test: $(STAMP)  ## every test: unit, command line, notebooks
	$(BIN)/python -m pytest -q $(TWO) tests
	rm -rf runs/smoke
	$(BIN)/python -m pytest -q --nbval --nbval-sanitize-with tests/nbval_sanitize.cfg -p no:cacheprovider notebooks

check: $(STAMP)  ## the quick unit tests alone, without a browser
	$(BIN)/python -m pytest -q $(TWO) $(TESTS) -k "not browser" -m "not slow"

lint: $(STAMP)  ## style, format, types
	$(BIN)/ruff check rahelpers tests
	$(BIN)/ruff format --check rahelpers tests
	$(BIN)/mypy

pythons:  ## `make check` on every other supported Python that this machine has, each in an environment of its own
	@for p in $(PYTHONS); do $$p -c "" 2>/dev/null || { echo "$$p is not on this machine"; continue; }; \
	$(MAKE) --no-print-directory check PYTHON=$$p VENV=.venv-$$p || exit 1; done

bench: $(STAMP)  ## measure this machine and the networks: the figures of docs/benchmark.md
	$(BIN)/python -m tests.benchmarks.speed

lab: $(STAMP)  ## open the notebooks in JupyterLab
	$(BIN)/jupyter lab notebooks

panel: $(STAMP)  ## open the diagnosis panel of the newest run
	$(BIN)/rahelpers panel

notebooks: $(STAMP)  ## execute the notebooks again in the smoke profile and store their outputs
	rm -rf runs/smoke
	for book in notebooks/[0-9]*.ipynb; do $(BIN)/jupyter nbconvert --to notebook --execute --inplace --log-level=ERROR $$book || exit 1; done
	$(BIN)/nbstripout --keep-output --keep-count notebooks/*.ipynb

lock: $(STAMP)  ## write requirements.lock again from pyproject.toml
	$(BIN)/uv pip compile pyproject.toml --all-extras --universal --python-version 3.11 --generate-hashes --no-annotate --no-emit-index-url --no-header -o requirements.lock

clean:  ## remove runs and the environment
	rm -rf runs .venv .venv-*

help:  ## this list
	@grep -E '^[a-z]+:.*##' Makefile | sed 's/:.*##/ —/'

$(STAMP): requirements.lock pyproject.toml
	@test -n "$(PYTHON)" || { echo "No Python 3.11, 3.12 or 3.13 was found. Install one (Debian: apt install python3 python3-venv), or say: make PYTHON=/path/to/python"; exit 1; }
	@echo "Setting up $(VENV) with $(PYTHON): about 2.6 GB, a few minutes, once."
	@$(PYTHON) -m venv $(VENV) || { echo "Could not make a virtual environment. On Debian: apt install python3-venv"; exit 1; }
	@# --no-compile: Python compiles what is imported, once, at its first import; compiling all of it here would double the install's time
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-compile --require-hashes -r requirements.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $(STAMP)
