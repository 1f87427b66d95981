.DEFAULT_GOAL := help
SERVICES := features model metric plot
UV := 0.13.9
PYTHON ?= python3
.PHONY: help doctor up down clean logs ps local compare groups replay letters train test chaos bench lint lock audit

help: ## list the targets
	@sed -n 's/^\([a-z]*\):.*## /  make \1	/p' Makefile

doctor: ## show what this machine has, what is missing and what make up would do
	@local/doctor.sh

up: ## start the pipeline in containers
	@local/up.sh

down: ## stop it and keep its data
	@local/compose.sh down --remove-orphans

clean: ## stop it, and remove the broker's data and the images of the services; keep logs/
	@local/clean.sh

logs: ## follow the logs of the containers
	@local/compose.sh logs --follow --tail=100

ps: ## list the containers and their health
	@local/compose.sh ps

local: .venv/ready ## run the pipeline without containers, until Ctrl-C
	@.venv/bin/python -m local

replay: .venv/ready ## publish a part of the history again: ARGS="--since 2026-11-01 --to amqp://..."
	@.venv/bin/python -m tools.replay $(ARGS)

letters: .venv/ready ## count the dead letters; ARGS="--put-back REASON" returns them, ARGS="--discard REASON" removes them
	@.venv/bin/python -m tools.letters $(ARGS)

train: .venv/ready ## fit the model again
	.venv/bin/python model/src/train.py

compare: .venv/ready ## show which of two models errs less (LOGS=logs,logs/challenger)
	@.venv/bin/python -m analysis.compare

groups: .venv/ready ## show the error for each group of a column of the data (BY=sex)
	@.venv/bin/python -m analysis.groups

test: .venv/tools ## run the tests; with CI=true also those that take long or need containers, and skip none
	.venv/bin/pytest --numprocesses 4 --dist loadscope --no-loadscope-reorder $(if $(CI),,-m "not long and not engine")

chaos: .venv/tools ## kill everything at random for about half an hour, on two versions of RabbitMQ; SEED=... repeats a run
	.venv/bin/python tests/faults/chaos.py $(if $(SEED),--seed $(SEED))
	.venv/bin/python tests/faults/chaos.py $(if $(SEED),--seed $(SEED)) --image
	.venv/bin/python tests/faults/mutations.py

bench: .venv/ready ## measure speed and memory, in about ten minutes (ARGS=--quick: three)
	.venv/bin/python benchmarks/bench.py $(ARGS)

lint: .venv/tools ## check style and types
	.venv/bin/ruff check
	.venv/bin/ruff format --check
	.venv/bin/mypy

# Versions that are pinned already stay; ARGS=--upgrade takes the newest. features comes first: the others use its pins.
lock: .venv/lock ## write every requirements.txt again from its requirements.in
	for folder in features metric model plot tests; do \
		.venv/lock/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header $(ARGS) \
			$$folder/requirements.in --output-file $$folder/requirements.txt || exit; \
	done

audit: .venv/ready ## ask PyPI whether a pinned package is known to be vulnerable
	$(PYTHON) -m venv .venv/audit
	.venv/audit/bin/pip install --disable-pip-version-check --quiet pip-audit==2.10.1
	.venv/audit/bin/pip-audit --strict --no-deps --disable-pip $(patsubst %,-r %,$(wildcard */requirements.txt))

# The services' packages, and the repository's root on the path of this environment: `import pipeline`. Python compiles
# what is imported; pip would compile everything, which takes longer than the rest.
.venv/ready: $(SERVICES:%=%/requirements.txt)
	@echo "Installing the packages of the services in .venv"
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "make: Python 3.11 or later is needed, not" \
		f" {sys.version.split()[0]}: install it, and name it: make PYTHON=python3.12 ...")'
	@$(PYTHON) -c 'import ensurepip' 2>/dev/null || local/need.sh python3-venv
	@$(PYTHON) -m venv .venv
	@.venv/bin/pip install --disable-pip-version-check --quiet --no-compile $(^:%=-r %)
	@echo ../../../.. >"$$(.venv/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/pipeline.pth"
	@touch $@

.venv/tools: .venv/ready tests/requirements.txt
	@echo "Installing the tools of the tests in .venv"
	@.venv/bin/pip install --disable-pip-version-check --quiet --no-compile -r tests/requirements.txt
	@touch $@

.venv/lock: .venv/ready
	$(PYTHON) -m venv .venv/lock
	.venv/lock/bin/pip install --disable-pip-version-check --quiet uv==$(UV)
