# Every goal works from a fresh clone; what it needs is made first.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
# One more than there are cores, since much of what the tests do is to wait.
WORKERS ?= $(shell echo $$(($$(nproc 2>/dev/null || echo 2) + 1)))
SOAK_MINUTES ?= 20
PROOF := $(CURDIR)/out/proof.jsonl
INSTALLED := $(VENV)/.installed

# The values of .env.maintainer, each unless the environment has it.
$(foreach name,$(shell sed -nE 's/^([A-Z_]+)=.*/\1/p' .env.maintainer),\
  $(eval $(name) ?= $(shell sed -nE 's/^$(name)=(.*)/\1/p' .env.maintainer)))
ENGINE ?= docker
IMAGE := $(MAGISTER_NAME):$(IMAGE_TAG)

# The moment that everything built is dated, so that the same source makes the same bytes.
export SOURCE_DATE_EPOCH ?= $(shell git log -1 --format=%ct 2>/dev/null || echo 315532800)
VERSION = $(shell sed -nE 's/^__version__ = "(.*)"/\1/p' magister/__init__.py)
REVISION = $(shell git rev-parse HEAD 2>/dev/null || echo unknown)
CREATED = $(shell date -u -d @$(SOURCE_DATE_EPOCH) +%Y-%m-%dT%H:%M:%SZ)

# podman and buildah leave the health check out of an image in OCI's own format.
IMAGE_BUILD = $(ENGINE) build $(if $(findstring docker,$(ENGINE)),,--format docker) --file Dockerfile --tag $(IMAGE) \
  --build-arg BUILD_IMAGE=$(BUILD_IMAGE) --build-arg RUNTIME_IMAGE=$(RUNTIME_IMAGE) \
  --build-arg VERSION=$(VERSION) --build-arg REVISION=$(REVISION) --build-arg CREATED=$(CREATED) \
  --build-arg SOURCE="$(IMAGE_SOURCE)" --build-arg VENDOR="$(IMAGE_VENDOR)" $(DOCKER_BUILD_ARGS)

.DEFAULT_GOAL := help
.PHONY: help init install build demo serve test check format readme bench bench-market soak crashes proof lock clean \
  docker ci run stop shell act build-test image-test bare-test engine runner usable wheel

help: ## list the goals
	@awk -F':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

init: $(INSTALLED) ## create .env and magister.toml from the examples; never overwrites
	@test -e .env && echo ".env is there already" || (cp .env.example .env && chmod 600 .env && echo "made .env")
	@test -e magister.toml && echo "magister.toml is there already" || (cp magister.example.toml magister.toml && chmod 600 magister.toml && echo "made magister.toml")
	@echo "next: fill in either (.env wins), then $(BIN)/magister check"

install: $(INSTALLED) ## install Magister and its tools into .venv

$(INSTALLED): pyproject.toml requirements-dev.lock
	@command -v $(PYTHON) >/dev/null || { echo "there is no $(PYTHON) on this machine: install Python 3.11 or newer (on Debian: apt install python3-venv), or name one by PYTHON=" >&2; exit 2; }
	@$(PYTHON) -c 'import sys; sys.exit("Magister needs Python 3.11 or newer, this is " + sys.version.split()[0] if sys.version_info < (3, 11) else 0)'
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { echo "$(PYTHON) has no ensurepip, so it cannot make the environment $(VENV): install it (on Debian: apt install python3-venv)" >&2; exit 2; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade 'pip>=25.1'
	$(BIN)/python -m pip install --quiet --require-hashes --requirement requirements-dev.lock
	$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation --editable .
	@touch $@

build: $(INSTALLED) ## build the wheel and the executable file out/magister; the same source, the same bytes
	@rm -f out/magister out/magister-*.whl out/magister-*.tar.gz
	$(BIN)/python -m build --no-isolation --outdir out .
	$(BIN)/python .ci/executable.py
	@ls -l out

docker: engine ## build the image from source, inside of it
	$(IMAGE_BUILD) --build-arg BUILD_TYPE=source .

ci: engine wheel ## build the image from the wheel in out/
	$(IMAGE_BUILD) --build-arg BUILD_TYPE=prebuilt .

run: runner usable build ci ## build all, then run the container with .env, magister.toml and a volume
	@$(BIN)/python .ci/container.py $(ENGINE) run --detach --name $(MAGISTER_NAME) --restart unless-stopped \
	  --stop-timeout 15 --read-only --volume "$(CURDIR)/magister.toml:/home/magister/magister.toml:ro" \
	  --volume $(MAGISTER_NAME)-data:/home/magister $(DOCKER_RUN_ARGS) $(IMAGE)
	@echo "it runs: $(ENGINE) logs --follow $(MAGISTER_NAME); make shell; make stop"

stop: runner ## stop the container and remove it; the boxes go on, and the volume stays
	$(ENGINE) stop $(MAGISTER_NAME)
	$(ENGINE) rm $(MAGISTER_NAME)

shell: runner ## open a shell in the running container
	$(ENGINE) exec --interactive --tty $(MAGISTER_NAME) bash

act: ## rehearse a release here with act, .actrc and .act-secrets/; ARGS are act's, such as --job build
	@command -v act >/dev/null || { echo "make act: there is no act on this machine: https://nektosact.com/installation" >&2; exit 2; }
	@test -d .act-secrets || { echo "make act: there is no .act-secrets/: docs/workflow-testing.md says what belongs there" >&2; exit 2; }
	.github/scripts/act.sh $(ARGS)

engine:
	@command -v $(firstword $(ENGINE)) >/dev/null || { echo "there is no $(firstword $(ENGINE)) on this machine: install it, or name another by ENGINE=docker|podman|buildah" >&2; exit 2; }

runner: engine
	@case "$(ENGINE)" in *buildah*) echo "buildah builds images and runs none: ENGINE=docker or ENGINE=podman" >&2; exit 2;; esac

