# Each target sets itself up first, on any machine with Python >= 3.10 and make:  make demo | test | test-core | slow | docs
PYTHON ?= python3
VENV := .venv
CORE := .venv-core
DOCS := .venv-docs
RECIPE := setup.cfg pyproject.toml constraints.txt
SOURCES := nmech.py $(wildcard derive/*.py derive/*/*.py numerics/*.py torch_bridge/*.py torch_bridge/templates/*.html)

.PHONY: demo test test-core slow docs
.DELETE_ON_ERROR:

# Two test processes on two cores: one thread in each.
test test-core slow: export OMP_NUM_THREADS := 1

# Trains small VGG-16s, evaluates their logs and writes demo/report.html.
demo: $(VENV)/.ready
	$(VENV)/bin/nmech experiment --out demo

test: $(VENV)/.ready
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/pyright --pythonpath $(VENV)/bin/python
	$(VENV)/bin/pytest -n 2

slow: $(VENV)/.ready
	$(VENV)/bin/pytest -n 2 -m slow

# What needs no torch runs where there is none, and the command line from the wheel that users get.
test-core: $(CORE)/.ready
	@for name in torch matplotlib; do \
	    if $(CORE)/bin/python -c "import $$name" 2>/dev/null; then echo "test-core: $$name can be imported"; exit 1; fi; \
	done
	$(CORE)/bin/nmech derive scale --momentum
	$(CORE)/bin/pytest -n 2 tests/derive tests/numerics derive numerics

# The pages, docs/_build/html/index.html; a warning is an error. torch counts symmetries for the page on the paper.
docs: export OMP_NUM_THREADS := 1
docs: $(DOCS)/.ready
	rm -rf docs/_build docs/auto_examples docs/sg_execution_times.rst
	$(DOCS)/bin/sphinx-build -W --keep-going -b html docs docs/_build/html

$(DOCS)/.ready: $(RECIPE) | python-3.10
	$(PYTHON) -m venv $(DOCS)
	$(DOCS)/bin/python -m pip install -c constraints.txt -e '.[torch,docs]'
	touch $@

$(VENV)/.ready: $(RECIPE) | python-3.10
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/python -m pip install -c constraints.txt -e '.[torch,plot,test]'
	touch $@

$(CORE)/.ready: $(RECIPE) $(SOURCES) | python-3.10
	$(PYTHON) -m venv $(CORE)
	rm -rf build
	$(CORE)/bin/python -m pip install -c constraints.txt . pytest pytest-xdist hypothesis
	touch $@

.PHONY: python-3.10
python-3.10:
	@$(PYTHON) -c 'import sys; sys.exit("nmech needs Python 3.10 or newer: make PYTHON=..." if sys.version_info < (3, 10) else 0)'
