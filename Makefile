# Two commands for a newcomer: `make demo` and `make test`.
#
# PYTHON        interpreter for the virtual environments (3.11 or newer)
# TORCH_INDEX   index to take PyTorch from, e.g. PyTorch's own index of CPU wheels; empty = pip's configuration
# PARALLAX_DATA folder with the real recordings (tests marked `data`)

PYTHON ?= python3
TORCH_INDEX ?=
BIN := .venv/bin
LS := .venv-ls/bin/label-studio
# Older releases of Label Studio that the live tests run on, each in an environment of its own.
RELEASES := $(sort $(patsubst tests/releases/%.txt,.venv-ls-%/bin/label-studio,$(wildcard tests/releases/*.txt)))
export OMP_NUM_THREADS ?= 1
export OPENBLAS_NUM_THREADS ?= 1

.PHONY: chaos demo docs fuzz soak test test-all test-avx2 test-matrix lint audit bench system-packages clean

.venv/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/pip install -q $(if $(TORCH_INDEX),--index-url $(TORCH_INDEX)) -c constraints.txt torch
	$(BIN)/pip install -q -c constraints.txt -e ".[test,research,redis-server,postgres]"
	touch $@

$(LS): constraints-label-studio.txt
	$(PYTHON) -m venv .venv-ls
	.venv-ls/bin/pip install -q -c constraints-label-studio.txt label-studio
	touch $@

.venv-ls-%/bin/label-studio: tests/releases/%.txt
	$(PYTHON) -m venv .venv-ls-$*
	.venv-ls-$*/bin/pip install -q -c $< label-studio
	touch $@

demo: .venv/installed $(LS)
	$(BIN)/python -m plugins.demo $(if $(EXIT),--exit) $(if $(RECORDING),--recording $(RECORDING)) $(if $(SEED),--seed $(SEED)) \
		$(if $(SUBJECTS),--subjects $(SUBJECTS)) $(if $(UNNUMBERED),--no-numbered)

lint: .venv/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/vulture

test: .venv/installed $(LS) lint
	$(BIN)/python -m tests.run $(if $(CI),--coverage)

test-all: .venv/installed $(LS) lint
	$(BIN)/python -m tests.run --all

test-avx2: .venv/installed
	DNNL_MAX_CPU_ISA=AVX2 $(BIN)/python -m pytest -q -m "not slow and not gpu" tests/ml_backend/pose/networks tests/ml_backend/pose/test_training_engine.py

test-matrix: .venv/installed $(LS) $(RELEASES)
	$(BIN)/python -m tests.matrix $(RELEASES) $(LS)

# Hundreds of fault runs, resumable (RUNS=1000 in all, in .chaos), and what came of them.  Some hours of one core.
chaos: .venv/installed
	nice -n 19 $(BIN)/python -m tests.chaos.fault_runs --runs $(or $(RUNS),1000)
	$(BIN)/python -m tests.chaos.fault_report --figure .chaos/recovery.png

# Round after round of labelling for MINUTES (default: six hours' worth of rounds), and what grows.
soak: .venv/installed
	nice -n 19 $(BIN)/python -m tests.chaos.soak $(if $(MINUTES),--minutes $(MINUTES))

# Damaged requests, tasks and files; findings go to tests/corpus.  COUNT=10000 of each kind.
fuzz: .venv/installed
	nice -n 19 $(BIN)/python -m tests.fuzz --count $(or $(COUNT),10000)

# Reads the code without importing it, so its environment needs nothing of ours.
.venv-docs/installed: constraints-docs.txt
	$(PYTHON) -m venv .venv-docs
	.venv-docs/bin/pip install -q -c constraints-docs.txt mkdocs mkdocs-material "mkdocstrings[python]"
	touch $@

docs: .venv-docs/installed
	NO_MKDOCS_2_WARNING=1 .venv-docs/bin/mkdocs build --strict

# Known vulnerabilities of what is pinned; asks PyPI, so it is no part of the tests: run it by schedule.
.venv-audit/bin/pip-audit:
	$(PYTHON) -m venv .venv-audit
	.venv-audit/bin/pip install -q pip-audit

audit: .venv/installed .venv-audit/bin/pip-audit
	$(BIN)/python -m tests.audit .venv-audit/bin/pip-audit constraints.txt constraints-label-studio.txt

bench: .venv/installed $(LS)
	$(BIN)/python -m bench

clean:
	rm -rf .venv .venv-ls .venv-docs .venv-audit site .venv-ls-* .demo .test .bench .chaos
