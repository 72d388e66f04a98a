# The few commands that people and continuous integration share; `make help` lists them.
# A fresh machine needs Python 3.11 or newer and make: `setup` brings the rest into .venv.

SHELL := /bin/sh
.DEFAULT_GOAL := help

# The uv that wrote uv.lock; fetched only where no working uv is on PATH.
UV_VERSION := 0.13.9
# Another interpreter: make test PYTHON=python3.13
PYTHON ?=
# More for pytest: make test PYTEST_ARGS='-k throttle'
PYTEST_ARGS ?=
# A shorter one: make bench-scale SCALE_ARGS='--tasks 1000 --task-seconds 40 --history 100000'
SCALE_ARGS ?=
# A shorter campaign: make campaign CAMPAIGN_ARGS='--jobs 400 --kills 40'
CAMPAIGN_ARGS ?=
# Fewer rounds: make bench BENCH_ARGS='--rounds 1 --peers arq,saq'
BENCH_ARGS ?=
# One page alone: make screenshots SCREENSHOT_ARGS='--only overview'
SCREENSHOT_ARGS ?=
# Rules that suit later changes to big tables, not these: counts of images fit an integer, and the
# migration runner, not each file, sets the time limits.
SQUAWK_EXCLUDED := prefer-bigint-over-int,require-lock-timeout,require-statement-timeout

.PHONY: help setup demo up migrate test test-deployments fuzz compile-tests check check-types check-style bench bench-scale campaign failover hostile campaign-fair campaign-peers campaign-mutants poll-ceiling model mutants screenshots types lint-fix clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-16s %s\n", $$1, $$2 }' Makefile

setup: ## create .venv with everything; instant when nothing changed
	@sh -c "$$SETUP"

demo: setup ## run real jobs end to end: servers, simulator, worker, API
	@.venv/bin/darkroom demo

up: setup ## everything in one terminal, until Ctrl-C
	@.venv/bin/darkroom up

migrate: setup ## bring the schema of DATABASE_URL up to date
	@.venv/bin/darkroom migrate

test: setup ## check, then the whole test suite
	@$(MAKE) --no-print-directory -j 2 check compile-tests
	@unset PYTHONDONTWRITEBYTECODE; \
		.venv/bin/python -m pytest -n 7 --dist loadfile --no-loadscope-reorder $(PYTEST_ARGS)

# Compiled once and kept: seven processes that each compile every test take half a minute longer.
compile-tests: setup ## read all tests once, so that the suite finds them compiled
	@.venv/bin/python -m tests.support.chromium >/dev/null
	@unset PYTHONDONTWRITEBYTECODE; .venv/bin/python -m pytest --collect-only -q >/dev/null || :

fuzz: setup ## send the API every case of its document, not a part of them; some minutes
	@.venv/bin/python -m pytest tests/acceptance/test_openapi.py -q --every-case $(PYTEST_ARGS)

check: check-types check-style ## lint, formatting, types, import contracts, migrations

check-types: setup ## types alone
	@.venv/bin/mypy

