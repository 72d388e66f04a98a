"""Usage errors are found before any connection is opened, with exit code 2."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from producer.cli.command_tree import build_app

GRANT = ("accounts", "grant", "acme")
SET = ("prices", "set", "gpt-4o-image", "text-to-image", "2")
ENQUEUE = ("enqueue", "--account", "acme", "--prompt", "x")


@pytest.mark.parametrize(
    "words",
    [
        ("develop",),
        ("jobs", "show"),
        ("enqueue", "--prompt", "x"),
        ("queue", "--frob"),
        (*GRANT, "much", "--reason", "x"),
        (*GRANT, "NaN", "--reason", "x"),
        (*GRANT, "5", "--reason", "  "),
        (*GRANT, "5"),
        (*SET, "9"),
        (*SET, "9", "--reason", ""),
        (*SET, "Infinity", "--reason", "x"),
        ("jobs", "list", "--limit", "0"),
        (*ENQUEUE, "--run-at", "soon"),
        (*ENQUEUE, "--metadata", "[1]"),
        (*ENQUEUE, "--metadata", "{"),
        ("up", "--workers", "0"),
    ],
    ids=" ".join,
)
def test_a_usage_error_leaves_with_2_and_nothing_on_stdout(words: tuple[str, ...]) -> None:
    result = CliRunner().invoke(build_app(), words)
    assert result.exit_code == 2
    assert result.stdout == ""
    assert "Usage: " in result.stderr


def test_health_exits_with_6_when_no_server_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    runner, app = CliRunner(), build_app()
    assert runner.invoke(app, ["health", "--url", "http://127.0.0.1:1"]).exit_code == 6
    assert runner.invoke(app, ["health", "--url", "nonsense"]).exit_code == 2
    monkeypatch.setenv("WORKER_HTTP_HOST", "0.0.0.0")
    monkeypatch.setenv("WORKER_HTTP_PORT", "1")
    asked = runner.invoke(app, ["health"])
    assert "http://127.0.0.1:1" in asked.stderr
    monkeypatch.setenv("WORKER_HTTP_PORT", "0")
    chosen_by_itself = runner.invoke(app, ["health"])
    assert chosen_by_itself.exit_code == 1
    assert "--url" in chosen_by_itself.stderr


def test_the_version_is_printed_in_three_ways() -> None:
    runner, app = CliRunner(), build_app()
    for words in (["--version"], ["version"]):
        assert runner.invoke(app, words).stdout.startswith("darkroom ")
    told = json.loads(runner.invoke(app, ["version", "--json"]).stdout)
    assert told.keys() == {"darkroom", "python"}


def test_every_command_of_the_contract_is_there_and_explains_itself() -> None:
    app = build_app()
    commands = (
        *("demo", "up", "migrate", "worker", "api", "enqueue", "queue", "doctor", "env", "health"),
        *("jobs list", "jobs show", "jobs wait", "jobs cancel", "jobs retry"),
        *("prices list", "prices set", "prices history"),
        *("accounts create", "accounts grant", "accounts show", "accounts ledger", "version"),
    )
    for command in commands:
        result = CliRunner().invoke(app, [*command.split(), "--help"])
        assert result.exit_code == 0, command
        assert command in result.stdout
