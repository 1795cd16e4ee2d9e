# make demo   everything end to end on simulated data, 1 to 2 minutes after the installation
# make test   all tests
# make lint   style and types
# Both set up .venv themselves. Another interpreter: make PYTHON=python3.12 demo

PYTHON ?= python3
VENV   := .venv
RUN    := $(VENV)/bin/python
STAMP  := $(VENV)/.installed

.PHONY: demo test lint clean

demo: $(STAMP)
	$(RUN) -m tc3net.demo --output_dir=demo_output

test: $(STAMP)
	$(RUN) -m pytest -n 2 --dist loadfile

lint: $(STAMP)
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy

clean:
	rm -rf $(VENV) demo_output

$(STAMP): requirements.txt setup.py
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(0 if (3, 10) <= v <= (3, 13) else "Python %d.%d found, 3.10 to 3.13 expected: run make PYTHON=python3.12 (or another) again" % v)'
	@$(PYTHON) -c 'import ensurepip, venv' || { echo "Python's venv module is missing: install it (Debian and Ubuntu: python3-venv)"; exit 1; }
	$(PYTHON) -m venv --clear $(VENV)
	$(VENV)/bin/pip install --quiet --disable-pip-version-check -r requirements.txt -e '.[dev]'
	@touch $(STAMP)
