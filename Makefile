# Every target makes what it needs; a machine with Python 3.11 to 3.13 and make is enough.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
TESTING := $(VENV)/.testing
TOOLS := $(VENV)/.tools
HOST := build/host/bundle.js
SUITE := tests/conformance/node_modules/.package-lock.json
export PIP_CONSTRAINT := $(CURDIR)/constraints.txt
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: clients demo test slow-test web-test check ci format generate build bundle licences release-check bench soak conformance lock clean

demo: $(READY)
	@$(BIN)/python docs/demo.py

test: $(TESTING)
	$(BIN)/python -m pytest -n 3 --dist loadfile

# Crashes, databases and hosts that take a while, and examples of the guides.
slow-test: $(TESTING)
	$(BIN)/python -m pytest -n 2 -m slow

check: $(TOOLS)
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/mypy
	$(BIN)/python proto/generate.py --check

ci: check test slow-test

format: $(TOOLS)
	$(BIN)/ruff format
	$(BIN)/ruff check --fix

generate: $(TOOLS)
	$(BIN)/python proto/generate.py

build: $(TOOLS)
	$(BIN)/python -m build

# The bundle for desktop clients and the entry for the MCP registry; needs Node.
bundle: $(READY)
	$(BIN)/python release/bundle.py

licences: $(TOOLS)
	$(BIN)/python release/licences.py

release-check: $(TOOLS)
	$(BIN)/python release/check.py

bench: $(TOOLS)
	$(BIN)/python -m benchmarks

# Real chat clients, installed below build/clients (2 GB), with a scripted model; needs Node 20 and npm.
clients: $(TESTING)
	PIP_CONSTRAINT= $(BIN)/python -m tests.clients $(CLIENTS)

# The page and the views in a real browser: Debian's Chromium (apt-get install chromium). Needs npm.
web-test: $(TOOLS) $(HOST)
	$(BIN)/python -m pytest -m browser tests/browser

soak: $(TOOLS)
	PATH=$(CURDIR)/$(BIN):$$PATH $(BIN)/python -m benchmarks soak

# The official suite of the protocol, against a server over HTTP. Needs npm, with which the right Node comes.
conformance: $(TOOLS) $(SUITE)
	$(BIN)/python -m tests.conformance.run

# Resolves the newest allowed versions in a fresh environment and records them.
lock:
	rm -rf build/lock && $(PYTHON) -m venv build/lock
	PIP_CONSTRAINT= build/lock/bin/pip install --quiet -e '.[dev]'
	build/lock/bin/pip freeze --exclude-editable > constraints.txt
	rm -rf build/lock

clean:
	rm -rf $(VENV) build dist

$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(None if (3, 11) <= sys.version_info[:2] <= (3, 13) else "Python 3.11, 3.12 or 3.13 is needed, this is %d.%d: try make PYTHON=python3.12" % sys.version_info[:2])'
	@echo "Preparing $(VENV) (once; a minute or two) ..."
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/pip install --quiet -e .
	@touch $@

# What the tests need, and what the other targets need: some of the tools exist for fewer machines than the package.
$(TESTING): $(READY)
	@$(BIN)/pip install --quiet -e '.[test]'
	@touch $@

$(TOOLS): $(TESTING)
	@$(BIN)/pip install --quiet -e '.[dev]'
	@touch $@

$(HOST): tests/browser/package.json tests/browser/package-lock.json tests/browser/host.js
	@mkdir -p build/host && cp $^ build/host
	cd build/host && npm ci --ignore-scripts
	cd build/host && node_modules/.bin/esbuild host.js --bundle --format=iife --outfile=bundle.js --log-level=warning

$(SUITE): tests/conformance/package-lock.json
	cd tests/conformance && npm ci
	@touch $@
