# Everything a newcomer needs: `make report` and `make test` set themselves up on a machine with Python 3.11 or newer.

PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready
ORACLES := build/oracles
SERVERS := build/servers
RUNS := build/runs
DOCS := build/docs-env

.PHONY: report test test-slow test-long coverage bench lint wheel docs docs-serve clean

$(READY): constraints.txt pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt torch
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --requirement requirements-dev.txt --constraint constraints.txt --editable .
	touch $(READY)

$(ORACLES)/.ready: requirements-oracles.txt $(READY)
	rm -rf $(ORACLES)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --target $(ORACLES) --requirement requirements-oracles.txt
	touch $(ORACLES)/.ready

$(SERVERS)/.ready: requirements-servers.txt $(READY)
	rm -rf $(SERVERS)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --target $(SERVERS) --requirement requirements-servers.txt
	touch $(SERVERS)/.ready

$(RUNS)/.ready: requirements-runs.txt $(READY)
	rm -rf $(RUNS)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --target $(RUNS) --requirement requirements-runs.txt
	touch $(RUNS)/.ready

$(DOCS)/.ready: requirements-docs.txt constraints.txt
	$(PYTHON) -m venv --clear $(DOCS)
	$(DOCS)/bin/python -m pip install --quiet --disable-pip-version-check --requirement requirements-docs.txt --constraint constraints.txt
	touch $(DOCS)/.ready

report: $(READY)
	$(BIN)/bathymetry run all --preset quick --data auto

test: $(READY)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m "not slow" --numprocesses auto

test-slow: $(READY) $(ORACLES)/.ready $(SERVERS)/.ready $(RUNS)/.ready
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m "slow and not oracle and not server and not tool" --numprocesses auto
	OMP_NUM_THREADS=1 BATHYMETRY_FUZZ_CASES=500 $(BIN)/python -m pytest -m fuzz tests --numprocesses auto
	OMP_NUM_THREADS=1 PYTHONPATH=$(ORACLES) $(BIN)/python -m pytest -m oracle tests
	OMP_NUM_THREADS=1 PYTHONPATH=$(SERVERS) $(BIN)/python -m pytest -m server tests/store tests/execution
	OMP_NUM_THREADS=1 PYTHONPATH=$(RUNS) $(BIN)/python -m pytest -m tool tests/runs

# by hand, for hours: every fault in full counts, and docs/faults.md from what came of them
test-long: $(READY) $(SERVERS)/.ready
	OMP_NUM_THREADS=1 PYTHONPATH=$(SERVERS) BATHYMETRY_FUZZ_CASES=10000 BATHYMETRY_KILLS=50 $(BIN)/python -m pytest -m "fault or fuzz" tests --numprocesses auto --junitxml=build/faults.xml
	$(BIN)/python docs/faults.py build/faults.xml

# by hand: line and branch coverage of the quick tests; a page for each file in build/coverage
coverage: $(READY)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m "not slow" --numprocesses auto --cov --cov-report=term --cov-report=html

bench: $(READY)
	mkdir -p benchmarks/results
	$(BIN)/python benchmarks/training.py benchmarks/results/training.json
	$(BIN)/python benchmarks/loading.py benchmarks/results/loading.json
	$(BIN)/python benchmarks/study.py benchmarks/results/study.json
	$(BIN)/python benchmarks/page.py benchmarks/results/page.json
	$(BIN)/python benchmarks/curvature.py benchmarks/results/curvature.json
	$(BIN)/python benchmarks/generalisation.py benchmarks/results/generalisation.json
	$(BIN)/python benchmarks/runs.py benchmarks/results/runs.json
	$(BIN)/python benchmarks/whole.py benchmarks/results/whole.json

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# built, installed into an empty environment, and run from a folder that holds nothing of the repository
wheel: $(READY)
	rm -rf build/wheel
	$(BIN)/python -m build --wheel --outdir build/wheel >/dev/null
	$(PYTHON) -m venv build/wheel/venv
	build/wheel/venv/bin/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt torch
	build/wheel/venv/bin/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt build/wheel/*.whl
	cd build/wheel && venv/bin/bathymetry run all --preset smoke --out report
	test -s build/wheel/report/report.html
	rm -rf build/wheel

# the documentation site, in build/site; nothing of the package is imported, so PyTorch is not needed
docs: $(DOCS)/.ready
	NO_MKDOCS_2_WARNING=1 $(DOCS)/bin/mkdocs build --strict

docs-serve: $(DOCS)/.ready
	NO_MKDOCS_2_WARNING=1 $(DOCS)/bin/mkdocs serve

clean:
	rm -rf .venv build