check-style: setup ## lint, formatting, import contracts and migrations alone
	@.venv/bin/ruff check .
	@.venv/bin/ruff format --check .
	@.venv/bin/lint-imports
	@.venv/bin/squawk --assume-in-transaction --pg-version 15.0 --exclude $(SQUAWK_EXCLUDED) \
		sql/migrations/*.sql

test-deployments: setup ## try it with the servers of this system: PgBouncer, Redis, nginx, HAProxy; some minutes
	@.venv/bin/python -m pytest tests/deployments -q $(PYTEST_ARGS)

bench: setup ## measure beside a bare loop and six peers, and write bench/README.md; some minutes
	@.venv/bin/python -m bench --write $(BENCH_ARGS)
	@.venv/bin/python -m bench.idle_worker

bench-scale: setup ## measure tasks in flight, long history, many workers; a quarter of an hour
	@.venv/bin/python -m bench.scale --write $(SCALE_ARGS)

campaign: setup ## kill -9 everything 500 times under 5,000 jobs, and judge; half an hour
	@.venv/bin/python -m tests.campaign --report docs/reliability.md $(CAMPAIGN_ARGS)

failover: setup ## kill the primaries under 400 jobs and promote others, three times each; ten minutes
	@.venv/bin/python -m tests.failover --report docs/reliability.md $(FAILOVER_ARGS)

hostile: setup ## 10,000 hostile connections beside 200 honest jobs, and judge; five minutes
	@.venv/bin/python -m tests.hostile --report docs/reliability.md $(HOSTILE_ARGS)

campaign-fair: setup ## kill -9 while twelve accounts wait for their shares of a small limit; five minutes
	@.venv/bin/python -m tests.campaign --jobs 400 --kills 40 --submits-per-10-seconds 40 $(CAMPAIGN_ARGS)

campaign-peers: setup ## the same kills to Darkroom and to pipelines on its peers; a quarter of an hour
	@.venv/bin/python -m bench.peers.campaign --report docs/reliability.md $(CAMPAIGN_ARGS)

campaign-mutants: setup ## take guards away under short campaigns, which must fail; a quarter of an hour
	@.venv/bin/python -m tests.mutants.under_campaign --report docs/reliability.md

poll-ceiling: setup ## is any task polled a fourth time within a second? 100,000 polls; some minutes
	@.venv/bin/python -m bench.poll_ceiling --report docs/reliability.md

model: setup ## 5,000 random lives of jobs against a reference: MODEL_SEED=7 repeats; half an hour
	@MODEL_EXAMPLES=$${MODEL_EXAMPLES:-5000} MODEL_SEED=$${MODEL_SEED:-$$(date +%s)} \
		.venv/bin/python -m pytest -s --timeout=0 tests/model

mutants: setup ## take each guard away in a copy, and see a test notice; some minutes
	@.venv/bin/python -m tests.mutants --report docs/reliability.md

types: setup ## write the typed parts of the clients, from the OpenAPI document
	@.venv/bin/python -m clients.generator

screenshots: setup ## take a picture of each page of the console into docs/images; two minutes
	@.venv/bin/python -m tests.screenshots --write docs/images $(SCREENSHOT_ARGS)

lint-fix: setup ## format, and fix what ruff can fix
	@.venv/bin/ruff check --fix .
	@.venv/bin/ruff format .

clean: ## remove the environment and caches; .darkroom, which holds data, stays
	rm -rf .venv .darkroom-peers .darkroom-chromium .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis dist build

# Ways to the same locked environment: a uv on PATH; else a pinned uv, which Python alone fetches
# (stock Debian and Ubuntu have no venv and no pip); else the same uv through pip, which knows
# mirrors and proxies that Python does not; and where uv cannot reach the package host but pip can,
# pip with the hashes of the lock. The stamp names content and place, so a changed lock, or a
# moved clone, is set up again.
define SETUP
set -eu
unset VIRTUAL_ENV PYTHONHOME PYTHONPATH UV_PROJECT UV_WORKING_DIRECTORY
export UV_PROJECT_ENVIRONMENT=.venv UV_COMPILE_BYTECODE=1
stamp=.venv/.setup-stamp
key="$$(cat pyproject.toml uv.lock | cksum) $${PYTHON:-any} $$(pwd -P)"
if [ -x .venv/bin/darkroom ] && [ -x .venv/bin/python ] \
    && [ "$$(cat $$stamp 2>/dev/null)" = "$$key" ]; then exit 0; fi
case "$$(cat $$stamp 2>/dev/null)" in "" | *" $$(pwd -P)") ;; *) rm -rf .venv ;; esac
started=$$(date +%s)
say() { echo "make setup: $$*" >&2; }

new_enough() { "$$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; }

find_python() {
    for python in "$${PYTHON:-python3}" python3.14 python3.13 python3.12 python3.11 python; do
        if new_enough "$$python"; then return 0; fi
        if [ -n "$${PYTHON:-}" ]; then break; fi
    done
    say "needs Python 3.11 or newer; found none as $${PYTHON:-python3 on PATH}." \
        "Install one, or name it: make setup PYTHON=/path/to/python3.12"
    return 1
}

sync_with() {
    uv=$$1; shift
    cache=$$("$$uv" cache dir 2>/dev/null) || return 1
    if ! { mkdir -p "$$cache" && [ -w "$$cache" ]; } 2>/dev/null; then export UV_NO_CACHE=1; fi
    set -- "$$@" $${python:+--python "$$python"} --frozen --all-extras --all-groups --quiet
    if "$$uv" sync "$$@" 2>"$$folder/log"; then return 0; fi
    say "trying again with the certificates of this system"
    UV_SYSTEM_CERTS=1 UV_NATIVE_TLS=1 "$$uv" sync "$$@"
}

fetch_uv() {
    "$$python" - "$$folder" $(UV_VERSION) 2>"$$folder/log" <<'PROGRAM'
import hashlib, io, pathlib, platform, re, sys, urllib.parse, urllib.request, zipfile
folder, version = pathlib.Path(sys.argv[1]), sys.argv[2]
system = {"Linux": "manylinux" if platform.libc_ver()[0] else "musllinux", "Darwin": "macosx"}
index = "https://pypi.org/simple/uv/"
page = urllib.request.urlopen(index, timeout=60).read().decode()
wheel = rf'"([^"]*/uv-{re.escape(version)}-[^"#]*{system[platform.system()]}[^"#]*{platform.machine()}[.]whl)'
link, digest = re.search(wheel + r'#sha256=([0-9a-f]+)"', page).groups()
body = urllib.request.urlopen(urllib.parse.urljoin(index, link), timeout=300).read()
if hashlib.sha256(body).hexdigest() != digest:
    sys.exit("the download is damaged")
archive = zipfile.ZipFile(io.BytesIO(body))
name = next(name for name in archive.namelist() if name.endswith("/scripts/uv"))
(folder / "uv").write_bytes(archive.read(name))
(folder / "uv").chmod(0o755)
PROGRAM
}

