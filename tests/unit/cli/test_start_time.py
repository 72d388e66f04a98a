"""Help, completion and usage errors load no server, driver or model, so that they come at once."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from producer.cli.command_tree import COMMANDS, ListedCommand

HEAVY = (
    *("aiohttp", "arq", "asyncpg", "jinja2", "obstore", "prometheus_client", "pydantic_settings"),
    *("redis", "structlog", "uuid_utils", "uvloop", "jwt", "PIL"),
    *("shared.settings", "shared.catalog", "shared.adapters.servers", "producer.client"),
)
"""What takes the time. Typer itself loads pydantic. `python -m bench.command_start` measures it."""
PROGRAM = """
import json, os, sys
from producer.cli import main
codes = []
for words in json.loads(sys.argv[1]):
    os.environ.pop("_DARKROOM_COMPLETE", None)
    if words[:1] == ["Tab"]:
        os.environ |= {
            "_DARKROOM_COMPLETE": "complete_bash",
            "COMP_WORDS": " ".join(["darkroom", *words[1:]]),
            "COMP_CWORD": str(len(words) - 1),
        }
    sys.argv = ["darkroom", *words]
    codes.append(main())
heavy = [name for name in json.loads(sys.stdin.read()) if name in sys.modules]
print(json.dumps({"codes": codes, "heavy": heavy}), file=sys.stderr)
"""


def run_in_one_process(calls: list[list[str]]) -> tuple[str, list[int], list[str]]:
    """Return what the calls write, their exit codes, and which heavy modules they load."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, json.dumps(calls)],
        input=json.dumps(HEAVY),
        capture_output=True,
        text=True,
    )
    told = json.loads(done.stderr.splitlines()[-1])
    return done.stdout + done.stderr, told["codes"], told["heavy"]


def test_help_completion_and_usage_errors_load_nothing_heavy() -> None:
    groups = ["jobs", "accounts", "prices", "keys", "webhooks", "kie", "queue", "models", "results"]
    # The help of `enqueue` and `quote` lists the catalog.
    alone = [one.name for one in COMMANDS if one.name not in {"enqueue", "quote", "simulate-kie"}]
    good = [
        *(["version"], ["--version"], ["--help"], ["jobs", "list", "--help"]),
        *([name, "--help"] for name in alone),
    ]
    bad = [
        *(["jobs", "list", "--limit", "0"], ["queue", "--frob"], ["develop"]),
        *(["accounts", "grant", "acme", "much", "--reason", "x"], ["keys", "create"]),
        *(["enqueue", "--account"], ["enqueue", "--account", "a", "--run-at", "soon"]),
        *([name, "nonsense"] for name in groups),
    ]
    # The last word is what is typed so far.
    tabs = [
        ["Tab", ""],
        ["Tab", "jobs", ""],
        ["Tab", "jobs", "list", "--li"],
        ["Tab", "enqueue", "--"],
    ]
    said, codes, heavy = run_in_one_process([*good, *bad, *tabs])
    assert heavy == []
    assert codes == [0] * len(good) + [2] * len(bad) + [0] * len(tabs)
    for word in ("counts", "--limit", "--idempotency-key", "simulate-kie"):
        assert word in said.splitlines(), f"Tab offers {word}"


def test_help_that_lists_the_catalog_reads_it_from_the_package_and_no_setting(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("DATABASE_URL", "no url")
    monkeypatch.setenv("REDIS_URL", "no url")
    said, codes, heavy = run_in_one_process([["enqueue", "--help"], ["quote", "--help"]])
    assert (codes, heavy) == ([0, 0], ["shared.catalog"])
    assert "gpt-image-1.5" in said
    assert "no url" not in said


def test_the_modules_that_are_looked_for_are_those_that_a_command_loads() -> None:
    """Without this, a renamed dependency would make the test above pass for ever."""
    program = "import sys, producer.api.api_server; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    loaded = {"aiohttp", "asyncpg", "jinja2", "pydantic", "redis", "structlog"}
    assert loaded <= set(done.stdout.split())


@pytest.mark.parametrize("listed", COMMANDS, ids=lambda one: one.name)
def test_the_listed_summary_is_what_the_command_says_of_itself(listed: ListedCommand) -> None:
    own = listed.load().help
    assert own is not None
    assert " ".join(own.split("\n\n")[0].split()) == listed.summary
