# Every target calls a module; `make` alone lists them.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
RUN := $(BIN)/python
TASK ?= sentiment-analysis
PORT ?= 5543
MODEL ?= synthetic:bert-base?sparsity=0.9&quantized=1
ENGINES ?= engine onnxruntime openvino
FLAGS ?=
SOURCES := engine pipelines serve
# Lower levels at which the tests marked isa_sweep run again.
LEVELS := $(if $(filter x86_64,$(shell uname -m)),avx2) generic
PYTEST = $(RUN) -m pytest -n 2 --dist loadgroup

.DEFAULT_GOAL := help
.PHONY: help install demo test test-all check lint format dead size serve bench bench-all warm accuracy notebooks clean

help:  ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-11s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

# What a stamp stands for is installed in $(VENV): made anew when the requirements change.
$(VENV)/pyvenv.cfg:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1 || { \
	  echo "sparselane needs Python 3.11 or newer; $(PYTHON) is $$($(PYTHON) -V 2>/dev/null || echo not there)." \
	       "Name another: make PYTHON=python3.12 $(MAKECMDGOALS)" >&2; exit 1; }
	@$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); \
	  echo "$(PYTHON) cannot make an environment: install its venv module (on Debian: python3-venv)." >&2; exit 1; }

$(VENV)/installed: setup.cfg setup.py | $(VENV)/pyvenv.cfg
	$(RUN) -m pip install --quiet --disable-pip-version-check --editable .
	@touch $@

$(VENV)/installed-%: setup.cfg setup.py | $(VENV)/pyvenv.cfg
	$(RUN) -m pip install --quiet --disable-pip-version-check --editable '.[$*]'
	@touch $@ $(VENV)/installed

install: $(VENV)/installed-dev  ## make .venv with the package (editable) and the tools

demo: $(VENV)/installed  ## sentiment analysis on the embedded model
	$(RUN) -m pipelines.demo

test: $(VENV)/installed-dev  ## quick tests, then the kernels again at AVX2
	$(PYTEST) -m "not slow"
	ENGINE_ISA=$(firstword $(LEVELS)) $(PYTEST) -m "isa_sweep and not slow"

test-all: $(VENV)/installed-dev  ## all tests, then the kernels at each lower level
	$(PYTEST)
	set -e; for level in $(LEVELS); do ENGINE_ISA=$$level $(PYTEST) -m isa_sweep; done

check: lint size  ## everything a machine can see without running the product
	$(BIN)/ruff format --check .

lint: $(VENV)/installed-dev  ## ruff, mypy --strict, import-linter
	$(BIN)/ruff check .
	$(BIN)/mypy $(SOURCES) tests
	$(BIN)/lint-imports

format: $(VENV)/installed-dev  ## write the house style
	$(BIN)/ruff check --fix-only .
	$(BIN)/ruff format .

dead: $(VENV)/installed-dev  ## names that nothing seems to use: look, do not trust
	-$(BIN)/vulture $(SOURCES) tests --min-confidence 60 --ignore-names 'ROWS,TASK,OP,OPS'

size: $(VENV)/installed-dev  ## lines per room, and the largest files and functions
	$(RUN) tests/source_sizes.py

serve: $(VENV)/installed  ## HTTP server: make serve TASK=sentiment-analysis PORT=5543
	$(RUN) -m serve --task $(TASK) --port $(PORT)

bench: $(VENV)/installed-compare  ## engines in turns: make bench MODEL=model.onnx ENGINES="engine onnxruntime" FLAGS="-b 8"
	$(RUN) -m engine.bench '$(MODEL)' $(addprefix -e ,$(ENGINES)) $(FLAGS)

bench-all: $(VENV)/installed-compare  ## measure every row of BENCHMARKS.md and write its table
	$(RUN) -m engine.bench.suite

warm: $(VENV)/installed  ## compile all kernels of this machine into the cache
	$(RUN) -m engine.warm

accuracy: $(VENV)/installed-image  ## held-out accuracy of the embedded models, from the data beside the checkout
	$(RUN) tools/accuracy.py

notebooks: $(VENV)/installed-notebook  ## run every notebook
	$(RUN) -m jupyter execute notebooks/*.ipynb

clean:  ## remove what was made here: environments, caches, builds
	rm -rf .venv .ci/venv .cache build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
