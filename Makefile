# Every target works alone on a fresh Debian with python3, python3-venv, git and make.
#
#   make demo       install, search for a real protein, fold it, score it against the experiment
#   make check      formatting, lint, types, architecture
#   make test       install with the development tools and run the tests, the slow ones left out
#   make test-slow  run the slow tests
#   make clients    install the programs of others that tests compare with
#   make vendor     fetch the report's viewer again (this one needs npm)
#   make clean      remove the virtual environments and the demo's output
#
# Another build of PyTorch (docs/install.md says when), and more processes to test with:
#   make demo TORCH_INDEX="--index-url URL"
#   make test JOBS=8

PYTHON ?= python3
TORCH ?= torch==2.13.0
TORCH_INDEX ?=
JOBS ?= 2

VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
SOURCES := src tests benchmarks examples

PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(JOBS) --dist loadfile --no-loadscope-reorder

# One version, with which tests compare byte for byte, and the few packages that its search and its
# client import.
CLIENTS := .clients
COLABFOLD := colabfold==1.6.3
NEEDED_BY_COLABFOLD := biopython importlib_metadata matplotlib requests tqdm

.PHONY: demo test test-slow clients check vendor clean
.DELETE_ON_ERROR:

# PyTorch comes first and by itself, so that the package finds its requirement met by this build.
$(VENV)/.torch:
	$(PYTHON) -m venv $(VENV)
	$(PIP) install $(TORCH_INDEX) "$(TORCH)"
	touch $@

$(VENV)/.foldry: $(VENV)/.torch pyproject.toml
	$(PIP) install --editable .
	touch $@

$(VENV)/.dev: $(VENV)/.foldry
	$(PIP) install --editable ".[dev]"
	touch $@

demo: $(VENV)/.foldry
	$(BIN)/foldry fold examples/trypsin/1trn.fasta --search examples/database -o demo-out
	$(BIN)/foldry score demo-out/1trn/ranked_0.cif examples/trypsin/1trn.cif --align
	@echo "Open the report: $(CURDIR)/demo-out/1trn/report.html"
	@echo "To use foldry in this shell, run: . $(VENV)/bin/activate"

test: $(VENV)/.dev
	$(PYTEST) -m "not slow"

test-slow: $(VENV)/.dev
	$(PYTEST) -m slow

clients: $(CLIENTS)/.clients

$(CLIENTS)/.clients: Makefile
	$(PYTHON) -m venv $(CLIENTS)
	$(CLIENTS)/bin/python -m pip --disable-pip-version-check install $(NEEDED_BY_COLABFOLD)
	$(CLIENTS)/bin/python -m pip --disable-pip-version-check install --no-deps "$(COLABFOLD)"
	touch $@

check: $(VENV)/.dev
	$(BIN)/ruff format --check $(SOURCES)
	$(BIN)/ruff check $(SOURCES)
	$(BIN)/mypy
	$(BIN)/python -m pytest -q tests/test_architecture.py

vendor: $(VENV)/.foldry
	$(BIN)/python src/foldry/results/viewer/fetch.py

clean:
	rm -rf $(VENV) $(CLIENTS) demo-out
