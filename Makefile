.DEFAULT_GOAL := help
REQUIREMENTS := $(wildcard */requirements.txt)
.PHONY: help up down clean logs ps local train test chaos bench lint audit

help: ## say what can be made
	@sed -n 's/^\([a-z]*\):.*## /  make \1	/p' Makefile

up: ## start the pipeline in containers
	@local/up.sh

down: ## end it; what waits in the broker is kept
	@local/compose.sh down --remove-orphans

clean: ## end it and drop the broker's data and the images; logs/ is kept
	@local/compose.sh down --remove-orphans --volumes --rmi local

logs: ## follow what the containers say
	@local/compose.sh logs --follow --tail=100

ps: ## list the containers and their health
	@local/compose.sh ps

local: .venv/ready ## run the pipeline without containers, until Ctrl-C
	@.venv/bin/python local/local.py

train: .venv/ready ## fit the model anew
	.venv/bin/python model/src/train.py

test: .venv/ready ## run all tests
	.venv/bin/pytest

chaos: .venv/ready ## kill everything at random for a quarter of an hour; SEED=... replays a run
	.venv/bin/python tests/faults/chaos.py $(if $(SEED),--seed $(SEED))
	.venv/bin/python tests/faults/mutations.py

bench: .venv/ready ## measure speed and memory, in some seven minutes (ARGS=--quick: two)
	.venv/bin/python benchmarks/bench.py $(ARGS)

lint: .venv/ready ## check style and types
	.venv/bin/ruff check
	.venv/bin/ruff format --check
	.venv/bin/mypy

audit: .venv/ready ## ask PyPI whether a pinned package is known to be vulnerable
	python3 -m venv .venv/audit
	.venv/audit/bin/pip install --disable-pip-version-check --quiet pip-audit==2.10.1
	.venv/audit/bin/pip-audit --strict --no-deps --disable-pip $(REQUIREMENTS:%=-r %)

.venv/ready: $(REQUIREMENTS)
	python3 -c 'import ensurepip' 2>/dev/null || local/need.sh python3-venv
	python3 -m venv .venv
	.venv/bin/pip install --disable-pip-version-check $(^:%=-r %)
	@touch $@
