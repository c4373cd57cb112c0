# Every target stands alone from a fresh clone: a Python 3.10-3.12, make and (for the native ops) a C++ compiler are all it needs.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# The processes that `make test` shares the tests among.
WORKERS ?= 2
STAMP := $(VENV)/.installed
SOURCES := $(shell find ops -name '*.cpp' -o -name '*.hpp' -o -name '*.cu' -o -name 'CMakeLists.txt' 2>/dev/null)

.PHONY: demo test test-slow cuda-test cuda-check install lint bench bench-tests clean

install: $(STAMP)

$(STAMP): pyproject.toml $(SOURCES)
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[dev]'
	touch $@

demo: $(STAMP)
	$(BIN)/python tools/demo.py

test: $(STAMP)
	$(BIN)/python -m pytest -n $(WORKERS) -m 'not slow'

test-slow: $(STAMP)
	$(BIN)/python -m pytest -m slow

cuda-test: $(STAMP)
	$(BIN)/python -m pytest -m cuda

cuda-check:
	$(PYTHON) ops/cuda_check.py

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/mypy

bench: $(STAMP)
	$(BIN)/python tools/benchmark.py ops --sizes 1000 10000 100000 --repeats 5 --json work_dirs/benchmark/ops.json
	$(BIN)/python tools/benchmark.py model configs/flatformer/flatformer_synthetic.py --json work_dirs/benchmark/model.json

# The same cases through pytest-benchmark, which `make test` runs once each without a clock.
bench-tests: $(STAMP)
	$(BIN)/python -m pytest tests/benchmarks --benchmark-enable --benchmark-group-by=group

clean:
	rm -rf build work_dirs .mypy_cache .ruff_cache .pytest_cache
