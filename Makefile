# gatewise: `make demo` and `make test` do all set-up themselves.
#
# Needs Python 3.11 or newer with headers and venv (Debian: python3-dev, python3-venv), a C++17
# compiler, and make. Everything else comes from pip into .venv, as pinned in constraints.txt.

PYTHON ?= python3
WORKERS ?= 2
VENV = .venv
BUILD = build/module
RUN = $(VENV)/bin/python -m
PIP = PIP_DISABLE_PIP_VERSION_CHECK=1 $(RUN) pip install --quiet --constraint constraints.txt
NATIVE = CMakeLists.txt native/*.h native/*/*.h native/*/*.cc native/kernels/cells/*.*
SHAPES = --jaxtyping-packages=gatewise,beartype.beartype
BENCH = $(VENV)/bin/python benchmarks
export GATEWISE_KERAS_PYTHON ?= $(wildcard $(VENV)/peers/bin/python)

help:
	@echo 'make demo         train on the series that ships with gatewise; ends with scores and a report'
	@echo 'make test         the tests: C++ (a fifth of the cases) and Python, with shapes checked'
	@echo 'make test-all     all C++ cases, and the slow tests that train nets on the classics'
	@echo 'make check        format, lint, types, imports'
	@echo 'make bench        layers and variants beside their peers, and how they scale: two hours'
	@echo 'make bench-minute two shapes beside every peer, in a minute'
	@echo 'make peers        the environment of a peer: Keras on JAX'
	@echo 'make fuzz         5,000 random layers with random options against torch and the reference'
	@echo 'make sanitize     the C++ tests under the address, undefined-behaviour and thread sanitizers'
	@echo 'make test-native  the C++ tests alone, once for each instruction set'
	@echo 'make format       format the code, and mend what the linter can'
	@echo 'make setup        only set up .venv; every other target does so too'
	@echo 'make clean        remove what was built; runs/ stays'

demo: $(VENV)/package.stamp
	$(VENV)/bin/gatewise fit forecaster

# One thread for each worker, so that they do not fight for the cores.
test: setup
	BUILD=$(BUILD) sh native/tests/run.sh --quick
	OMP_NUM_THREADS=1 $(RUN) pytest -m 'not slow' -n $(WORKERS) --dist worksteal $(SHAPES) -q

# The classics among them learn for a quarter of an hour of processor time.
test-all: setup test-native
	OMP_NUM_THREADS=1 $(RUN) pytest -n $(WORKERS) --dist worksteal $(SHAPES) -q

check: setup
	$(RUN) ruff check
	$(RUN) ruff format --check
	$(RUN) pyright
	$(VENV)/bin/lint-imports

bench: setup
	$(BENCH)/layers.py
	$(BENCH)/layers.py --threads 1 --parts table onnxruntime keras
	$(BENCH)/layers.py --precision bf16
	$(BENCH)/variants.py
	$(BENCH)/minimal.py
	$(BENCH)/xlstm_layers.py
	$(BENCH)/cross_entropy.py
	$(BENCH)/keras_layers.py
	$(BENCH)/scaling.py

bench-minute: setup
	$(BENCH)/layers.py --minute

peers:
	$(PYTHON) -m venv $(VENV)/peers
	$(VENV)/peers/bin/python -m pip install --quiet --requirement benchmarks/peers.txt

fuzz: setup
	GATEWISE_FUZZ=5000 OMP_NUM_THREADS=1 $(RUN) pytest -n $(WORKERS) tests/fuzz -q

# Built beside the module, from the same objects.
test-native: $(VENV)/package.stamp
	BUILD=$(BUILD) sh native/tests/run.sh

sanitize: $(VENV)/tools.stamp
	sh native/tests/sanitize.sh

format: setup
	$(RUN) ruff check --fix
	$(RUN) ruff format

clean:
	rm -rf $(VENV) build dist .pytest_cache .hypothesis .ruff_cache .import_linter_cache

setup: $(VENV)/package.stamp $(VENV)/dev.stamp

# Each step of the set-up leaves a stamp, and is done again when what it is made from is newer.
$(VENV)/tools.stamp: pyproject.toml constraints.txt
	@sh .ci/preflight $(PYTHON)
	$(PYTHON) -m venv $(VENV)
	$(PIP) --upgrade pip
	$(PIP) --group build
	@touch $@

$(VENV)/package.stamp: $(VENV)/tools.stamp src/gatewise/_version.py $(NATIVE)
	$(PIP) --no-build-isolation --config-settings=build-dir=$(BUILD) --editable .
	@touch $@

$(VENV)/dev.stamp: $(VENV)/tools.stamp
	$(PIP) --group dev
	@touch $@

.PHONY: help demo test test-all check bench bench-minute peers fuzz test-native sanitize format clean setup
