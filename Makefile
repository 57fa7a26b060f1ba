# Every goal works from a fresh clone; what it needs is made first.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
WORKERS ?= 2
SOAK_MINUTES ?= 10
INSTALLED := $(VENV)/.installed

.DEFAULT_GOAL := help
.PHONY: help init install build demo serve test check format readme bench soak crashes lock clean

help: ## list the goals
	@awk -F':.*## ' '/^[a-z]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

init: $(INSTALLED) ## create .env and magister.toml from the examples; never overwrites
	@test -e .env && echo ".env is there already" || (cp .env.example .env && chmod 600 .env && echo "made .env")
	@test -e magister.toml && echo "magister.toml is there already" || (cp magister.example.toml magister.toml && chmod 600 magister.toml && echo "made magister.toml")
	@echo "next: fill in either (.env wins), then $(BIN)/magister check"

install: $(INSTALLED) ## install Magister and its tools into .venv

$(INSTALLED): pyproject.toml requirements.lock
	@$(PYTHON) -c 'import sys; sys.exit("Magister needs Python 3.11 or newer, this is " + sys.version.split()[0] if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade 'pip>=25.1'
	$(BIN)/python -m pip install --quiet --constraint requirements.lock --editable '.[postgres]' --group dev
	@touch $@

build: $(INSTALLED) ## build the wheel and the sdist into out/
	$(BIN)/python -m build --outdir out .

demo: $(INSTALLED) ## show the whole life of a pool on a simulated market; no account needed
	@$(BIN)/magister demo $(ARGS)

serve: $(INSTALLED) ## run the service with .env and magister.toml
	@$(BIN)/magister serve

test: $(INSTALLED) ## run all tests, and fail if the modules that handle money are not covered
	$(BIN)/python -m pytest -q -n $(WORKERS) --dist worksteal --cov --cov-report= $(ARGS)
	$(BIN)/python -m coverage report --fail-under=90 --include='magister/planner.py,magister/listings.py,magister/losses.py,magister/outlook.py,magister/evidence.py,magister/adoption.py,magister/offers.py,magister/ledger.py,magister/rows.py,magister/executor.py,magister/renting.py,magister/vast/*'

check: $(INSTALLED) ## check format, lint, types and layers
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo

format: $(INSTALLED) ## format the code and mend what can be mended
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

readme: $(INSTALLED) ## write the parts of README.md that follow from the code
	$(BIN)/python -m tests.readme

bench: $(INSTALLED) ## measure speed, pace and idle cost against the simulator at Vast's pace
	$(BIN)/python -m tests.bench $(ARGS)

soak: $(INSTALLED) ## let faults and crashes loose on the pool for SOAK_MINUTES (default 10)
	$(BIN)/python -m tests.soak $(SOAK_MINUTES)

crashes: $(INSTALLED) ## kill real processes at random moments for SOAK_MINUTES (default 10)
	$(BIN)/python -m tests.acceptance.soak $(SOAK_MINUTES)

lock: ## pin the versions that are installed now
	$(BIN)/python -m pip freeze --exclude-editable --exclude pip > requirements.lock

clean: ## remove what the other goals made, but no settings and no database of yours
	rm -rf $(VENV) out build dist .demo .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache .coverage .coverage.*
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
