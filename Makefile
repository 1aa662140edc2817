# make demo: watch a diffusion language model teach a smaller one.   make test: run the test suite.
# Both create .venv on their first call and reuse it afterwards.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: demo test lint types docs check clean

demo: $(STAMP)
	$(BIN)/python examples/demo.py

test: $(STAMP)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(STAMP)
	$(BIN)/pyright

docs: $(STAMP)
	$(BIN)/mkdocs build --strict

check: lint types test

$(STAMP): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt "torch==2.13.0" --editable ".[dev,docs,examples]"
	touch $(STAMP)

clean:
	rm -rf $(VENV) dist site runs
