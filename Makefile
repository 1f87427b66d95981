.DEFAULT_GOAL := help
.PHONY: help up down clean logs ps local train test chaos bench lint

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

.venv/ready: $(wildcard */requirements.txt)
	python3 -c 'import ensurepip' 2>/dev/null || local/need.sh python3-venv
	python3 -m venv .venv
	.venv/bin/pip install --disable-pip-version-check $(^:%=-r %)
	@touch $@
