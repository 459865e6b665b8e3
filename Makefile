# The commands of this project; each installs its dependencies. PYTHON selects another interpreter.
PYTHON ?= python3
# Twice the number of cores: many tests wait for other programs.
TEST_PROCESSES ?= $(shell expr $$(getconf _NPROCESSORS_ONLN) \* 2)
MINUTES ?= 10
SECONDS ?= 60
QUICK := "not integration and not commands"
# Files or folders that make test-quick and make test-pythons are limited to.
TESTS ?=
VENV := .venv
BIN := $(VENV)/bin
RUN_STAMP := $(VENV)/.installed
DEV_STAMP := $(VENV)/.installed-dev
BENCH_STAMP := $(VENV)/.installed-bench
RELEASE_VENV := build/venv
RELEASE_STAMP := $(RELEASE_VENV)/.installed
DEB_PYTHON ?= 3.11
DEB_REVISION ?= 1
DEB_MACHINE ?= $(shell uname -m)

.PHONY: FORCE serve test test-quick test-redis test-fresh test-pythons check format docs docs-test generate pictures bench outcome soak fuzz image lock deb release clean

PIP := $(BIN)/pip --quiet --disable-pip-version-check

# Checked each time; only a recreated environment reinstalls the rest.
$(VENV)/.python: FORCE
	@packaging/venv.sh "$(PYTHON)" $(VENV)

$(RUN_STAMP): $(VENV)/.python pyproject.toml requirements/run.txt
	$(PIP) install --require-hashes --requirement requirements/run.txt
	$(PIP) install --no-deps --editable .
	touch $@

$(DEV_STAMP): $(RUN_STAMP) requirements/dev.txt
	$(PIP) install --require-hashes --requirement requirements/dev.txt
	touch $@

$(BENCH_STAMP): $(DEV_STAMP)
	$(PIP) install --editable '.[bench]'
	touch $@

# Separate from the others, so that a build uses only locked packages.
$(RELEASE_VENV)/.python: FORCE
	@packaging/venv.sh "$(PYTHON)" $(RELEASE_VENV)

$(RELEASE_STAMP): $(RELEASE_VENV)/.python requirements/release.txt
	rm -rf $(RELEASE_VENV)
	@packaging/venv.sh "$(PYTHON)" $(RELEASE_VENV)
	$(RELEASE_VENV)/bin/pip --quiet --disable-pip-version-check install --require-hashes --requirement requirements/release.txt
	touch $@

serve: $(RUN_STAMP) ## run greyd on the embedded store in ./var
	@mkdir -p var
	@$(BIN)/python -m tools.next_steps var $(BIN)/greyd & exec $(BIN)/greyd serve --dbdir=var

test: $(DEV_STAMP) ## run all tests that this machine can run
	$(BIN)/python -m pytest --numprocesses=$(TEST_PROCESSES) --dist=loadfile --no-loadscope-reorder

test-quick: $(DEV_STAMP) ## the tests that start no process, in two minutes
	$(BIN)/python -m pytest --numprocesses=$(TEST_PROCESSES) --dist=loadfile --no-loadscope-reorder -m $(QUICK) $(TESTS)

test-pythons: $(DEV_STAMP) ## the quick tests, and those of sockets, on each other Python of this machine
	$(BIN)/python -m tests.pythons -m $(QUICK) $(TESTS)
	$(BIN)/python -m tests.pythons tests/integration/test_process.py -k "socket and not syslog"

test-fresh: $(DEV_STAMP) ## make serve and make test, as root and as a user, on a minimal Debian
	$(BIN)/python -m tests.fresh
	$(BIN)/python -m tests.fresh --user=root --hosts

check: $(DEV_STAMP) ## format, lint, types, direction of imports
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo --no-cache

format: $(DEV_STAMP) ## format the code
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

docs: $(DEV_STAMP) ## build the pages as a site, into build/site
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build

