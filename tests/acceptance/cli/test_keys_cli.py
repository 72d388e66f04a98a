"""API keys on the command line: create, list and revoke."""

from __future__ import annotations

import getpass

import pytest
from typer.testing import CliRunner

from producer.cli.command_tree import build_app
from producer.keys.key_format import prefix_of
from producer.keys.key_store import Caller, KeyStore
from producer.keys.roles import Role
from shared.errors import KeyRefused
from tests.acceptance.cli.cli_program import Darkroom
from tests.acceptance.cli.test_cli_own_roles import open_session
from tests.support.deployment import Deployment

FIELDS = {
    *("id", "prefix", "role", "account_id", "name", "created_at", "created_by", "last_used_at"),
    "revoked_at",
}
A_SERVICE_KEY = ("keys", "create", "--role", "service", "--account", "acme")
AN_ADMIN_KEY = ("keys", "create", "--role", "admin")


async def test_a_key_is_printed_alone_on_stdout_and_never_again(
    darkroom: Darkroom, deployment: Deployment
) -> None:
    said = await darkroom.run(*A_SERVICE_KEY, "--name", "the shop's checkout")
    assert said.code == 0, said.err
    [text] = said.lines
    prefix = prefix_of(text)
    assert prefix is not None
    assert text not in said.err
    assert "a key for service, account acme. It is not shown again" in said.err
    assert f"keys revoke {prefix}" in said.err
    assert "the first one: from now on the API refuses requests without a key" in said.err
    caller = await KeyStore(deployment.database).authenticate(text)
    assert caller == Caller(Role.SERVICE, "acme", prefix)
    listed, told = await darkroom.run_all(("keys", "list"), ("keys", "list", "--json"))
    assert prefix in listed.out
    assert "the shop's checkout" in listed.out
    secret = text.rpartition("_")[2]
    assert secret not in listed.out + told.out
    assert told.object.keys() == FIELDS
    assert (told.object["prefix"], told.object["account_id"]) == (prefix, "acme")
    assert told.object["created_by"] == getpass.getuser()


async def test_a_key_as_json_has_the_key_beside_what_lists_show(
    darkroom: Darkroom, deployment: Deployment
) -> None:
    created = await darkroom.run(*AN_ADMIN_KEY, "--json")
    assert created.err == ""
    assert created.object.keys() == {*FIELDS, "key"}
    assert (created.object["role"], created.object["account_id"]) == ("admin", None)
    caller = await KeyStore(deployment.database).authenticate(created.object["key"])
    assert caller == Caller(Role.ADMIN, None, created.object["prefix"])
    second = await darkroom.run(*AN_ADMIN_KEY)
    assert "the first one" not in second.err


async def test_a_session_of_the_console_is_listed_and_ended_by_its_id(
    darkroom: Darkroom, deployment: Deployment
) -> None:
    session = await open_session(deployment)
    listed, told = await darkroom.run_all(("keys", "sessions"), ("keys", "sessions", "--json"))
    assert str(session.id) in listed.out
    assert "open" in listed.out
    assert (told.object["id"], told.object["is_open"]) == (str(session.id), True)
    assert "token" not in told.out
    ended = await darkroom.run("keys", "end-session", str(session.id))
    again, unknown, left, past = await darkroom.run_all(
        ("keys", "end-session", str(session.id), "--json"),
        ("keys", "end-session", "nonsense"),
        ("keys", "sessions"),
        ("keys", "sessions", "--ended", "--json"),
    )
    assert ended.lines == [f"the session {session.id} was ended"]
    assert (again.code, unknown.code) == (3, 3)
    assert "has ended already" in again.err
    assert "nobody is logged in" in left.err
    assert past.object["ended_by"] == getpass.getuser()


async def test_a_key_is_revoked_by_its_prefix_and_stays_so(
    darkroom: Darkroom, deployment: Deployment
) -> None:
    text = (await darkroom.run(*AN_ADMIN_KEY)).lines[0]
    prefix = prefix_of(text) or ""
    said = await darkroom.run("keys", "revoke", prefix)
    assert said.code == 0, said.err
    assert said.lines[0].startswith(f"{prefix} (admin) was revoked at 20")
    assert "refused everywhere within 1 s" in said.err
    with pytest.raises(KeyRefused, match="revoked"):
        await KeyStore(deployment.database).authenticate(text)
    again, listed = await darkroom.run_all(("keys", "revoke", prefix, "--json"), ("keys", "list"))
    assert again.code == 0
    assert again.object.keys() == FIELDS
    assert again.object["revoked_at"] is not None
    assert listed.lines[1].endswith("revoked")


async def test_lists_may_be_of_one_account(darkroom: Darkroom, deployment: Deployment) -> None:
    await deployment.open_account("other", 0)
    empty, of_acme = await darkroom.run_all(("keys", "list"), ("keys", "list", "--account", "acme"))
    assert (empty.code, empty.out) == (0, "")
    assert "no keys: the API serves this machine only" in empty.err
    assert "no such keys" in of_acme.err
    await darkroom.run_all(A_SERVICE_KEY, (*A_SERVICE_KEY[:-1], "other"), AN_ADMIN_KEY)
    every, of_acme = await darkroom.run_all(
        ("keys", "list", "--json"), ("keys", "list", "--account", "acme", "--json")
    )
    assert len(every.objects) == 3
    assert of_acme.object["account_id"] == "acme"


async def test_what_does_not_exist_is_not_found_and_no_secret_is_repeated(
    darkroom: Darkroom,
) -> None:
    stranger = "dk_aaaaaaaaaaaa"
    secret = "s3cr3t" * 8
    unknown, mistyped, nobody, nobodys = await darkroom.run_all(
        ("keys", "revoke", stranger),
        ("keys", "revoke", f"{stranger}_{secret}"),
        (*A_SERVICE_KEY[:-1], "nobody"),
        ("keys", "list", "--account", "nobody"),
    )
    assert {one.code for one in (unknown, mistyped, nobody, nobodys)} == {3}
    assert f"no API key has the prefix or id '{stranger}'" in unknown.err
    assert stranger in mistyped.err
    assert secret[:12] not in mistyped.err
    for one in (nobody, nobodys):
        assert one.out == ""
        assert "no account has the id 'nobody'" in one.err


async def test_a_fault_names_its_field(darkroom: Darkroom) -> None:
    said = await darkroom.run(*AN_ADMIN_KEY, "--name", "x" * 201)
    assert (said.code, said.out) == (1, "")
    assert "name: must be 1 to 200 printable characters" in said.err


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("keys", "create"), "--role"),
        (("keys", "create", "--role", "king"), "king"),
        (("keys", "create", "--role", "service"), "--role service needs --account"),
        ((*AN_ADMIN_KEY, "--account", "acme"), "--role admin is for all accounts"),
        (("keys", "create", "--role", "operator", "--account", "a"), "--role operator is for all"),
        (("keys", "revoke"), "PREFIX"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else None,
)
def test_a_usage_error_leaves_with_2_and_says_which_option(
    words: tuple[str, ...], sentence: str
) -> None:
    result = CliRunner().invoke(build_app(), words, env={"COLUMNS": "200"})
    assert (result.exit_code, result.stdout) == (2, "")
    assert sentence in result.stderr


def test_every_command_explains_itself() -> None:
    for name in ("create", "list", "revoke", "sessions", "end-session"):
        command = f"keys {name}"
        result = CliRunner().invoke(build_app(), [*command.split(), "--help"])
        assert result.exit_code == 0
        assert command in result.stdout
