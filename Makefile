# The short names of everything; `make` alone explains itself.
PYTHON ?= python3
PRESET ?= default
SECONDS ?= 1800
BIN := .venv/bin
RUN := $(BIN)/python
TESTS := $(RUN) -m pytest --numprocesses 4 --dist worksteal
# Hundreds of short processes would each compile this project anew.
export PYTHONDONTWRITEBYTECODE :=

.DEFAULT_GOAL := help
.PHONY: help demo smoke bench report verify sensitivity cost faults soak setup check test lint nightly mutation examples clean

help:
	@echo "pushmark: polling, long polling, SSE, WebSocket and Socket.IO on one feed, measured next to each other."
	@awk 'BEGIN {FS = ":.*## "} /^##@ / {printf "\n%s\n", substr($$0, 5)} /^[a-z]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
	@echo
	@echo "  OUT=some/folder names the place of the results; PRESET=smoke is the short form of bench, cost and faults."
	@echo "  Every command has a --help: $(RUN) -m servers|clients|bench|reports --help (all of them: docs/commands.md)"

##@ See it

demo: setup ## Show a live feed in the terminal: this machine's figures over SSE
	@$(RUN) -m servers sse --port 0 --rate-hz 2 | { \
	  url=$$($(RUN) -c 'import json; print(json.loads(input())["url"])'); \
	  $(RUN) -m clients sse "$$url"; }

##@ Measure it

smoke: setup ## Measure every transport briefly, to see that everything works (a minute and a half)
	@$(RUN) -m bench run --preset smoke $(if $(OUT),--out '$(OUT)')

bench: setup ## Measure every transport and leave a report (about 10 minutes)
	@$(RUN) -m bench run --preset $(PRESET) $(if $(OUT),--out '$(OUT)')

report: setup ## Render the report of the newest run (or of OUT) again
	@$(RUN) -m reports $(or $(OUT),results/latest)

sensitivity: setup ## Measure how the ratings change with round trip, poll interval and rate (about 9 minutes)
	@$(RUN) -m bench sensitivity $(if $(OUT),--out '$(OUT)')

cost: setup ## Measure what a delivery costs the server: CPU, memory, growth (about 23 minutes)
	@$(RUN) -m bench cost --preset $(PRESET) $(if $(OUT),--out '$(OUT)')

faults: setup ## Kill, cut off and stall servers with clients connected, and attack them (about 18 minutes)
	@$(RUN) -m bench faults --preset $(PRESET) $(if $(OUT),--out '$(OUT)')

soak: setup ## Let clients come and go for SECONDS (1800), and list what servers keep
	@$(RUN) -m bench soak --duration-s $(SECONDS) $(if $(OUT),--out '$(OUT)')

verify: setup ## Check the meters themselves against a packet capture (3 minutes; needs tcpdump)
	@$(RUN) -m bench verify $(if $(OUT),--out '$(OUT)')

##@ Develop it

setup: $(BIN)/.ready ## Make .venv with exactly the versions of constraints.txt (about 2 minutes, once)

$(BIN)/.ready: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "pushmark needs Python 3.11 or newer; name one: make setup PYTHON=python3.12"; exit 1; }
	@echo "Setting up .venv with the versions of constraints.txt: about 2 minutes, once."
	@$(PYTHON) -m venv .venv
	@$(RUN) -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	@touch $@

check: lint ## Before every commit: lint, types, import walls and the pure tests (under 2 minutes)
	@$(TESTS) -q tests/pure

test: setup ## Run every test that CI runs, four at a time (about 10 minutes)
	@$(TESTS)

mutation: setup ## Change what numbers and verdicts rest on, one place at a time, and list what no test notices
	@$(RUN) -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[mutation]'
	@rm -rf mutants
	@$(BIN)/mutmut run
	@$(RUN) -m tests.helpers.survivors

lint: setup ## ruff, mypy --strict, and the walls between the folders
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

nightly: setup ## What takes hours: the tests three times over, their full sizes, and every full benchmark
	@for round in 1 2 3; do $(TESTS) -q || exit 1; done
	@$(TESTS) -q -m nightly -o faulthandler_timeout=1200
	@PUSHMARK_FUZZ_EXAMPLES=10000 PUSHMARK_FAULT_CLIENTS=200 $(TESTS) -q tests/commands/test_reliability.py
	@PUSHMARK_SHUTDOWN_CLIENTS=490 $(TESTS) -q tests/transports/test_shutdown.py
	@$(MAKE) --no-print-directory mutation
	@$(RUN) -m bench run --preset default
	@$(RUN) -m bench run --preset full
	@$(RUN) -m bench verify
	@$(RUN) -m bench aa
	@$(RUN) -m bench aa --planted
	@$(RUN) -m bench sensitivity
	@$(RUN) -m bench cost
	@$(RUN) -m bench cost --tls
	@$(RUN) -m bench generator
	@$(RUN) -m bench faults
	@$(RUN) -m bench soak

examples: setup ## Render the published reports under docs/runs anew from their results (12 seconds)
	@for folder in $$(grep -ls '"schema_version"' docs/runs/*/*.json docs/runs/*/*/results.json | cut -d/ -f1-3 | sort -u); do \
	  rm -rf "$$folder/figures"; \
	  $(RUN) -m reports "$$folder" >/dev/null || exit 1; echo "Rendered $$folder"; \
	done
	@rm -rf docs/runs/cost/figures
	@$(RUN) -m reports cost docs/runs/cost/*/cost.json --out docs/runs/cost >/dev/null && echo "Rendered docs/runs/cost"
	@$(RUN) -m reports compare tests/data/version_1 docs/runs/table --markdown docs/runs/table/compare.md >/dev/null && \
	  echo "Rendered docs/runs/table/compare.md"

clean: ## Remove .venv and caches; results stay
	@rm -rf .venv *.egg-info build .mypy_cache .ruff_cache .hypothesis .import_linter_cache
