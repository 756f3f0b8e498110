# Every target does its own set-up; `make serve` and `make test` are the two that a newcomer needs.
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.flumegate
CONFIG ?=

.DEFAULT_GOAL := help
.PHONY: help setup setup-dev serve check format test cover faults bench bench-peers profile fuzz lock docs goldens clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(STAMP)-runtime ## create .venv with the flumegate command
setup-dev: $(STAMP)-dev

$(STAMP)-runtime: requirements/runtime.txt requirements/build.txt pyproject.toml scripts/setup.sh
	@bash scripts/setup.sh runtime
	@touch $@

$(STAMP)-dev: requirements/dev.txt pyproject.toml scripts/setup.sh
	@bash scripts/setup.sh dev
	@touch $@ $(STAMP)-runtime

serve: setup ## start the gateway (CONFIG=path for a configuration file)
	@exec $(BIN)/flumegate serve $(if $(CONFIG),--config "$(CONFIG)")

check: setup-dev ## format, lint, types, import contracts, tidy
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/pytest -q -p no:randomly tests/tidy

format: setup-dev ## format and fix what can be fixed
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

test: setup-dev ## run the test suite
	$(BIN)/pytest $(ARGS)

faults: setup-dev ## long proofs at their stated figures
	$(BIN)/pytest -m faults --timeout 1800 $(ARGS)

PURE := ir dialects wire catalog records routing quota
cover: setup-dev ## branch coverage of the pure rooms by their own tests, which must be whole
	$(BIN)/pytest -q -p no:randomly --hypothesis-seed=1 $(PURE:%=tests/%) tests/test_errors.py $(PURE:%=--cov=flumegate.%) --cov=flumegate.errors \
	  --cov-branch --cov-report=term-missing:skip-covered --cov-fail-under=100 $(ARGS)

fuzz: setup-dev ## the property tests with fifty times as many examples
	$(BIN)/pytest tests/wire tests/ir tests/laws tests/dialects tests/engine tests/door tests/routing tests/quota tests/spool tests/manage \
	  --hypothesis-profile=fuzz --timeout 1800 $(ARGS)

bench: setup-dev ## measure against nginx and installed peers, write bench/RESULTS.md
	$(BIN)/python bench/run.py $(ARGS)

bench-peers: setup-dev ## install the peers that `make bench` compares with
	bash bench/peers.sh

profile: setup-dev ## where the worker's time goes under the bench's load
	$(BIN)/python bench/profile.py $(ARGS)

docs: setup-dev ## regenerate the generated pages
	$(BIN)/python scripts/generate_docs.py

goldens: setup-dev ## write what the translation makes of every golden case; read the difference
	$(BIN)/python scripts/make_goldens.py
	$(BIN)/python scripts/generate_docs.py

lock: setup-dev ## recompile the hashed locks
	bash scripts/lock.sh

clean: ## remove what the targets made (never ./data)
	rm -rf $(VENV) .venv-peers .mypy_cache .ruff_cache .pytest_cache .hypothesis