pip_from_lock() {
    say "uv could not fetch the packages; trying pip with the same lock"
    .venv/bin/uv export --frozen --all-extras --all-groups --no-emit-project --quiet \
        --output-file .venv/requirements.txt >/dev/null \
        && $$python -m pip install --quiet --require-hashes -r .venv/requirements.txt \
        && $$python -m pip install --quiet --no-deps --editable .
}

fetched_uv_does() {
    if [ "$$(.venv/bin/uv --version 2>/dev/null | cut -d ' ' -f 2)" = $(UV_VERSION) ]; then
        cp .venv/bin/uv "$$folder/uv"
    else
        fetch_uv || { tail -n 1 "$$folder/log" >&2; return 1; }
    fi
    sync_with "$$folder/uv" && cp "$$folder/uv" .venv/bin/uv
}

pip_does() {
    say "that did not work; trying pip"
    "$$python" -m venv --clear .venv && python=.venv/bin/python \
        && $$python -m pip install --quiet uv==$(UV_VERSION) \
        && { sync_with .venv/bin/uv --inexact || pip_from_lock; }
}

install() {
    if command -v uv >/dev/null 2>&1 && sync_with uv; then return 0; fi
    find_python && { fetched_uv_does || pip_does; }
}

python=$${PYTHON:-}
folder=$$(mktemp -d)
trap 'rm -rf "$$folder"' EXIT
if ! install; then
    say "failed. With uv (https://docs.astral.sh/uv/) or python3-venv installed, run make setup again"
    exit 1
fi
printf '%s' "$$key" >$$stamp
say "$$(.venv/bin/python -V) with everything in .venv after $$(($$(date +%s) - started)) s"
endef
export SETUP PYTHON
