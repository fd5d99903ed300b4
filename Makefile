# Two commands for a newcomer: `make report` and `make test`. Nothing needs to be installed by hand.
UV ?= $(shell command -v uv 2>/dev/null || echo .tools/bin/uv)
# What the catalog's models need, so that none is missing by default.
EXTRAS = --extra boost --extra deep
export PYTHONDONTWRITEBYTECODE =

.PHONY: report test test-postgresql lint setup setup-report lab serve clean
.DEFAULT_GOAL := report

report: setup-report  ## evaluate the catalog on the sample and write reports/<run-id>/index.html
	$(UV) run --no-sync mltrainer report $(ARGS)

test: setup  ## the whole test suite
	$(UV) run --no-sync pytest -n 2 --dist loadfile $(ARGS)

test-postgresql: setup  ## the same with the rows of every test in a real PostgreSQL
	$(UV) run --no-sync pytest -n 2 --dist loadfile --store postgresql $(ARGS)

lint: setup  ## style, types, layers
	$(UV) run --no-sync ruff check .
	$(UV) run --no-sync ruff format --check .
	$(UV) run --no-sync mypy
	$(UV) run --no-sync lint-imports

setup: $(UV)
	@$(UV) sync --locked --quiet $(EXTRAS)

setup-report: $(UV)  # without the test tools, and without removing them where they are
	@$(UV) sync --locked --quiet --inexact --no-dev $(EXTRAS)

lab serve: setup-report  ## JupyterLab for researchers; dashboards for everybody else
	$(UV) run --no-sync mltrainer $@

.tools/bin/uv:
	@echo "fetching uv"
	@python3 -m pip install --quiet --disable-pip-version-check --root-user-action=ignore --target .tools uv

clean:  ## what a clone made for itself; reports and state stay
	rm -rf .venv .tools .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
