# relbid: `make help` says what there is. Every target makes the virtual environment that it needs, and reuses it.
#   PYTHON       the interpreter the environment is made from (3.11 or newer)
#   CONSTRAINTS  the tested versions; `make run CONSTRAINTS=` takes the newest that pyproject.toml allows
#   SCENARIO     the scenario of `make run`
#   ARGS         more arguments, e.g. make run ARGS="--set traffic.queries=20000" or make test ARGS="-k fusion"
#   PROCESSES    of `make test`: one for each core; tests/conftest.py says which tests stay in one
PYTHON ?= python3
CONSTRAINTS ?= constraints.txt
SCENARIO ?= scenarios/default.yaml
PROCESSES ?= -n logical --dist loadgroup
ARGS ?=

VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
CONSTRAIN := $(if $(CONSTRAINTS),-c $(CONSTRAINTS))

.DEFAULT_GOAL := help
.PHONY: help run app test quick check docs dist bench gpu gpu-trainings gpu-bundle fuzz audit format lock clean

help: ## Say what there is
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/  make \1\t\2/' | expand -t 16

run: $(VENV)/.installed ## Run scenarios/default.yaml: the comparison of scorers and the sweep of the relevance exponent
	$(BIN)/relbid run $(SCENARIO) $(ARGS)

app: $(VENV)/.installed-app ## Open the dashboard in a browser; the first time, on a run of the scenario
	@ls results/*/metrics.json >/dev/null 2>&1 || $(BIN)/relbid run $(SCENARIO)
	$(BIN)/relbid app $(ARGS)

test: $(VENV)/.installed-dev ## Run all tests
	$(BIN)/python -m pytest $(PROCESSES) $(ARGS)

quick: $(VENV)/.installed-dev ## Run the tests that need neither a browser nor long: under two minutes
	$(BIN)/python -m pytest $(PROCESSES) -m "not slow and not browser" $(ARGS)

check: $(VENV)/.installed-dev ## Lint, formatting, types and the import chain
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

docs: $(VENV)/.installed-dev ## Build the site of the documentation into build/site; a warning is an error
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet

dist: $(VENV)/.installed-dev ## Build wheel and sdist into dist, and check both
	rm -rf dist
	$(BIN)/python -m build --no-isolation --outdir dist .
	$(BIN)/twine check --strict dist/*
	$(BIN)/check-wheel-contents dist

bench: $(VENV)/.installed-dev ## Measure benchmarks/speed.yaml into docs/speed.json, of which the site makes a page (some 10 minutes)
	$(BIN)/python -m benchmarks.bench $(ARGS)

gpu: ## Measure all that needs a GPU, on a machine that has one and the folder of gpu-bundle; eight minutes
	PYTHONPATH=gpu-bundle/site:. $(PYTHON) -m benchmarks.gpu $(ARGS)

gpu-trainings: ## Train there what scenarios/ablations/evidence.yaml still misses; nine minutes
	PYTHONPATH=gpu-bundle/site:. $(PYTHON) -m benchmarks.gpu_trainings $(ARGS)

gpu-bundle: $(VENV)/.installed-dev ## Put together what these two need on a machine without a network
	$(BIN)/python -m benchmarks.gpu_bundle $(ARGS)

format: $(VENV)/.installed-dev ## Format the code
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

fuzz: $(VENV)/.installed-dev ## Try 20,000 hostile inputs on all cores; the count of findings must be 0
	$(BIN)/python -m benchmarks.fuzz --cases 20000 $(ARGS)

audit: $(BIN)/python ## Look the tested versions up in a database of known vulnerabilities (needs the network)
	$(PIP) install --quiet 'pip-audit>=2.7,<3'
	$(BIN)/python -m pip_audit --strict --requirement constraints.txt --no-deps --disable-pip $(ARGS)

lock: $(VENV)/.installed-dev ## Write the installed versions to constraints.txt
	@sed -n '/^#/p' constraints.txt > constraints.txt.new
	@$(PIP) freeze --exclude-editable | sed 's/+[a-z0-9]*$$//' >> constraints.txt.new
	@mv constraints.txt.new constraints.txt

clean: ## Remove the environment and the caches (results stay)
	rm -rf $(VENV) .cache .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis build *.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "relbid needs Python 3.11 or newer; $(PYTHON) is older. Try: make PYTHON=python3.12 ..." >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)

# The stamps say that the environment matches pyproject.toml and the constraints.
INSTALL = $(PIP) install --quiet $(CONSTRAIN) --editable

$(VENV)/.installed: pyproject.toml $(CONSTRAINTS) | $(BIN)/python
	$(INSTALL) '.[hcmrm]'
	@touch $@

$(VENV)/.installed-app: pyproject.toml $(CONSTRAINTS) | $(BIN)/python
	$(INSTALL) '.[app,hcmrm]'
	@touch $(VENV)/.installed $@

$(VENV)/.installed-dev: pyproject.toml $(CONSTRAINTS) | $(BIN)/python
	$(INSTALL) '.[all,browser,dev,docs,release]'
	@touch $(VENV)/.installed $(VENV)/.installed-app $@
