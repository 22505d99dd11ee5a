# The only door to this repository: `make help` lists what is behind it.

SHELL := /bin/bash
.DEFAULT_GOAL := help
.PHONY: help setup demo demo-real test test-cluster test-faults e2e e2e-node lint chart bench images bundle generate verify lock clean

PYTHON ?=
BIN := .venv/bin
CHECKED := crds store operator trainer images tests examples
SLOW := local or cluster or bench or e2e or real
CLUSTER_TESTS = $(BIN)/python -m tests.cluster.build && $(BIN)/python -m pytest -n 2 -m cluster tests
# Programs that write files into the repository, and what they write: make verify compares.
GENERATORS := '-m plumbline_api.schemas crds/schemas' '-m plumbline_api.crd crds' '-m plumbline_api.pages docs' \
  '-m plumbline_operator.kube.chart charts/plumbline docs/install.md'
GENERATED := crds/schemas crds/*.yaml docs charts/plumbline

IMAGE_OPTIONS = $(if $(ONLY),--only '$(ONLY)') $(if $(BUILDER),--builder '$(BUILDER)') \
  $(if $(BASE),--base '$(BASE)' --build-base '$(BUILD_BASE)')

help: ## list these targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "make %-12s %s\n", $$1, $$2 }' Makefile

setup: ## make or refresh .venv (about 6 GB with torch and CUDA; a moment when nothing changed)
	@PYTHON='$(PYTHON)' requirements/setup.sh

demo: setup ## align, attack, judge and serve the task assistant (minutes; again: seconds)
	@$(BIN)/python examples/task-assistant/prepare.py
	@$(BIN)/plumbline run -f examples/task-assistant --smoke '$(BIN)/python examples/task-assistant/talk.py'

demo-real: setup ## the same with a real 135M model and published attack prompts (up to 40 minutes)
	@requirements/setup.sh redteam-data
	@$(BIN)/python examples/smollm2/prepare.py
	@$(BIN)/plumbline run -f examples/smollm2

test: setup ## every test but the opt-in ones (the first time it builds Kubernetes: about 13 minutes)
	@began=$$SECONDS; \
	if echo 'test: 1 of 3, unit and contract' && $(BIN)/python -m pytest -n 2 -m 'not ($(SLOW))' tests \
	&& echo 'test: 2 of 3, whole programs on this machine' && $(BIN)/python -m pytest -n 2 -m local tests \
	&& echo 'test: 3 of 3, a real control plane' && $(CLUSTER_TESTS); \
	then echo "test: PASSED in $$((SECONDS - began)) s"; \
	else echo "test: FAILED after $$((SECONDS - began)) s"; exit 1; fi

test-cluster: setup ## only the tests on a real Kubernetes API server
	@$(CLUSTER_TESTS)

test-faults: setup ## inject every fault as often as docs/faults.md tells (an hour and more)
	@$(BIN)/python -m tests.cluster.build && $(BIN)/python -m pytest -m cluster --all-faults tests/cluster/faults

e2e: setup ## the tests on a real node: containerd, kubelet, pod network, a private registry (root, Linux; ALL=1: every fault)
	@$(BIN)/python -m tests.e2e.build && $(BIN)/python -m pytest -m e2e -n 2 -rs --durations=15 $(if $(ALL),--all-faults) tests/e2e

e2e-node: setup ## the part of e2e that takes neither images nor Argo CD (three minutes, once the node's programs are there)
	@$(BIN)/python -m tests.e2e.build --node-alone && $(BIN)/python -m pytest -m e2e -rs --node-alone tests/e2e

lint: setup ## ruff, mypy --strict and the import contracts
	@$(BIN)/ruff check
	@$(BIN)/ruff format --check
	@$(BIN)/mypy
	@for folder in examples/*/; do ! compgen -G "$$folder*.py" >/dev/null || MYPYPATH=$$folder $(BIN)/mypy "$$folder"*.py || exit 1; done
	@$(BIN)/lint-imports

chart: setup ## lint the Helm chart, render it into build/chart, and run Checkov over that
	@$(BIN)/python -m tests.chart build/chart

bench: setup ## measure speed against limits, the operator beside kopf on a real API server
	@$(BIN)/python -m tests.cluster.build && $(BIN)/python -m pytest -m bench -s tests

images: setup ## build the container images into build/images (ONLY=guard,operator; FLAGS=--help tells more)
	@$(BIN)/python -m images.build $(IMAGE_OPTIONS) $(FLAGS)

bundle: setup ## write the air-gap bundle of build/images into build/bundle (KEY=FILE signs it)
	@$(BIN)/python -m images.bundle $(if $(KEY),--key '$(KEY)') $(FLAGS)

generate: setup ## write every generated file again
	@for program in $(GENERATORS); do $(BIN)/python $$program || exit 1; done

verify: generate ## fail if a generated file differs from what is committed
	@[ -z '$(GENERATED)' ] || git diff --exit-code -- $(GENERATED) || { echo 'verify: commit what make generate wrote'; exit 1; }

lock: setup ## resolve requirements/*.in anew into the locks (UPGRADE=--upgrade for the newest)
	@for name in bootstrap runtime dev chart-checks redteam-data cluster-tools cluster-go; do \
	  case $$name in redteam-data|cluster-*) flags=--no-deps ;; *) flags= ;; esac; \
	  UV_CUSTOM_COMPILE_COMMAND='make lock' $(BIN)/uv pip compile --quiet --universal --python-version 3.11 \
	    --generate-hashes --no-emit-index-url $(UPGRADE) $$flags requirements/$$name.in -o requirements/$$name.txt || exit 1; \
	done
	@for name in build guard operator evaluator trainer; do \
	  $(BIN)/python -m images.build.requirements $$name | UV_CUSTOM_COMPILE_COMMAND='make lock' $(BIN)/uv pip compile --quiet \
	    --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-annotate -c requirements/runtime.txt - \
	    -o requirements/images/$$name.txt || exit 1; \
	done

clean: ## remove caches, test leavings and local state (.plumbline), keep .venv
	@rm -rf .plumbline .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache build examples/*/build
	@find $(CHECKED) -name __pycache__ -type d -prune -exec rm -rf {} +
