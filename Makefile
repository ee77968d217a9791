# The two commands of the README are `make demo` and `make test`. Each makes the virtual environment that it needs, once.

VENV   := .venv
BIN    := $(VENV)/bin
PYTHON ?= $(shell for p in python3 python3.14 python3.13 python3.12 python3.11; do \
            "$$p" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && { echo "$$p"; break; }; done)
VERSION := $(shell $(PYTHON) -c 'import platform; print(platform.python_version())' 2>/dev/null)
INSTALL = $(BIN)/python -m pip install --disable-pip-version-check --no-input --constraint constraints.txt

# `make bench`: made faces in the largest collection, a folder of photos with a folder for each person, where the figures are kept.
FACES     ?= 100000
PHOTOS    ?= ../shared/faces/lfw
BENCH_OUT ?= docs/benchmarks

.PHONY: demo test check bench format constraints clean

demo: $(VENV)/.ready-to-run
	$(BIN)/facedex demo

test: $(VENV)/.ready-to-test
	$(BIN)/pytest

check: $(VENV)/.ready-to-test
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports

# Half an hour and more on two cores with these sizes. With photos it is told how quick and how right embedding is; without, that is left out.
bench: $(VENV)/.ready-to-bench
	$(BIN)/python bench/all.py --faces $(FACES) --photos "$(PHOTOS)" --out "$(BENCH_OUT)"

format: $(VENV)/.ready-to-test
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

# Pins what a fresh resolution gives now; names and versions only. Run it with the oldest Python there is: make constraints PYTHON=...
constraints:
	rm -rf $(VENV)-fresh && $(PYTHON) -m venv $(VENV)-fresh
	$(VENV)-fresh/bin/python -m pip install --quiet --editable '.[dev]'
	$(VENV)-fresh/bin/python -m pip freeze --exclude-editable > constraints.txt
	rm -rf $(VENV)-fresh

clean:
	rm -rf $(VENV)

# The version stands in the name, so that another Python makes another environment.
$(VENV)/.python-$(VERSION):
	@test -n "$(PYTHON)" || { echo "Facedex needs Python 3.11 or newer: install it, or name it with make PYTHON=..." >&2; exit 2; }
	@echo "Making the virtual environment $(VENV) ..."
	@rm -rf $(VENV)
	@$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); echo "On Debian and Ubuntu, the package python3-venv is missing." >&2; exit 2; }
	@touch $@

$(VENV)/.ready-to-run: pyproject.toml constraints.txt $(VENV)/.python-$(VERSION)
	@echo "Installing Facedex and what it needs into $(VENV) (about 250 MB to download, once: a minute or two) ..."
	@$(INSTALL) --quiet --editable .
	@touch $@

$(VENV)/.ready-to-test: pyproject.toml constraints.txt $(VENV)/.python-$(VERSION)
	@echo "Installing Facedex, what it needs and its test tools into $(VENV) (about 300 MB to download, once) ..."
	$(INSTALL) --editable '.[dev]'
	@touch $@ $(VENV)/.ready-to-run

# Some peers are built from source: without a compiler they are missing, and left out.
$(VENV)/.ready-to-bench: $(VENV)/.ready-to-test
	@echo "Installing what Facedex is measured beside into $(VENV) ..."
	@$(INSTALL) --editable '.[bench]' || echo "Not all peers could be installed; those that are missing are left out." >&2
	@touch $@
