# `make demo` is the first command of a newcomer, `make test` and `make check` those of a contributor.
PYTHON ?= python3
BIN := .venv/bin
# Files of tests that run at once: more than cores, since tests of Ray and of other processes wait for most of their time.
AT_ONCE ?= 3

.PHONY: venv demo test cases storm trainers check docs format lock clean

venv: .venv/.made

# The lock pins every version with its hashes; the project itself is then installed from this folder, without a fetch.
.venv/.made: requirements.lock pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(0 if (3, 11) <= sys.version_info < (3, 14) else "lvqa-ray needs CPython 3.11, 3.12 or 3.13: make PYTHON=python3.12")'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	touch $@

demo: venv
	$(BIN)/lvqa demo

test: venv
	$(BIN)/python -m pytest -n $(AT_ONCE) --dist loadfile --no-loadscope-reorder

# Small inputs from public bug reports: prints what is expected of each, and what is seen.
cases: venv
	$(BIN)/python -m tests.cases

# Kills everything that can be killed, for up to 20 minutes; the small disks need root.
storm: venv
	$(BIN)/python -m pytest tests/storm tests/engine/models/test_served_run.py -m "storm or not storm"

# Loads the exports with the trainers' own readers, in an environment of 7 GB that is outside the lock.
trainers: venv .venv-trainers/.made
	rm -rf .venv-trainers/exports && mkdir .venv-trainers/exports
	$(BIN)/python -m tests.trainers.make_exports .venv-trainers/exports
	LVQA_EXPORTS=$(CURDIR)/.venv-trainers/exports PYTHONPATH=$(CURDIR) .venv-trainers/bin/python -m pytest -q \
	  -p no:cacheprovider --noconftest -c /dev/null --rootdir . tests/trainers/check_readers.py

.venv-trainers/.made: tests/trainers/requirements.txt tests/trainers/trainers.txt
	$(PYTHON) -m venv .venv-trainers
	.venv-trainers/bin/python -m pip install --quiet --disable-pip-version-check -r tests/trainers/requirements.txt
	.venv-trainers/bin/python -m pip install --quiet --disable-pip-version-check --no-deps -r tests/trainers/trainers.txt
	touch $@

check: venv
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/deptry lvqa_ray jobs
	$(BIN)/deptry tests benchmarks --exclude '^tests/trainers/check_readers' --ignore DEP002,DEP004

# The documentation as a site, in site/.
docs: venv
	$(BIN)/mkdocs build --strict

format: venv
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

# Writes the lock anew, for every supported Python and platform at once.
lock:
	uv pip compile pyproject.toml --extra demo --extra hub --group dev --universal --python-version 3.11 --generate-hashes \
	  --no-header --no-emit-index-url --quiet --output-file requirements.lock

clean:
	rm -rf .venv .venv-trainers build dist site
