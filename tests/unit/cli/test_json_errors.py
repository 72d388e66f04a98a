"""Under `--json` every error is one JSON object, on the last line of stderr."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from producer.cli.command_tree import build_app
from producer.cli.exit_codes import ExitCode
from tests.support.command_words import list_commands

ID = "019f0000-0000-7000-8000-000000000000"
PROGRAMS = {"demo", "up", "worker", "api", "simulate-kie"}
"""They run until they are stopped, and have no `--json`."""
DOCS = Path(__file__).parents[3] / "docs" / "operations.md"


def refused(*words: str) -> dict[str, Any]:
    """Run a command that fails. Returns its JSON error."""
    result = CliRunner().invoke(build_app(), [*words, "--json"], prog_name="darkroom")
    assert result.stdout == ""
    problem: dict[str, Any] = json.loads(result.stderr.splitlines()[-1])
    assert problem["exit_code"] == result.exit_code != 0
    assert problem["type"].startswith("urn:darkroom:problem:")
    assert problem["detail"]
    return problem


def test_every_command_refuses_an_unknown_option_in_json() -> None:
    for command in sorted(list_commands() - PROGRAMS):
        problem = refused(*command.split(), "--frob")
        assert problem["type"] == "urn:darkroom:problem:usage", command
        # `accounts grant` takes unknown options for negative numbers, and lacks an argument.
        assert problem["errors"][0]["field"] in {"--frob", "credits"}
        assert problem["next"] == f"darkroom {command} --help"
        assert problem["exit_code"] == 2


@pytest.mark.parametrize(
    ("words", "field", "message"),
    [
        (("jobs", "list", "--limit", "0"), "--limit", "greater than or equal to 1"),
        (("keys", "create", "--role", "king"), "--role", "'king' is not one of 'service'"),
        (("accounts", "grant", "a", "NaN", "--reason", "x"), "credits", "is not a number"),
        (("enqueue",), "--account", "Missing option '--account'"),
        (("enqueue", "--account", "a", "--run-at", "soon"), "--run-at", "is not a time"),
        (("jobs", "show"), "job_id", "Missing argument 'ID'"),
        (("jobs", "cancel"), "", "say either ID..., or --where"),
        (("develop",), "", "No such command 'develop'"),
        (("health", "--url", "nonsense"), "", "is not an http://"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else None,
)
def test_a_usage_error_names_the_option(words: tuple[str, ...], field: str, message: str) -> None:
    [fault] = refused(*words)["errors"]
    assert (fault["field"], message in fault["message"]) == (field, True), fault


def test_a_refused_value_is_told_as_over_http() -> None:
    problem = refused("jobs", "list", "--state", "gone", "--account", "")
    assert problem["type"] == "urn:darkroom:problem:invalid_request"
    assert [one["field"] for one in problem["errors"]] == ["account_id", "state"]
    assert "must be one of queued" in problem["errors"][1]["message"]


def test_a_missing_server_and_a_missing_database_are_told_in_json(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert refused("health", "--url", "http://127.0.0.1:1")["exit_code"] == 6
    assert refused("queue")["type"] == "urn:darkroom:problem:configuration"
    monkeypatch.setenv("DATABASE_URL", "postgresql://127.0.0.1:1/nowhere")
    monkeypatch.setenv("REDIS_URL", "redis://127.0.0.1:1")
    down = refused("jobs", "show", ID)
    assert down["type"] == "urn:darkroom:problem:postgres_down"
    assert down["exit_code"] == 6
    assert down["next"].endswith("doctor")


def test_a_word_that_only_looks_like_the_option_changes_nothing() -> None:
    result = CliRunner().invoke(build_app(), ["jobs", "show", "--frob", "--", "--json"])
    assert result.exit_code == 2
    assert "Usage: " in result.stderr


def test_the_page_lists_the_exit_codes() -> None:
    page = DOCS.read_text(encoding="utf-8").partition("\n## The command line in scripts\n")[2]
    section = page.partition("\n## ")[0]
    listed = [line.split("|")[1].strip() for line in section.splitlines() if line.startswith("| ")]
    assert [code for code in listed if code.isdigit()] == [str(int(code)) for code in ExitCode]
