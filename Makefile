# Every target makes what it needs: a virtual environment in .venv with the right extras, once.
# GNU make and Python 3.11 or newer are all that must be there.

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
PIP    := $(BIN)/python -m pip --disable-pip-version-check

# The two onnxruntime wheels overwrite each other's files: one environment has one of them, for good.
EXTRA := $(shell nvidia-smi >/dev/null 2>&1 && echo gpu || echo cpu)

# More arguments for the tools behind a target, for example `make test ARGS="-k contour -x"`.
ARGS ?=

.DEFAULT_GOAL := help
.PHONY: help setup demo test test-training referees check format docs openapi bench bench-providers bench-compressed bench-growth bench-peers bench-real bench-model bench-final bench-regression bench-page train export image image-test clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

# --- the environment ------------------------------------------------------------------------------------------------

$(VENV)/pyvenv.cfg:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
	  echo "recontour needs Python 3.11 or newer, but '$(PYTHON)' is $$($(PYTHON) --version 2>/dev/null || echo not there)."; \
	  echo "Name another one: make PYTHON=python3.12 ..."; exit 1; }
	@$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); \
	  echo "'$(PYTHON) -m venv' failed. On Debian and Ubuntu: apt-get install python3-venv"; exit 1; }

# One stamp for each set of extras: newer than pyproject.toml means that nothing needs to be done.
define install
	@if [ -n "$$(ls $(VENV)/.installed-*-$(if $(filter gpu,$(EXTRA)),cpu,gpu) 2>/dev/null)" ]; then \
	  echo "$(VENV) was made for another kind of machine (with or without a GPU). Run: make clean"; exit 1; fi
	@echo "installing recontour[$(EXTRAS)] into $(VENV) (the first time takes a few minutes)"
	@$(PIP) install -qq --editable '.[$(EXTRAS)]'
	@$(BIN)/recontour warm
	@touch $@
endef

SETUP    := $(VENV)/.installed-demo-$(EXTRA)
TEST     := $(VENV)/.installed-test-$(EXTRA)
TRAINING := $(VENV)/.installed-training-$(EXTRA)
PEERS    := $(VENV)/.installed-peers-$(EXTRA)
DEV      := $(VENV)/.installed-dev-$(EXTRA)

$(SETUP): EXTRAS = $(EXTRA),demo
$(SETUP): pyproject.toml | $(VENV)/pyvenv.cfg
	$(install)
$(TEST): EXTRAS = $(EXTRA),demo,test
$(TEST): pyproject.toml | $(VENV)/pyvenv.cfg
	$(install)
$(TRAINING): EXTRAS = $(EXTRA),test,training,baselines
$(TRAINING): pyproject.toml | $(VENV)/pyvenv.cfg
	$(install)
$(PEERS): EXTRAS = $(EXTRA),test,baselines,peers
$(PEERS): pyproject.toml | $(VENV)/pyvenv.cfg
	$(install)
$(DEV): EXTRAS = $(EXTRA),dev
$(DEV): pyproject.toml | $(VENV)/pyvenv.cfg
	$(install)

setup: $(SETUP) ## the environment with the `recontour` command, without torch

# --- what to do with it ---------------------------------------------------------------------------------------------

demo: $(SETUP) ## a virtual patient through the service over HTTP: contours, report and picture in demo/
	$(BIN)/recontour demo --out demo/ $(ARGS)

test: $(TEST) ## the tests; those of the training are skipped until `make test-training` has installed torch
	$(BIN)/python -m pytest $(ARGS)

# A file of tests that needs torch or elastix says so with importorskip; only those have anything new to say then.
test-training: $(TRAINING) ## the tests that need torch, after installing it
	$(BIN)/python -m pytest $(ARGS) $$(grep -rlE --include='test_*.py' 'importorskip\("(torch|itk)' tests)

# dcmrtstruct2nii needs pydicom 2, so it has an environment of its own; the tests look for it in this variable.
REFEREE := .referee/bin/python
ifneq ($(wildcard $(REFEREE)),)
export RECONTOUR_DCMRTSTRUCT2NII_PYTHON := $(CURDIR)/$(REFEREE)
endif

referees: $(REFEREE) ## an independent RTSTRUCT reader for the tests; plastimatch and dicom3tools come from apt-get
$(REFEREE):
	$(PYTHON) -m venv .referee
	.referee/bin/python -m pip install -qq 'dcmrtstruct2nii==5' 'pydicom<3' || { rm -rf .referee; exit 1; }

