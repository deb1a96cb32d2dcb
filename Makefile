# Everything a newcomer needs: `make report` and `make test` set themselves up on a machine with Python 3.11 or newer.

PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready

.PHONY: report test test-slow bench lint clean

$(READY): constraints.txt pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt torch
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --requirement requirements-dev.txt --constraint constraints.txt --editable .
	touch $(READY)

report: $(READY)
	$(BIN)/bathymetry run all --preset quick --data auto

test: $(READY)
	$(BIN)/python -m pytest -m "not slow"

test-slow: $(READY)
	$(BIN)/python -m pytest -m slow

bench: $(READY)
	mkdir -p benchmarks/results
	$(BIN)/python benchmarks/training.py benchmarks/results/training.json

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

clean:
	rm -rf .venv
