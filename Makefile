# What a newcomer and the continuous integration run. Needs Python 3.11 or newer, pip and make; everything lands in .venv.
#
#   make demo    compare three losses on real digits (about 3 minutes) and say where the report is
#   make test    the tests, in this tree
#   make check   style, types, layers, tests, and the wheel tried in an environment of its own
#   make docs    the documentation: build/docs/index.html
#   make bench   the benchmarks; their tables go to benchmarks/RESULTS.md
#   make clean   removes what the others made, but not runs/

PYTHON ?= python3
VENV ?= .venv
# On Linux pip may fetch torch with CUDA (gigabytes); name an index of CPU builds here to do without.
PIP_FLAGS ?=

DEMO_RECIPE ?= digits_gan
DEMO_LOSSES ?= non_saturating,wasserstein+gradient_penalty,least_squares
DEMO_SEEDS ?= 3
DEMO_OPTIONS ?=

TEST_WORKERS ?= 2
# One thread a worker: two pools of threads on the same cores slow each other down many times.
export OMP_NUM_THREADS ?= 1

BIN := $(VENV)/bin
READY := $(VENV)/.ready

.PHONY: demo test lint wheel check docs bench clean install
.DEFAULT_GOAL := test

install: $(READY)

$(BIN)/python:
	$(PYTHON) -c 'import sys; sys.exit("genloss needs Python 3.11 or newer, this is " + sys.version.split()[0] + "; set PYTHON=python3.11" if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv $(VENV)

$(READY): pyproject.toml constraints.txt | $(BIN)/python
	$(BIN)/python -m pip install --quiet $(PIP_FLAGS) -c constraints.txt -e '.[dev]'
	@touch $@

demo: $(READY)
	$(BIN)/genloss compare $(DEMO_RECIPE) --vary loss=$(DEMO_LOSSES) --seeds $(DEMO_SEEDS) $(DEMO_OPTIONS)

test: $(READY)
	$(BIN)/python -m pytest -q -n $(TEST_WORKERS)

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# The wheel is installed with its own dependencies only and tried from an empty folder, where this tree cannot be imported.
wheel: $(READY)
	rm -rf build/wheel
	$(BIN)/python -m build --wheel --outdir build/wheel .
	set -e; trial=$$(mktemp -d); trap 'rm -rf "$$trial"' EXIT; \
	$(BIN)/python -m venv "$$trial/venv"; \
	"$$trial/venv/bin/python" -m pip install --quiet $(PIP_FLAGS) -c constraints.txt build/wheel/*.whl pytest; \
	mkdir "$$trial/empty"; cd "$$trial/empty"; \
	../venv/bin/genloss --version; ../venv/bin/genloss recipes > /dev/null; \
	../venv/bin/python -m pytest -q -c /dev/null --rootdir . -p no:cacheprovider --doctest-modules \
	  -o doctest_optionflags="NORMALIZE_WHITESPACE ELLIPSIS" --pyargs genloss.losses genloss.networks

check: lint test wheel

docs: $(READY)
	$(BIN)/sphinx-build -W --keep-going -q docs build/docs
	@echo "build/docs/index.html"

bench: $(READY)
	set -e; for script in benchmarks/bench_*.py; do $(BIN)/python $$script; done

clean:
	rm -rf $(VENV) build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	find src tests benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +
