# Abstract Assistant. `make` lists the commands.
#
#   PYTHON=python3.12     the Python to set up with, 3.11 or newer
#   CMAKE_ARGS=-DGGML_CUDA=on   passed to the build of llama.cpp (NVIDIA; -DGGML_VULKAN=on: others)
#   CHROMIUM=/path        the browser for the tests

PYTHON ?= python3
BIN := .venv/bin
CHROMIUM ?=

export PYTHON CHROMIUM CMAKE_ARGS
# The question reaches the shell through the environment, as typed: make would expand its dollar
# signs and the shell its quotes.
override Q := $(value Q)
export Q

.DEFAULT_GOAL := help
.PHONY: help chat ask test fuzz bench lint format lock clean ready

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-8s %s\n", $$1, $$2}' Makefile

chat: ready ## Set everything up and open the chat page in the browser
	@$(BIN)/assistant serve --open

ask: ready ## Set everything up and answer Q="a question" in the terminal
	@test -n "$$Q" || { echo 'Which question? make ask Q="Which datasets does BenchX compare on?"' >&2; exit 2; }
	@$(BIN)/assistant ask -- "$$Q"

ready: # What chat and ask need; silent when it is all there
	@"$$PYTHON" -m bootstrap run

test: ## Set everything up and run all tests
	@"$$PYTHON" -m bootstrap test
	@$(MAKE) --no-print-directory lint
	@$(BIN)/python -m pytest

fuzz: ## Run the tests that draw examples with ten times as many, drawn anew; takes long
	@"$$PYTHON" -m bootstrap test
	@$(BIN)/python -m pytest -m hypothesis --hypothesis-profile=fuzz --hypothesis-seed="$$(date +%s)"

bench: ## Set everything up and time it, beside other ways to ask; takes about 25 minutes
	@"$$PYTHON" -m bootstrap bench
	@$(BIN)/python -m benchmarks.speed

lint: ## Check style, format and types (after make test has set up)
	@$(BIN)/ruff check
	@$(BIN)/ruff format --check
	@$(BIN)/mypy

format: ## Format the code (after make test has set up)
	@$(BIN)/ruff check --fix
	@$(BIN)/ruff format

lock: ## Renew the locked dependencies in requirements/
	@test -x $(BIN)/python || "$$PYTHON" -m venv .venv
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check uv
	@$(BIN)/python -m bootstrap.lock

clean: ## Remove what was made here; models, index and built llama.cpp stay in the user's folders
	rm -rf .venv build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
