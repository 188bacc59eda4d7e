# The first call installs what is missing (tools/bootstrap.sh); later calls start at once.
#
#   make demo     open the demo, or run it headless into demo-out/ where there is no display
#   make test     the tests that need no GPU and no network, but for the slow ones
#   make test-all   the slow ones too
#   make check    linters, types, layers, plugin manifest, built wheel
#   make docs     the documentation, into docs/_build/html
#
# PYTHON=/path/to/python3.11 names the interpreter to build .venv with;
# PYTEST_ARGS="tests/unit -x" narrows the tests; WORKERS=1 runs them one after the other.

VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
DOCS_INSTALLED := $(VENV)/.installed-docs
WORKERS ?= auto
PYTEST_ARGS ?=

ifeq ($(shell uname -s)$(DISPLAY)$(WAYLAND_DISPLAY),Linux)
XVFB := xvfb-run -a -s "-screen 0 1920x1200x24"
DEMO_ARGS := --headless --out demo-out
endif

.DEFAULT_GOAL := help
.PHONY: help demo test test-all check docs system
.NOTPARALLEL:

help:
	@sed -n 's/^#   //p' Makefile

demo: system $(INSTALLED)
	rm -rf demo-out
	$(XVFB) $(BIN)/neurobridge demo $(DEMO_ARGS)

PYTEST := $(BIN)/python -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder

test: system $(INSTALLED)
	$(PYTEST) -m "not slow" $(PYTEST_ARGS)

test-all: system $(INSTALLED)
	$(PYTEST) $(PYTEST_ARGS)

check: system $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/npe2 validate --imports napari-neurobridge
	$(BIN)/python -m pytest tests/integration/test_packaging.py

docs: $(DOCS_INSTALLED)
	$(BIN)/python -m sphinx -W --keep-going -b html docs docs/_build/html

system:
	@tools/bootstrap.sh system

$(INSTALLED): pyproject.toml tools/bootstrap.sh
	@tools/bootstrap.sh environment $(VENV) all,check,test
	@touch $@

$(DOCS_INSTALLED): $(INSTALLED)
	@tools/bootstrap.sh environment $(VENV) docs
	@touch $@
