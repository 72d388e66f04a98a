"""Only commands that make the system create a database. Every other one refuses, and says why."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from producer.cli.command_tree import build_app
from producer.client import Producer
from shared.adapters.embedded import EmbeddedServers, has_database
from shared.errors import ConfigurationError
from shared.settings import Settings
from tests.support.command_words import list_commands

ID = "019f0000-0000-7000-8000-000000000000"
WHY = ("--reason", "for the test")
PRICE = ("gpt-4o-image", "text-to-image", "1")
ORDER = ("--account", "acme", "--prompt", "x", "--aspect-ratio", "1:1")
# They make the system, or need no database.
NOT_ASKED = {"demo", "up", "worker", "api", "simulate-kie", "health", "version"}
ASKED: dict[str, tuple[str, ...]] = {
    "migrate": ("--status",),
    "env": (),
    "doctor": (),
    "audit": (),
    "prune": ("--yes",),
    "accounts erase-prompts": ("acme", "--yes"),
    "margin": ("--by", "account"),
    "enqueue": ORDER,
    "quote": ORDER,
    **dict.fromkeys(("queue", "queue pauses", "queue history", "queue waiting"), ()),
    "queue pause": ("--everything", *WHY),
    "queue resume": ("--everything",),
    "queue end-brake": WHY,
    "queue lost-writes": (),
    "queue acknowledge": ("writes_lost", "--yes"),
    "models list": (),
    "models route": ("gpt-4o-image", "--via", "4o-image-api", "--yes"),
    "jobs list": (),
    "jobs counts": (),
    "jobs show": (ID,),
    "jobs wait": (ID,),
    "jobs cancel": (ID,),
    "jobs retry": (ID,),
    "jobs download": (ID, "--to", "images"),
    "jobs resolve": (ID, "--lost", *WHY),
    "files upload": ("cat.png", "--account", "acme"),
    "files show": (ID,),
    "results prune": ("--older-than", "90d", "--dry-run"),
    "results retry": ("--all",),
    "kie models": (),
    "kie surprises": (),
    "webhooks list": (),
    "webhooks endpoints": (),
    "webhooks replay": (ID,),
    "webhooks secret": ("acme", "https://shop.example/hook"),
    "webhooks show": (ID,),
    "webhooks revoke": ("acme",),
    "webhooks rotate": ("acme", "https://shop.example/hook"),
    "prices list": (),
    "prices compare": (),
    "prices set": (*PRICE, "9", *WHY),
    "prices history": (),
    "prices preview": (*PRICE, "10"),
    "prices schedule": (*PRICE, "10", "--at", "2030-12-31T00:00Z", *WHY),
    "prices scheduled": (),
    "prices unschedule": ("1",),
    "accounts create": ("acme",),
    "accounts limits": ("acme", "--weight", "4", *WHY),
    "accounts grant": ("acme", "5", *WHY),
    "accounts show": ("acme",),
    "accounts list": (),
    "accounts statement": ("acme",),
    "accounts erasures": ("acme",),
    "accounts refund": (ID, *WHY),
    "accounts ledger": ("acme",),
    "keys create": ("--role", "operator"),
    "keys list": (),
    "keys revoke": ("dk_000000000000",),
    "keys sessions": (),
    "keys end-session": (ID,),
}


def test_every_command_is_asked() -> None:
    assert ASKED.keys() | NOT_ASKED == list_commands()


@pytest.mark.parametrize("command", ASKED)
def test_a_command_creates_no_database(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "mistyped"
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DARKROOM_HOME", str(home))
    (tmp_path / "cat.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    result = CliRunner().invoke(build_app(), [*command.split(), *ASKED[command]])
    said = " ".join((result.stderr + result.stdout).split())
    assert f"no Darkroom here: DARKROOM_HOME is {home}" in said
    assert "darkroom up" in said
    assert result.exit_code == 1
    assert not home.exists()


@pytest.mark.parametrize("home", ["mistyped", "mistyped/below", "with-other-files"])
async def test_a_python_client_creates_no_database(home: str, tmp_path: Path) -> None:
    other = tmp_path / "with-other-files" / "notes.txt"
    other.parent.mkdir()
    other.write_text("mine")
    settings = Settings(darkroom_home=tmp_path / home)
    with pytest.raises(ConfigurationError, match=f"DARKROOM_HOME is {tmp_path / home}, which has"):
        async with Producer.connect(settings):
            pass
    assert sorted(tmp_path.rglob("*")) == [other.parent, other]


def test_the_default_home_is_named_by_its_whole_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(build_app(), ["queue"])
    assert f"DARKROOM_HOME is {tmp_path / '.darkroom'}" in result.stderr
    assert not list(tmp_path.iterdir())


def test_data_and_running_servers_are_a_database_and_what_is_unfinished_is_none(
    tmp_path: Path, embedded: EmbeddedServers
) -> None:
    assert not has_database(tmp_path / "nothing")
    (tmp_path / "postgres.unfinished").mkdir()
    assert not has_database(tmp_path)
    (tmp_path / "postgres").mkdir()
    assert has_database(tmp_path)
    linked = tmp_path / "linked"
    linked.mkdir()
    # Opening it tells that the data is gone, and how to start with none.
    (linked / "state").symlink_to(tmp_path / "gone")
    assert has_database(linked)
    assert has_database(embedded.home)
