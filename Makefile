# Everything here works from a fresh clone with only Python 3.11 or newer, git and make.
# PYTHON=... picks the interpreter, MODEL=... and ENCODER=... the models, ONLY=... one benchmark.

CANDIDATES := python3 python3.14 python3.13 python3.12 python3.11 python
NEW_ENOUGH := import sys; sys.exit(sys.version_info < (3, 11))
ifndef PYTHON
PYTHON := $(shell for p in $(CANDIDATES); do $$p -c '$(NEW_ENOUGH)' >/dev/null 2>&1 && echo $$p && break; done)
endif
BIN := .venv/bin
MODEL ?= smollm2:135m
ENCODER ?= minilm:l6-v2
ONLY ?=

export HF_HUB_OFFLINE := 1

.PHONY: demo test check static bench setup model clean distclean

demo: setup model
	@$(BIN)/python -m llmos.apps.demo

test: static model
	$(BIN)/python -m pytest -q

check: static
	$(BIN)/python -m pytest -q tests/unit tests/property

static: setup
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo

bench: setup model
	$(BIN)/python -m bench $(ONLY)

setup:
	@$(or $(PYTHON),$(error no Python 3.11 or newer found; name one with PYTHON=/path/to/python)) tools/setup_venv.py

model: setup
	@$(BIN)/python -m llmos.drivers.models pull $(MODEL)
	@$(BIN)/python -m llmos.drivers.models pull $(ENCODER)

clean:
	rm -rf build dist src/*.egg-info .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
	find . -name .venv -prune -o -name .git -prune -o -type d -name __pycache__ -print | xargs rm -rf

distclean: clean
	rm -rf .venv