check: $(DEV) ## ruff, mypy strict, import contracts
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(DEV) ## let ruff put the code in order
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: $(TEST) ## write the pages that are read off the code: problems, settings, inputs
	$(BIN)/python docs/reference.py
	$(BIN)/python -m tests.dicom_catalogue > docs/inputs.md

openapi: $(SETUP) ## write openapi.yaml anew from the routes
	$(BIN)/python -m service.openapi > openapi.yaml

bench: $(TEST) ## one request stage by stage over HTTP, starts, staged plan, clients at once, memory: ARGS="--out FILE"
	$(BIN)/python -m bench $(ARGS)

bench-providers: $(TEST) ## the network alone on every runtime and precision of this machine
	$(BIN)/python -m bench.providers $(ARGS)

bench-compressed: $(TEST) ## reading a compressed CT beside native pixels
	$(BIN)/python -m bench.compressed $(ARGS)

bench-growth: $(TEST) ## how each stage grows with slices, pixels, ROIs, corners, region and queue
	$(BIN)/python -m bench.growth $(ARGS)

bench-peers: $(PEERS) ## beside elastix, demons, plastimatch and ConvexAdam, scored on the same truth
	$(BIN)/python -m bench.peers $(ARGS)

bench-real: $(PEERS) ## the refinement and those others on a real CT under synthetic motion (RECONTOUR_SHARED)
	$(BIN)/python -m bench.refinement --peers $(ARGS)

# The model that the next two targets look at, unless MODEL names another one.
LATEST := $(shell ls -d models/prostate-ct/* | sort -V | tail -n 1)

bench-model: $(TEST) ## paths, plausibility limits, strange material and precision of a model on virtual patients: MODEL=models/NAME/VERSION
	$(BIN)/python -m bench.paths $(or $(MODEL),$(LATEST))
	$(BIN)/python -m bench.calibration $(or $(MODEL),$(LATEST))
	$(BIN)/python -m bench.unseen $(or $(MODEL),$(LATEST))
	$(BIN)/python -m bench.precision $(or $(MODEL),$(LATEST))

bench-final: $(TRAINING) ## a release beside elastix, Hybrid and trained networks, on virtual patients: ARGS="--seed SEED --out FOLDER"
	$(BIN)/python -m bench.final $(or $(MODEL),$(LATEST)) $(ARGS)

bench-regression: $(TEST) ## whether a stage became slower, against bench/regression.json; ARGS=--write stores anew
	$(BIN)/python -m bench.regression $(ARGS)

bench-page: $(TEST) ## write docs/performance.md from docs/benchmarks/*.json
	$(BIN)/python -m bench.page $(wildcard docs/benchmarks/*.json) > docs/performance.md

COHORT  ?= runs/cohort
DATA    ?= runs/data
RUN     ?= runs/latest
RECIPE  ?= training/recipes/prostate-ct.toml

train: $(TRAINING) ## virtual patients as DICOM, a dataset, then the network: COHORT, DATA, RUN, RECIPE, ARGS="--minutes 60"
	$(BIN)/python -m training cohort A $(COHORT) --in-plane 256 --workers 2
	$(BIN)/python -m training prepare $(COHORT) $(DATA) --spacing 2 --validation 0.2 --test 0.2
	$(BIN)/python -m training train --recipe $(RECIPE) --dataset $(DATA) --run $(RUN) $(ARGS)

export: $(TRAINING) ## a run becomes a model folder, evaluated: DATA, RUN, MODEL
	$(BIN)/python -m training export $(RUN) $(or $(MODEL),runs/models/prostate-ct/0.0.0) --dataset $(DATA) $(ARGS)

# --- the container --------------------------------------------------------------------------------------------------

BUILDER    ?= docker
IMAGE      ?= recontour:$(shell sed -n 's/^version = "\(.*\)"/\1/p' pyproject.toml)

image: ## build the GPU image; BUILDER=podman or buildah, IMAGE=name, ARGS="--build-arg EXTRA=cpu ..."
	$(BUILDER) build --file Dockerfile --tag $(IMAGE) $(ARGS) .

image-test: $(SETUP) ## build the CPU image on a fresh Debian, start its service, send it a case (root, buildah, mmdebstrap)
	deploy/image_test.sh $(BIN)

clean: ## remove the environment and what the tools left
	rm -rf $(VENV) .referee build dist demo *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