docs-test: $(DEV_STAMP) ## run the commands in the pages, as root, on a disposable machine
	$(BIN)/python -m pytest --quiet tests/test_pages.py tests/test_site.py
	$(BIN)/python -m tests.pages

generate: $(DEV_STAMP) ## generate options page, greyd.toml, manual pages and completions from the code
	$(BIN)/python -m tools.render_options
	$(BIN)/python -m tools.render_config
	$(BIN)/python -m tools.render_man
	$(BIN)/python -m tools.render_completions

pictures: $(DEV_STAMP) ## make the pictures of the tour from a run with generated mail; needs faketime and chromium
	$(BIN)/python -m tools.pictures

bench: $(BENCH_STAMP) ## compare with postgrey, sqlgrey and gross, side by side, into var/benchmarks
	$(BIN)/python -m tests.benchmarks
	$(BIN)/python -m tests.benchmarks.start --entries=1000000

outcome: $(DEV_STAMP) ## simulate sixty days of mail: what greyd does to good and bad mail, beside postgrey
	$(BIN)/python -m tests.outcome $(OUTCOME_OPTIONS)

soak: $(DEV_STAMP) ## mixed load with restarts of Redis; checks memory, descriptors, counters
	$(BIN)/python -m tests.soak --minutes=$(MINUTES)

test-redis: $(DEV_STAMP) ## the tests of the Redis store, with the oldest Redis and a Valkey
	$(PIP) install --editable '.[redis]'
	$(BIN)/python -m tests.redis_versions

fuzz: $(DEV_STAMP) ## coverage-guided fuzzing of parser, whitelists, settings, records
	$(PIP) install --editable '.[fuzz]'
	$(BIN)/python -m tests.fuzz --seconds=$(SECONDS)
	$(BIN)/python -m pytest --quiet --hypothesis-profile=fuzz tests/cli/test_fuzz_words.py

# The first that answers; podman and buildah keep a health check only in Docker's format.
BUILDER = $(firstword $(foreach each,docker podman buildah,$(shell $(each) info >/dev/null 2>&1 && echo $(each))))
VERSION = $(shell sed -n 's/^__version__ = "\(.*\)"/\1/p' greyd/__init__.py)

image: ## build the container image greyd with docker, podman or buildah, whichever is there
	BUILDAH_FORMAT=docker $(or $(BUILDER),$(error neither docker nor podman nor buildah answers; install one)) build \
		--file docker/Dockerfile --tag greyd --tag greyd:$(VERSION) \
		--build-arg VERSION=$(VERSION) --build-arg REVISION="$$(git rev-parse HEAD)" \
		--build-arg SOURCE="$(SOURCE)" $(BUILD_OPTIONS) .

release: $(RELEASE_STAMP) ## build and test sources, wheel, SBOM and check sums, into dist
	$(RELEASE_VENV)/bin/python packaging/release.py

deb: $(RELEASE_STAMP) ## build a Debian package, into dist; DEB_PYTHON=3.13 for Debian 13
	$(RELEASE_VENV)/bin/python packaging/build_deb.py --python=$(DEB_PYTHON) --machine=$(DEB_MACHINE) --revision=$(DEB_REVISION)

lock: $(DEV_STAMP) ## lock the newest versions of all packages, with hashes
	$(PIP) install uv
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --upgrade --output-file requirements/run.txt pyproject.toml
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --upgrade --extra dev --extra docs --output-file requirements/dev.txt pyproject.toml
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --upgrade --extra release --output-file requirements/release.txt pyproject.toml
	$(BIN)/python -c 'import tomllib; print(*tomllib.load(open("pyproject.toml", "rb"))["build-system"]["requires"], sep="\n")' \
		| $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --upgrade --output-file requirements/build.txt -

clean: ## remove everything that these commands create
	rm -rf $(VENV) build dist .mypy_cache .pytest_cache .ruff_cache .hypothesis
