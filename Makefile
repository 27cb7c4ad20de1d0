# Everything a newcomer types. `make demo`, `make lab` and `make test` each make .venv first when it is missing or old.
.DEFAULT_GOAL := help
SHELL := /bin/sh
PYTHON ?= $(firstword $(foreach p,python3 python3.13 python3.12 python3.11,$(shell $(p) -c 'import sys; sys.version_info >= (3, 11) and print("$(p)")' 2>/dev/null)))
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
ONLY ?=
JOBS ?= auto

.PHONY: help install demo lab test floors check bench lock docs pictures site clean

help:  ## this list
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/  make \1\t\2/p' Makefile | expand -t 14

install: $(READY)  ## make .venv from the hash-pinned lock

$(READY): requirements.lock
	@test -n "$(PYTHON)" || { echo "Python 3.11 or newer was not found. Install it, or name it: make $(MAKECMDGOALS) PYTHON=/path/to/python3.11"; exit 1; }
	@echo "Installing into $(VENV) with $(PYTHON) (about a minute, once) ..."
	@rm -rf $(VENV) && $(PYTHON) -m venv $(VENV) || { echo "Could not make $(VENV). On Debian and Ubuntu: apt-get install python3-venv"; exit 1; }
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-input --only-binary :all: --require-hashes -r requirements.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-input --no-deps -e .
	@touch $@

demo: $(READY)  ## play an incident, report it, replay what is safe: no service needed
	@$(BIN)/dlq demo

lab: $(READY)  ## JupyterLab on notebooks/, with the demo's servers behind it
	@$(BIN)/dlq lab

test: $(READY)  ## all tests, notebooks included, a worker more than cores (JOBS=0: one after the other); embedded services unless DLQ_TEST_*_URL name real ones
	@$(BIN)/python -m pytest -n $(JOBS) --dist loadfile --no-loadscope-reorder --nbval-lax $(if $(findstring tests/,$(ARGS)),,tests notebooks) $(ARGS)

floors:  ## the tests with the lowest versions that pyproject.toml allows, in .venv-floors (needs uv; ARGS as with test)
	uv venv --quiet --clear --python $(PYTHON) .venv-floors
	uv pip install --quiet --python .venv-floors --resolution lowest-direct -e '.[demo,test,scale]'
	.venv-floors/bin/python -m pytest -n $(JOBS) --dist loadfile --no-loadscope-reorder --ignore tests/test_docs.py $(ARGS)

check: site  ## ruff, mypy and the site
	@$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/mypy

bench: $(READY)  ## each figure beside its anchor, in one run: make bench ONLY=grouping
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-input --require-hashes --no-deps -r requirements-bench.lock
	@$(BIN)/python -m bench $(ONLY)

lock: ## renew requirements.lock from pyproject.toml (needs uv)
	uv pip compile pyproject.toml --extra demo --extra test --extra scale --extra docs --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-annotate --no-header -o requirements.lock
	printf 'drain3>=0.9.11\nduckdb>=2.0\nmutmut>=3.8\n' | uv pip compile - -c requirements.lock --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-annotate --no-header -o requirements-bench.lock

docs: $(READY)  ## write the generated tables of README and docs again
	@$(BIN)/python docs/tables.py

pictures: $(READY)  ## make the pictures of README and docs again, where the reports show something else now (needs Chromium)
	@$(BIN)/python -m tests.pictures

site: $(READY)  ## the documentation as a site in site/; a broken link is an error
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

clean:  ## remove .venv and what runs left behind
	rm -rf $(VENV) .venv-floors reports site .pytest_cache .mypy_cache .ruff_cache