usable: init
	@$(BIN)/python .ci/container.py usable $(ENGINE) $(DOCKER_RUN_ARGS)
	@$(BIN)/magister check || test $$? -eq 1

wheel:
	@ls out/magister-*.whl >/dev/null 2>&1 || { echo "there is no wheel in out/: make build" >&2; exit 2; }

build-test: $(INSTALLED) ## build twice, compare the bytes, and try the executable file
	$(BIN)/python -m pytest -q -p no:randomly tests/shipping/artefacts.py

image-test: $(INSTALLED) ## build the image in both ways, run it, show its figures; needs root, buildah, podman, debootstrap
	$(BIN)/python -m pytest -q -p no:randomly tests/shipping/image.py
	@cat .image/figures.md

bare-test: ## make demo and make build in a Debian with Python and make alone; needs root, debootstrap, the network
	.ci/bare.sh .image
	@cat .image/bare.md

demo: $(INSTALLED) ## show the whole life of a pool on a simulated market; no account needed
	@$(BIN)/magister demo $(ARGS)

serve: $(INSTALLED) ## run the service with .env and magister.toml
	@$(BIN)/magister serve

test: $(INSTALLED) ## run all tests, and fail if the modules that handle money are not covered
	$(BIN)/python -m pytest -q -n $(WORKERS) --dist worksteal --cov --cov-report= $(ARGS)
	$(BIN)/python -m coverage report --fail-under=90 --include='magister/planner/plan.py,magister/planner/schedule.py,magister/planner/loss_breaker.py,magister/domain/risk/launch_breaker.py,magister/planner/evidence.py,magister/planner/adoption.py,magister/planner/ranking.py,magister/store/transitions.py,magister/store/observations.py,magister/store/cost_ledger.py,magister/domain/cost.py,magister/store/accounting/spending.py,magister/store/instances.py,magister/store/rental_history.py,magister/control/executor.py,magister/control/launcher.py,magister/vast/*'

check: $(INSTALLED) ## check format, lint, types, layers, scripts and workflows
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo
	$(BIN)/shellcheck --source-path=SCRIPTDIR .ci/run .ci/*.sh .github/scripts/*.sh
	$(BIN)/zizmor --offline --quiet --no-progress --persona=auditor .github
	.github/scripts/actionlint.sh $(BIN)

format: $(INSTALLED) ## format the code and mend what can be mended
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

readme: $(INSTALLED) ## write the parts of README.md that follow from the code
	$(BIN)/python -m tests.readme

bench: $(INSTALLED) ## measure speed, pace and idle cost against the simulator at Vast's pace
	$(BIN)/python -m tests.bench $(ARGS)

bench-market: $(INSTALLED) ## play ten simulated weeks, and what offers cost with and without memory of machines
	$(BIN)/python -m tests.bench.market $(ARGS)

soak: $(INSTALLED) ## let faults and crashes loose on a simulated pool for SOAK_MINUTES (default 20)
	$(BIN)/python -m tests.simulation --minutes $(SOAK_MINUTES) $(ARGS)

proof: $(INSTALLED) ## soak, crash everything, and write what it lived through into README.md
	@mkdir -p out && rm -f $(PROOF)
	MAGISTER_TEST_TABLE=$(PROOF) $(BIN)/python -m tests.simulation --minutes $(SOAK_MINUTES); soaked=$$?; \
	  MAGISTER_TEST_TABLE=$(PROOF) $(BIN)/python -m pytest -q -n $(WORKERS) --dist worksteal \
	    tests/properties tests/integration tests/acceptance; crashed=$$?; \
	  $(BIN)/python -m tests.table $(PROOF) --readme && test $$soaked = 0 -a $$crashed = 0 # broken laws are written too

crashes: $(INSTALLED) ## kill real processes at random moments for SOAK_MINUTES (default 20)
	$(BIN)/python -m tests.acceptance.soak $(SOAK_MINUTES)

lock: $(INSTALLED) ## lock versions and hashes for every Python and platform; ARGS=--upgrade takes newer ones
	$(BIN)/python -m pip install --quiet --group lock
	$(LOCK) --extra postgres --output-file requirements.lock pyproject.toml
	$(LOCK) --extra postgres --group dev --constraint requirements.lock --output-file requirements-dev.lock pyproject.toml
	$(LOCK) --group build --constraint requirements-dev.lock --output-file requirements-build.lock

LOCK = $(BIN)/uv pip compile --quiet --no-config --universal --python-version 3.11 --generate-hashes --no-annotate \
  --custom-compile-command 'make lock' $(ARGS)

MADE := $(VENV) out build dist .demo .image .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache

clean: ## remove what the other goals made, but no settings and no database; asks first, FORCE=1 does not
	@test -n "$(FORCE)" || { printf 'remove %s? [y/N] ' "$(wildcard $(MADE))"; read -r answer; test "$$answer" = y || { echo "nothing removed"; exit 1; }; }
	rm -rf $(MADE) .coverage .coverage.*
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
