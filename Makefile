# make demo          everything end to end on simulated data, 1 to 2 minutes after the installation
# make demo-video    from video files to detections with the real I3D network; VIDEO=match.mp4 looks at yours too
# make test          all tests; the last lines say what was left out for want of what
# make test-fast     those that take less than 0.3 s each (tests/slow.txt): for every edit
# make test-addons   all tests on the stack of tensorflow-addons (Python 3.9 to 3.11)
# make weights       fetches the weights of the I3D network, whose tests are left out otherwise
# make engines       adds Apache Beam, Dask and Spark to .venv, whose tests are left out otherwise; make beam: Beam alone
# make storage       adds an emulator of Google Cloud Storage to .venv, whose tests are left out otherwise
# make onnx          adds the converter to ONNX to .venv, whose tests are left out otherwise
# make docs          the documentation as a site, in site/
# make lint          style and types
# They set up .venv or .venv-addons themselves. Another interpreter: make PYTHON=python3.12 demo

PYTHON        ?= python3
PYTHON_ADDONS ?= $(shell for p in python3.11 python3.10 python3.9; do \
	$$p -c 'import ensurepip, venv' 2>/dev/null && echo $$p && break; done)
VENV          := .venv
RUN           := $(VENV)/bin/python
STAMP         := $(VENV)/.installed
STAMP_BEAM    := $(VENV)/.beam
STAMP_ENGINES := $(VENV)/.engines
STAMP_ONNX    := $(VENV)/.onnx
STAMP_STORAGE := $(VENV)/.storage
STAMP_DOCS    := $(VENV)/.docs
VENV_ADDONS   := .venv-addons
RUN_ADDONS    := $(VENV_ADDONS)/bin/python
STAMP_ADDONS  := $(VENV_ADDONS)/.installed
# What differs between the stacks: the network, its training, checkpoints, the export.
TESTS_ADDONS  := $(addprefix tests/,losses model ops optimization runs/test_checkpoints.py training/test_trainer.py \
	saved_model/test_export.py common/test_stacks.py data_prep/test_extraction_network.py)
# Whole files, whose tests share fixtures and traced graphs, in the order that they are collected in: the slow ones first.
IN_TWO        := -n 2 --dist loadfile --no-loadscope-reorder
# Tests that compare the stacks ask the other one's interpreter; they are skipped where it is not installed.
OTHER          = TC3NET_OTHER_PYTHON=$(abspath $(wildcard $(1)))

.PHONY: demo demo-video test test-fast slow-list test-addons test-addons-fast beam engines onnx storage weights docs \
	has-addons-python lint clean

demo: $(STAMP)
	$(RUN) -m tc3net.demo --output_dir=demo_output

demo-video: $(STAMP)
	$(RUN) -m tc3net.demo_video --output_dir=demo_video_output $(if $(VIDEO),--video="$(VIDEO)")

test: $(STAMP)
	$(call OTHER,$(RUN_ADDONS)) $(RUN) -m pytest $(IN_TWO)

test-fast: $(STAMP)
	$(RUN) -m pytest $(IN_TWO) -m 'not slow'

# Notes in tests/slow.txt which tests take more than 0.3 s.
slow-list: $(STAMP)
	TC3NET_RECORD_SLOW=1 $(call OTHER,$(RUN_ADDONS)) $(RUN) -m pytest $(IN_TWO)

test-addons: $(STAMP_ADDONS)
	$(call OTHER,$(RUN)) $(RUN_ADDONS) -m pytest $(IN_TWO)

test-addons-fast: $(STAMP_ADDONS)
	$(call OTHER,$(RUN)) $(RUN_ADDONS) -m pytest $(IN_TWO) $(TESTS_ADDONS)

beam: $(STAMP_BEAM)

engines: $(STAMP_ENGINES)

onnx: $(STAMP_ONNX)

storage: $(STAMP_STORAGE)

weights: $(STAMP)
	$(RUN) -m data_prep.weights --network=i3d_rgb

docs: $(STAMP_DOCS)
	NO_MKDOCS_2_WARNING=1 $(RUN) -m mkdocs build --strict

# Succeeds where an interpreter is there that tensorflow-addons runs on.
has-addons-python:
	@test -n "$(PYTHON_ADDONS)"

lint: $(STAMP)
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy

clean:
	rm -rf $(VENV) $(VENV_ADDONS) demo_output demo_video_output

$(STAMP): requirements.txt setup.py
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(0 if (3, 10) <= v <= (3, 13) else "Python %d.%d found, 3.10 to 3.13 expected: run make PYTHON=python3.12 (or another) again" % v)'
	@$(PYTHON) -c 'import ensurepip, venv' || { echo "Python's venv module is missing: install it (Debian and Ubuntu: python3-venv)"; exit 1; }
	$(PYTHON) -m venv --clear $(VENV)
	$(VENV)/bin/pip install --quiet --disable-pip-version-check -r requirements.txt -e '.[dev]'
	@touch $(STAMP)

$(STAMP_BEAM): $(STAMP)
	$(VENV)/bin/pip install --quiet --disable-pip-version-check -r requirements.txt -e '.[beam]'
	@touch $(STAMP_BEAM)

# In one command, so that pip finds versions that suit all of them.
$(STAMP_ENGINES): $(STAMP)
	$(VENV)/bin/pip install --quiet --disable-pip-version-check -r requirements.txt -e '.[beam,dask,spark]'
	$(VENV)/bin/pip check
	@touch $(STAMP_BEAM) $(STAMP_ENGINES)

$(STAMP_ONNX): $(STAMP)
	$(VENV)/bin/pip install --quiet --disable-pip-version-check -r requirements.txt -e '.[onnx]'
	@touch $(STAMP_ONNX)

$(STAMP_STORAGE): $(STAMP)
	$(VENV)/bin/pip install --quiet --disable-pip-version-check -r requirements.txt -e '.[storage]'
	@touch $(STAMP_STORAGE)

$(STAMP_DOCS): $(STAMP)
	$(VENV)/bin/pip install --quiet --disable-pip-version-check -r requirements.txt -e '.[docs]'
	@touch $(STAMP_DOCS)

$(STAMP_ADDONS): requirements-addons.txt setup.py
	@test -n "$(PYTHON_ADDONS)" || { echo "No Python 3.9, 3.10 or 3.11 with its venv module found, which tensorflow-addons needs: install one, or run make PYTHON_ADDONS=/path/to/python $(MAKECMDGOALS)"; exit 1; }
	@$(PYTHON_ADDONS) -c 'import sys; v = sys.version_info[:2]; sys.exit(0 if (3, 9) <= v <= (3, 11) else "Python %d.%d found, 3.9 to 3.11 expected: run make PYTHON_ADDONS=python3.11 (or another) again" % v)'
	$(PYTHON_ADDONS) -m venv --clear $(VENV_ADDONS)
	$(VENV_ADDONS)/bin/pip install --quiet --disable-pip-version-check -e '.[addons,dev]'
	@touch $(STAMP_ADDONS)
