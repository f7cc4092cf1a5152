# `make run` starts everything, `make test` tests everything; both set up what they need first.
PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/.installed
TEST_PROCESSES ?= 2

.PHONY: run test check bench lock schema clean help

help: ## list the targets
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 10

$(STAMP): requirements-dev.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit("Mintong needs Python 3.11 or later; set PYTHON=python3.11") if sys.version_info < (3, 11) else None'
	@echo "Setting up .venv (once; about a minute) ..."
	@$(PYTHON) -m venv --clear .venv
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --only-binary :all: -r requirements-dev.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

run: $(STAMP) ## start the whole system on 127.0.0.1:8000 (MINTONG_PORT)
	@exec $(BIN)/mintong run

test: $(STAMP) ## run the full test suite, in two processes (TEST_PROCESSES)
	@$(BIN)/python -m pytest --numprocesses $(TEST_PROCESSES) --no-loadscope-reorder

check: $(STAMP) ## ruff, mypy strict, import rules, schema snapshot
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-cache
	@$(BIN)/mintong schema check

bench: $(STAMP) ## run the benchmarks and print their tables
	@$(BIN)/python -m bench

schema: $(STAMP) ## write schema.graphql anew from the code
	@$(BIN)/mintong schema export

lock: $(STAMP) ## resolve the dependencies anew: versions and hashes, no addresses
	@for extra in "" "-dev"; do \
	  $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
	    --no-emit-find-links --no-annotate --no-header --prerelease=if-necessary-or-explicit \
	    $${extra:+--all-extras} --output-file requirements$$extra.lock pyproject.toml; done

clean: ## remove what the other targets made (not your data in .mintong)
	@rm -rf .venv build *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
