# Every target sets up what it needs: a virtual environment in .venv with the pinned versions.
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
PIP    := $(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt
# Parties share the cores of one machine: one BLAS thread each.
export OPENBLAS_NUM_THREADS ?= 1
export OMP_NUM_THREADS ?= 1
CUSTOMERS ?= 12000
DEMO ?= demo
export CONFIDE_TEST_DATA ?= ../shared/data
# Starts a Docker engine for the tests that need one; `docker` uses one that runs already.
export CONFIDE_TEST_ENGINE ?= ../shared/containers/engine.sh

.PHONY: help demo neural test test-all test-deep slow processes test-containers check sbom audit bench bench-banks clean

help:  ## Say what there is to do
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-16s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(BIN)/.run: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(PIP) --editable .
	@touch $@

$(BIN)/.dev: $(BIN)/.run
	$(PIP) --editable '.[test,check]'
	@touch $@

# SERVE=0 leaves at once, SERVE=1 stays up; without it, up on a terminal only.
SERVE ?=
STAY = $(if $(SERVE),$(if $(filter 0 no false,$(SERVE)),--no-serve,--serve))
# The CPU build of torch; the one that PyPI has for Linux brings gigabytes of CUDA.
TORCH ?= --extra-index-url https://download.pytorch.org/whl/cpu

demo: $(BIN)/.run  ## Train a simulated world of four holders; explain a customer's limit (SERVE=0: leave)
	$(BIN)/confide demo $(DEMO) --customers $(CUSTOMERS) $(STAY)

neural: $(BIN)/.dev  ## Add the CPU build of torch, for the neural model and its tests, and Ray
	$(PIP) $(TORCH) --editable '.[neural,accountants,simulation]'

test: $(BIN)/.dev  ## The fast tests, under five minutes on two cores
	$(BIN)/python -m pytest -q -n 2 --dist worksteal -m "not slow and not containers"

test-all: check test slow  ## Everything: style, types, architecture, fast and slow tests, containers

# Both at once: an engine mostly waits, for its disk and for what becomes healthy. One fails, the
# other still ends; what each says comes when it has ended.
slow: $(BIN)/.dev  ## The slow tests alone
	$(MAKE) --jobs=2 --output-sync=target --keep-going processes test-containers

# Four at a time: they wait for processes, leases and deadlines more than they compute.
processes: $(BIN)/.dev  ## The slow tests that need no container engine
	$(BIN)/python -m pytest -q -n 4 --dist worksteal --durations 25 -m "slow and not containers"

# More of the same, an hour or two: further examples, storms, places to kill, shadow models.
test-deep: export CONFIDE_TEST_DEPTH = full
test-deep: $(BIN)/.dev  ## All that the tests can do, see tests/depth.py
	$(BIN)/python -m pytest -q -n 3 --dist worksteal -m "not containers" --timeout 1800

# They share one engine and one build, so one process runs them.
test-containers: $(BIN)/.dev  ## The demo as containers, on a real Docker engine
	$(BIN)/python -m pytest -q -rs -m containers tests/e2e

check: $(BIN)/.dev  ## Style, types, architecture
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

sbom: $(BIN)/.run  ## What is installed, as CycloneDX, held against constraints.txt
	mkdir -p build
	$(BIN)/python scripts/make_sbom.py --constraints constraints.txt --output build/sbom.json

# 75 says that the database could not be reached: told loudly, and no failure of this code.
audit: $(BIN)/.run  ## Known vulnerabilities of what constraints.txt pins
	-$(PIP) --editable '.[audit]'
	$(BIN)/python scripts/audit.py || test $$? -eq 75

bench: $(BIN)/.dev  ## The measurements of the README
	mkdir -p bench
	$(BIN)/python scripts/bench_engine.py --json bench/engine.json
	$(BIN)/python scripts/bench_relay.py --json bench/relay.json
	$(BIN)/python scripts/bench_limits.py --json bench/limits.json
	$(BIN)/python scripts/bench_draws.py --json bench/draws.json
	$(BIN)/python scripts/bench_store.py --json bench/store.json
	$(BIN)/python scripts/bench_log.py --json bench/log.json
	$(BIN)/python scripts/bench_sum.py --json bench/sum.json
	$(BIN)/python scripts/bench_moments.py --json bench/moments.json
	$(BIN)/python scripts/bench_columns.py --json bench/columns.json
	$(BIN)/python scripts/bench_alignment.py --sizes 10000 100000 --json bench/alignment.json
	$(BIN)/python scripts/bench_scorecard.py --data $(CONFIDE_TEST_DATA)/default_credit_split --demographics --json bench/scorecard_demographics.json
	$(BIN)/python scripts/bench_scorecard.py --data $(CONFIDE_TEST_DATA)/default_credit_split --json bench/scorecard.json

# Hours rather than minutes; `make neural` first.
bench-banks: $(BIN)/.dev  ## The measurements of several banks, the network and noise
	mkdir -p bench
	$(BIN)/python scripts/bench_horizontal.py --real-data $(CONFIDE_TEST_DATA)/uci_default/UCI_Credit_Card.csv.gz --thresholds 8 --json bench/horizontal.json
	$(BIN)/python scripts/bench_neural.py --data $(CONFIDE_TEST_DATA) --json bench/neural.json
	$(BIN)/python scripts/bench_gains.py --data $(CONFIDE_TEST_DATA) --json bench/gains.json
	$(BIN)/python scripts/bench_challenger.py --data $(CONFIDE_TEST_DATA) --json bench/challenger.json
	$(BIN)/python scripts/bench_privacy.py --data $(CONFIDE_TEST_DATA) --json bench/privacy.json
	$(BIN)/python scripts/bench_rounds.py --json bench/rounds.json
	$(BIN)/python scripts/bench_pages.py --json bench/pages.json

clean:  ## Remove what the targets made
	rm -rf $(VENV) $(DEMO) bench build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
