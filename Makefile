# make demo    set up, then the main job on a small simulated market
# make test    set up, then the test suite (make test-slow: the slow tests too)
# make check   ruff and mypy
# CUDA=1       take PyTorch's CUDA build instead of the CPU one

PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin
READY = $(VENV)/.ready

.PHONY: demo test test-slow check format setup clean

demo: setup
	$(BIN)/trimodal demo --out demo

test: setup
	$(BIN)/pytest -m "not slow" -n auto

test-slow: setup
	$(BIN)/pytest -m slow

check: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: setup
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

setup: $(READY)

$(READY): pyproject.toml constraints.txt requirements/embedded.txt scripts/install.sh
	PYTHON="$(PYTHON)" VENV="$(VENV)" CUDA="$(CUDA)" sh scripts/install.sh
	touch $@

clean:
	rm -rf $(VENV) demo
