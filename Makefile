# Everything runs from .venv, which `setup` makes; no virtual environment needs to be active.
# PYTHON=python3.12 make setup   chooses the Python        make demo LOG=FILE   tails a log of yours

.DEFAULT_GOAL := help
.PHONY: help setup demo test ci nightly chaos bench pacemaker clean

PY := .venv/bin/python
SEED ?= 1
ROUNDS ?= 1
export PYTHON

help:
	@echo 'make setup     make .venv with everything in it (the others do this first; nothing to do = instant)'
	@echo 'make demo      see it work: a log, two nodes, a kill and a hang; LOG=FILE for a log of yours'
	@echo 'make test      all tests a change must pass'
	@echo 'make ci        the same and more, as CI runs it: lint, types, arrows, docs, coverage, a short chaos run: 12 minutes'
	@echo 'make chaos     every fault, hundreds of times each: hours; goes on where it ended. KILLS=n STOPS=n: only those;'
	@echo '               SECTION=name COUNT=n: one section of docs/fault-tests.md'
	@echo 'make pacemaker two Pacemaker nodes in namespaces, one fault after the other: ROUNDS=n (root)'
	@echo 'make bench     the server beside what this machine can do; docs/performance.md names the other parts'
	@echo 'make nightly   what takes longer: nightly tests, a long chaos run, every Python found, bench. Two to three hours on'
	@echo '               two cores; a step that fails does not end it, and the last line names those that did'
	@echo 'make clean     remove what these made, .venv included'

setup:
	@if test -n "$$PYTHON" || ! $(PY) -S packaging/setup_venv.py --check 2>/dev/null; then \
	    python=$$(sh packaging/find_python.sh) && "$$python" packaging/setup_venv.py; \
	fi

demo: setup
	@$(PY) examples/demo/demo.py $(if $(LOG),--log '$(LOG)')

test: setup
	@$(PY) packaging/ci.py unit acceptance

ci: setup
	@$(PY) packaging/ci.py lint format types arrows unit mutation coverage acceptance faults chaos chaos-mix

nightly: setup
	@$(PY) packaging/ci.py --keep-going nightly properties nightly-chaos nightly-mix pacemaker pythons bench bench-gap bench-rules bench-default bench-tester

chaos: setup
	@$(PY) -m tests.faults.chaos --seed $(SEED) $(if $(SECTION),--section $(SECTION) $(if $(COUNT),--count $(COUNT)),\
	    $(if $(KILLS)$(STOPS),--kills $(or $(KILLS),0) --stops $(or $(STOPS),0),--all))

pacemaker: setup
	@$(PY) -m tests.pacemaker --rounds $(ROUNDS)

bench: setup
	@$(PY) -m bench

clean:
	rm -rf .venv .setup-stamp.lock .coverage .coverage.* coverage.json htmlcov dist build demo-run chaos-run \
	    .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	find src tests packaging examples bench -name __pycache__ -type d -prune -exec rm -rf {} +
