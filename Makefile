# make demo    compare five losses on the bundled faces, and write a report
# make test    install what the tests need, run them
# make check   lint, format, types
# make soak    campaigns: kills, damage, fuzzing, other processors (at most 30 minutes)
# make wheel   build the wheel, and use it in an environment of its own, away from the sources
# make bench   install the peers, measure every loss beside them (about twenty minutes)
# make calibrate   simulate how often the verdict claims what is not so (about half an hour)
# make bench-train   measure a training step and its parts (about ten minutes)

PYTHON ?= python3
BIN := .venv/bin
PIP := $(BIN)/pip --disable-pip-version-check --quiet

.PHONY: demo test check soak wheel bench bench-train calibrate constraints clean

demo: .venv/.installed
	$(BIN)/lossarium compare demo --size 48 --steps 150

test: .venv/.installed-for-tests
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses auto --dist worksteal

check: .venv/.installed-for-tests
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

soak: .venv/.installed-for-tests
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest tests/soak --numprocesses auto --dist worksteal

wheel: .venv/.installed-for-tests
	PYTHON=$(PYTHON) .ci/wheel

bench: .venv/.installed-for-bench
	$(BIN)/python -m benchmarks.losses

calibrate: .venv/.installed
	OMP_NUM_THREADS=1 $(BIN)/python -m benchmarks.calibrate

bench-train: .venv/.installed
	$(BIN)/python -m benchmarks.training

# What is installed now becomes what is installed from now on.
constraints: .venv/.installed-for-tests
	(head -n 1 constraints.txt; $(BIN)/pip freeze --exclude-editable | sed 's/+cpu$$//') > constraints.new
	mv constraints.new constraints.txt

clean:
	rm -rf .venv .venv-wheel dist lossarium-demo

.venv/.installed: pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@echo "Installing Lossarium; torch is large, so this may take a few minutes."
	$(PIP) install --constraint constraints.txt --editable .
	touch $@

.venv/.installed-for-tests: pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@echo "Installing Lossarium and what its tests need; this may take a few minutes."
	$(PIP) install --constraint constraints.txt --editable '.[synthetic,test,check]'
	touch $@ .venv/.installed

.venv/.installed-for-bench: pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@echo "Installing Lossarium and the peers it is measured against; this may take a few minutes."
	$(PIP) install --constraint constraints.txt --editable '.[bench]'
	touch $@ .venv/.installed
