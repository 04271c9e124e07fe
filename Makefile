# Chorale. `make` alone lists what can be done.
SHELL := /bin/sh
BIN := .venv/bin
READY := .venv/ready
# Which services to set up: make setup SERVICES="ingest mastering"
SERVICES ?=
# How many tests run at once.
JOBS ?= 2

.DEFAULT_GOAL := help
.PHONY: help setup demo up test unit check fix protos lock docs bench bench-accuracy gpu train-starter fuzz images clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: ## make .venv from the locks (SERVICES="ingest mastering" for a part of the mesh)
	@SERVICES="$(SERVICES)" tools/setup.sh
	@touch $(READY)

$(READY): $(wildcard requirements-dev.lock */requirements.lock services/*/requirements*.lock */pyproject.toml services/*/pyproject.toml)
	@$(MAKE) --no-print-directory setup

demo: $(READY) ## start the mesh, make a song, put it through every service, show the result
	@$(BIN)/chorale demo

up: $(READY) ## start the mesh on this machine and stay with it until Ctrl-C
	@$(BIN)/chorale up

test: check ## run every check and every test (what CI runs)
	@echo "==> tests"
	@$(BIN)/pytest -n $(JOBS) --dist loadgroup

unit: $(READY) ## run a package's tests that need no server: make unit PACKAGE=services/ingest
	@$(BIN)/pytest -n $(JOBS) -m "not slow and not served" $(PACKAGE)/tests

check: $(READY) ## format, lint, types, import contracts, protos, locks, docs: under a minute
	@tools/check.sh

fix: $(READY) ## format and mend what can be mended by machine
	@$(BIN)/ruff format --quiet . && $(BIN)/ruff check --quiet --fix . ; $(BIN)/buf format -w protos

protos: $(READY) ## compile the contract anew after editing a .proto
	@$(BIN)/python protos/compile_protos.py

lock: ## write the locks anew from what is installed
	@$(BIN)/python tools/lock.py

docs: $(READY) ## write the generated parts of the documentation anew
	@$(BIN)/python tools/docs.py

bench: $(READY) ## measure against the yardsticks of docs/benchmarks.md
	@$(BIN)/python -m bench

bench-accuracy: $(READY) ## how right analysis is, engine by engine, and how often music is known again
	@$(BIN)/python -m bench analysis_accuracy fingerprint_accuracy

gpu: $(READY) ## check and measure what needs a GPU; says aloud what it skips where there is none
	@$(BIN)/pytest -n 0 -rs -m gpu services/generation/tests/test_generation_gpu.py
	@$(BIN)/python -m bench.generation_cascade --gpu

train-starter: $(READY) ## train a codec and a cascade by the mesh that is up: make train-starter AUDIO="a.flac b.flac ..."
	@test -n "$(AUDIO)" || { echo "Name at least 9 files of 30 s: make train-starter AUDIO=\"a.flac b.flac ...\""; exit 2; }
	@$(BIN)/chorale train codec models/encodec-24khz $(AUDIO) $(TRAIN)
	@$(BIN)/chorale train cascade models/cascade $(AUDIO) $(TRAIN)

fuzz: $(READY) ## 10,000 random requests per RPC (RPC=... for some, COUNT=... for fewer)
	@$(BIN)/python -m pytest -n $(JOBS) tests/mesh/test_fuzz.py --fuzz-count $(or $(COUNT),10000)

images: ## build the container images with buildah, podman or docker (ONLY="ingest client", VARIANT=cuda)
	@deploy/images/build.sh $(ONLY)

clean: ## remove what was built (keeps .venv)
	@rm -rf protos/gen dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
