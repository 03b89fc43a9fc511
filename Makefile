PYTHON ?= python3
ANNOTATIONS ?= 0
APPRENTICE := .venv/bin/apprentice

.PHONY: setup demo test lint bench-loop clean

setup: .venv/.ready .venv-label-studio/.ready

.venv/.ready: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	.venv/bin/pip install --progress-bar on --constraint constraints.txt --editable '.[dev]'
	.venv/bin/pip install --quiet --no-deps label-studio-ml==1.0.9
	touch $@

.venv-label-studio/.ready: constraints-label-studio.txt
	$(PYTHON) -m venv .venv-label-studio
	.venv-label-studio/bin/pip install --progress-bar on --constraint constraints-label-studio.txt label-studio
	touch $@

demo: setup
	$(APPRENTICE) demo --annotations $(ANNOTATIONS)

lint: setup
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy
	.venv/bin/lint-imports

test: lint
	.venv/bin/pytest

bench-loop: setup
	.venv/bin/python -m benchmarks.loop

clean:
	rm -rf .venv .venv-label-studio .demo
