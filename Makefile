# The commands of this checkout. `make` alone explains them.
# ARGS goes to the command underneath: `make preview ARGS=--diff`, `make test ARGS="-k fingerprint"`.

.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory
# Parallel make (-j) would start the parts of one command out of order.
.NOTPARALLEL:

# The Python that makes the environment: PYTHON=… names one, else the first that is new enough.
PYTHON ?= $(shell for p in python3.11 python3.12 python3.13 python3; do \
	"$$p" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null \
	&& echo "$$p" && break; done)
VENV_PYTHON := .venv/bin/python
# Many tests wait for machines or for AWS's retries: more processes than cores pay. A file's tests
# stay together and in order, because some tell one story.
WORKERS ?= 4
STATE := .local-cloud
# Pulumi's Python language host takes the first `python` on PATH.
IN_VENV := PATH="$(CURDIR)/.venv/bin:$$PATH"
ON_LOCAL_CLOUD = $(IN_VENV) $(VENV_PYTHON) -m local_cloud run --state $(STATE) -- \
	$(VENV_PYTHON) -m toolchain.on_local_cloud
unexport PYTHONHOME PYTHONPATH

.PHONY: help
help: ## Say what there is (the default)
	@echo "Usage: make COMMAND [ARGS=...]"
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)$$/\1|\2/p' Makefile | \
		while IFS='|' read -r name text; do printf '  %-10s %s\n' "$$name" "$$text"; done

.PHONY: setup
setup: ## Get all that is needed; quick and silent when it is there
	@if [ -z "$(PYTHON)" ]; then \
		echo "error: no Python 3.11 or newer on PATH." >&2; \
		echo "  To do: install one, or name it: make setup PYTHON=/path/to/python3.11" >&2; exit 1; fi
	@"$(PYTHON)" -m toolchain setup

.PHONY: up
up: setup ## Bake the AMI and put it into Batch, on the local cloud
	@$(ON_LOCAL_CLOUD) up $(ARGS)

.PHONY: preview
preview: setup ## Say what `make up` would do
	@$(ON_LOCAL_CLOUD) preview $(ARGS)

.PHONY: down
down: setup ## Delete it all again, and show that nothing is left
	@$(ON_LOCAL_CLOUD) down $(ARGS)

.PHONY: inventory
inventory: setup ## List what the local cloud holds
	@$(VENV_PYTHON) -m local_cloud inventory --state $(STATE) $(ARGS)

.PHONY: demo-job
demo-job: setup ## Run one job on a plain and on a baked AMI, timelines side by side
	@$(IN_VENV) $(VENV_PYTHON) benchmarks/demo_job.py $(ARGS)

.PHONY: start-model
start-model: setup ## Model a job's start on AWS, beside two starts measured here under `aws` latencies
	@LOCAL_CLOUD_LATENCY=aws $(IN_VENV) $(VENV_PYTHON) benchmarks/demo_job.py \
		--json $(STATE)-start.json >/dev/null || true
	@$(VENV_PYTHON) -m batch.start_model --measured $(STATE)-start.json $(ARGS)
	@rm -f $(STATE)-start.json

.PHONY: bench
bench: setup ## Take every measurement, beside what each is held to (20 min; Packer's first build 7 more)
	@$(IN_VENV) $(VENV_PYTHON) benchmarks/all.py $(ARGS)

.PHONY: test
test: setup ## Run every test (WORKERS=0: in one process)
	@$(IN_VENV) $(VENV_PYTHON) -m pytest -n $(WORKERS) --dist loadfile $(ARGS)

.PHONY: test-long
test-long: setup ## By hand, hours: every kill and fault of a bake through the engine, and at each call
	@$(IN_VENV) BAKED_AMI_LONG=1 $(VENV_PYTHON) -m pytest -n $(WORKERS) --dist loadscope \
		tests/long tests/ami_provider/test_matrix_kills.py $(ARGS)

.PHONY: soak
SEQUENCES ?= 200
soak: setup ## By hand: random lives of a stack (SEQUENCES=200, FIRST=1 is the first one's seed)
	@$(IN_VENV) BAKED_AMI_SOAK=$(SEQUENCES) BAKED_AMI_SOAK_FIRST=$(or $(FIRST),1) \
		$(VENV_PYTHON) -m pytest -n $(WORKERS) tests/ami_provider/test_soak.py $(ARGS)

.PHONY: check
check: setup ## Run every check that is not a test
	@$(MAKE) -k check-format check-lint check-types check-imports check-scripts \
		check-workflows check-locks

.PHONY: check-format check-lint check-types check-imports check-scripts check-workflows check-locks
check-format:
	@$(VENV_PYTHON) -m ruff format --check .
check-lint:
	@$(VENV_PYTHON) -m ruff check .
check-types:
	@$(VENV_PYTHON) -m mypy
check-imports:
	@.venv/bin/lint-imports --no-logo
check-scripts:
	@find . \( -name .venv -o -name .git -o -name $(STATE) \) -prune -o -name '*.sh' -print0 \
		| xargs -0 .venv/bin/shellcheck .ci/run
check-workflows:
	@$(VENV_PYTHON) -m toolchain.workflow_lint
check-locks:
	@$(VENV_PYTHON) -m toolchain.requirements_lock --check

.PHONY: docs
docs: setup ## Write the pages of docs/ that are made from the code
	@$(VENV_PYTHON) -m docs

.PHONY: report-picture
report-picture: setup ## Bake on the local cloud, and take docs/report.png of the report on it
	@$(IN_VENV) $(VENV_PYTHON) -m docs.report_picture

.PHONY: lock
lock: setup ## Lock the Python requirements anew from requirements*.in
	@$(VENV_PYTHON) -m toolchain.requirements_lock

.PHONY: clean
clean: ## Remove the local cloud's state and the caches in this folder
	@"$(PYTHON)" -B -m toolchain.clean
