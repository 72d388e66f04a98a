"""Each command works with a login of its own role, and with no other."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest
from pydantic import SecretStr

from producer import Job
from producer.actor import Actor
from producer.keys.key_store import Caller, KeyStore
from producer.keys.roles import Role
from producer.keys.session_store import FoundSession, SessionStore
from shared.domain.lifecycle import JobState
from tests.acceptance.cli.cli_program import Darkroom
from tests.acceptance.cli.test_webhooks_cli import dead
from tests.integration.database.database_setup import DatabaseSetup
from tests.support.command_words import list_commands
from tests.support.database_logins import logged_in
from tests.support.deployment import Deployment, text_to_image
from tests.support.example_images import encoded_image

URL = "https://shop.example/hook"
PRICE = ("gpt-4o-image", "text-to-image", "1")
ONE_JOB = "019f0000-0000-7000-8000-000000000000"
ROLES = ("api", "worker", "pricing", "billing", "readonly", "admin")
# What members of darkroom_readonly run. Images are not theirs, nor what changes anything.
READS = {
    *("queue", "queue waiting", "queue pauses", "queue history", "queue lost-writes"),
    *("quote", "doctor", "audit"),
    *("margin", "jobs list", "jobs counts", "jobs show", "models list", "kie models"),
    *(
        "kie surprises",
        "webhooks list",
        "webhooks show",
        "webhooks endpoints",
        "keys list",
        "keys sessions",
    ),
    *("accounts list", "accounts show", "accounts ledger", "accounts statement"),
    "accounts erasures",
    *("prices list", "prices compare", "prices history", "prices preview", "prices scheduled"),
}
OF_THE_API_ALONE = {
    *("enqueue", "jobs wait", "jobs cancel", "jobs retry", "jobs resolve", "jobs download"),
    *("files upload", "files show", "results prune", "results retry", "models route"),
    *("queue pause", "queue resume", "queue end-brake", "queue acknowledge", "prune"),
    "accounts erase-prompts",
    *("webhooks replay", "webhooks secret", "webhooks rotate", "webhooks revoke"),
}
# Not over a database that is shared by roles: their own servers, none, or none of ours.
ELSEWHERE = {"demo", "up", "simulate-kie", "env", "health", "version", "migrate"}
# Programs that go on: tests/acceptance/test_own_roles.py runs both as logins.
PROGRAMS = {"worker", "api"}


@pytest.fixture
async def as_role(darkroom: Darkroom, database_url: str) -> AsyncIterator[dict[str, Darkroom]]:
    """The command line as a login of each role."""
    async with AsyncExitStack() as stack:
        yield {
            role: darkroom.elsewhere(
                DATABASE_URL=await stack.enter_async_context(
                    logged_in(database_url, [f"darkroom_{role}"])
                )
            )
            for role in ROLES
        }


def batched(
    commands: Iterable[tuple[str, tuple[str, ...]]], size: int
) -> Iterator[list[tuple[str, tuple[str, ...]]]]:
    """Divide the commands: a process each, and so many at once."""
    left = list(commands)
    for start in range(0, len(left), size):
        yield left[start : start + size]


async def open_session(deployment: Deployment) -> FoundSession:
    """Log somebody in to the console, and return the session."""
    key, _ = await KeyStore(deployment.database).create(Role.VIEWER)
    sessions = SessionStore(deployment.database)
    token = await sessions.open(
        Caller(Role.VIEWER, None, key.prefix),
        actor=Actor("console:test", via="console"),
        address="127.0.0.1",
        user_agent=None,
    )
    found = await sessions.find(token)
    assert found is not None
    return found


async def played_by(
    setup: DatabaseSetup, deployment: Deployment, folder: Path
) -> dict[str, dict[str, tuple[str, ...]]]:
    """Return what each role types, the arguments by the command."""

    async def new(state: JobState) -> str:
        return str((await setup.job_in(state)).id)

    failed: Job = await setup.job_in(JobState.FAILED)
    return {
        "api": {
            "enqueue": ("--account", "acme", "--prompt", "x", "--aspect-ratio", "1:1"),
            "quote": ("--account", "acme", "--prompt", "x", "--aspect-ratio", "1:1"),
            "queue": (),
            "queue pause": ("--everything", "--reason", "for the test"),
            **dict.fromkeys(("queue pauses", "queue history", "queue waiting"), ()),
            "queue end-brake": ("--reason", "for the test"),
            "queue resume": ("--everything",),
            "models list": (),
            "models route": ("gpt-4o-image", "--via", "4o-image-api", "--yes"),
            "doctor": (),
            "audit": (),
            "margin": ("--by", "account"),
            "jobs list": (),
            "jobs counts": (),
            "jobs show": (str(failed.id),),
            # It has no image to save.
            "jobs download": (str(failed.id), "--to", str(folder)),
            **await _played_with_files(deployment, folder),
            # It has no copy to delete.
            "results prune": ("--older-than", "90d", "--dry-run"),
            "results retry": ("--all",),
            "prune": ("--yes",),
            "kie models": (),
            "kie surprises": (),
            "jobs wait": (await new(JobState.SUCCEEDED),),
            "jobs cancel": (await new(JobState.QUEUED),),
            "jobs retry": (str(failed.id),),
            # Between these two: they run four at once, and an erased job is not retried.
            "queue lost-writes": (),
            "queue acknowledge": ("redis_was_wiped",),
            "accounts erase-prompts": ("acme", "--yes"),
            "accounts erasures": ("acme",),
            "jobs resolve": (await new(JobState.UNKNOWN), "--lost", "--reason", "not there"),
            **await _played_with_webhooks(deployment),
        },
        "worker": {"doctor": ()},
        **await _played_with_money(setup),
    }


async def _played_with_webhooks(deployment: Deployment) -> dict[str, tuple[str, ...]]:
    """Return what is typed about messages and secrets."""
    await dead(deployment)
    [message] = await deployment.producer.webhooks.list()
    await deployment.producer.webhooks.account_secrets.create("acme")
    return {
        **dict.fromkeys(("webhooks list", "webhooks endpoints"), ()),
        **dict.fromkeys(("webhooks replay", "webhooks show"), (message["id"],)),
        "webhooks revoke": ("acme",),
        "webhooks secret": ("acme", f"{URL}/new", "--create"),
        "webhooks rotate": ("acme", URL),
    }


async def _played_with_files(deployment: Deployment, folder: Path) -> dict[str, tuple[str, ...]]:
    """Return what is typed to upload images and to show them."""
    image = folder / "cat.png"
    image.write_bytes(encoded_image("PNG"))
    [file] = await deployment.run_sql(
        "INSERT INTO files (id, account_id, sha256, bytes, content_type, width, height, url,"
        "                   expires_at)"
        " VALUES (gen_random_uuid(), 'acme', sha256('x'), 1, 'image/png', 1, 1,"
        "         'https://kie.example/x.png', now() + interval '1 day')"
        " RETURNING id"
    )
    return {
        "files upload": (str(image), "--account", "acme"),
        "files show": (str(file["id"]),),
    }


async def _played_with_money(setup: DatabaseSetup) -> dict[str, dict[str, tuple[str, ...]]]:
    """Return what the roles of prices and credits type."""
    charged = await setup.job_in(JobState.SUCCEEDED)
    scheduled = await setup.billing.price_changes.schedule(
        ("gpt-4o-image", "text-to-image", 2),
        Decimal(9),
        at=datetime.now(UTC) + timedelta(days=1),
        reason="for the test",
    )
    return {
        "pricing": {
            "prices list": (),
            "prices compare": (),
            "prices set": (*PRICE, "9", "--reason", "for the test"),
            "prices history": (),
            "prices preview": (*PRICE, "10"),
            "prices schedule": (*PRICE, "10", "--at", "2027-12-31T00:00Z", "--reason", "test"),
            "prices scheduled": (),
            "prices unschedule": (str(scheduled["id"]),),
        },
        "billing": {
            "accounts create": ("new", "--credits", "5"),
            "accounts limits": ("acme", "--weight", "4", "--reason", "for the test"),
            "accounts grant": ("acme", "5", "--reason", "for the test"),
            "accounts show": ("acme",),
            "accounts list": (),
            "accounts statement": ("acme",),
            "accounts refund": (str(charged.id), "--reason", "for the test"),
            "accounts ledger": ("acme",),
            "keys create": ("--role", "operator"),
            "keys list": (),
            "keys revoke": ("dk_000000000000",),
        },
    }


@pytest.fixture
async def played(deployment: Deployment, tmp_path: Path) -> dict[str, dict[str, tuple[str, ...]]]:
    """What each role types, the arguments by the command."""
    setup = DatabaseSetup(deployment.database)
    await deployment.run_sql(
        "INSERT INTO api_keys (id, prefix, secret_sha256, role)"
        " VALUES (gen_random_uuid(), 'dk_000000000000', sha256('x'), 'operator')"
    )
    played = await played_by(setup, deployment, tmp_path)
    session = await open_session(deployment)
    played["billing"] |= {"keys sessions": ("--ended",), "keys end-session": (str(session.id),)}
    return played


async def failures(darkroom: Darkroom, commands: dict[str, tuple[str, ...]]) -> dict[str, str]:
    """Run the commands, and return what those that failed have said."""
    failed = {}
    for some in batched(commands.items(), 4):
        words = [(*command.split(), *arguments) for command, arguments in some]
        for command, said in zip(words, await darkroom.run_all(*words), strict=True):
            # The doctor leaves with 1 for what this test's Valkey is set to, and says what.
            if said.code and (command[0] != "doctor" or "✗ postgres" in said.out):
                failed[" ".join(command)] = said.err + said.out
    return failed


async def test_every_command_runs_as_a_login_of_its_role(
    as_role: dict[str, Darkroom],
    deployment: Deployment,
    played: dict[str, dict[str, tuple[str, ...]]],
) -> None:
    typed = {command for commands in played.values() for command in commands}
    assert typed | ELSEWHERE | PROGRAMS == list_commands()
    for role, commands in played.items():
        assert await failures(as_role[role], commands) == {}
    await deployment.check_invariants_hold()


async def test_who_looks_runs_every_command_that_reads_and_who_is_admin_those_of_money_too(
    as_role: dict[str, Darkroom],
    deployment: Deployment,
    played: dict[str, dict[str, tuple[str, ...]]],
) -> None:
    arguments = {command: words for typed in played.values() for command, words in typed.items()}
    of_money = (played["pricing"].keys() | played["billing"].keys()) - READS
    assert READS | OF_THE_API_ALONE | of_money == arguments.keys()
    setup = DatabaseSetup(deployment.database)
    before = await setup.snapshot()
    reading = {command: arguments[command] for command in sorted(READS)}
    assert await failures(as_role["readonly"], reading) == {}
    assert await setup.snapshot() == before
    changing = {command: arguments[command] for command in arguments if command in of_money}
    assert await failures(as_role["admin"], changing) == {}
    await deployment.check_invariants_hold()


async def test_who_looks_sees_no_prompt_and_cannot_search_for_one(
    as_role: dict[str, Darkroom], deployment: Deployment
) -> None:
    request = text_to_image("a secret lighthouse")
    job = await deployment.enqueue(request, metadata={"shop": "7"}, idempotency_key="order-7")
    readonly = as_role["readonly"]
    shown = await readonly.run("jobs", "show", str(job.id), "--json")
    listed = await readonly.run("jobs", "list", "--json")
    for seen in (shown.object, listed.object):
        assert (seen["id"], seen["state"]) == (str(job.id), "queued")
        assert (seen["request"]["prompt"], seen["metadata"]) == ("(masked)", {})
    assert "lighthouse" not in shown.out + listed.out
    assert "order-7" not in shown.out + listed.out
    for guess in (("--metadata", "shop=7"), ("--idempotency-key", "order-7")):
        for command in ("list", "counts"):
            said = await readonly.run("jobs", command, *guess)
            assert "permission denied: a filter by metadata" in said.err


async def test_a_worker_of_another_login_is_seen_by_who_enqueues(
    as_role: dict[str, Darkroom], deployment: Deployment, database_url: str
) -> None:
    words = ("enqueue", "--account", "acme", "--prompt", "x", "--aspect-ratio", "1:1")
    assert "no worker is running" in (await as_role["api"].run(*words)).err
    async with (
        logged_in(database_url, ["darkroom_worker"]) as worker_url,
        deployment.worker(database_url=SecretStr(worker_url)),
    ):
        assert "no worker is running" not in (await as_role["api"].run(*words)).err


@pytest.mark.parametrize(
    ("role", "words"),
    [
        ("pricing", ("accounts", "grant", "acme", "5", "--reason", "a gift")),
        ("pricing", ("accounts", "refund", ONE_JOB, "--reason", "a gift")),
        ("billing", ("prices", "schedule", *PRICE, "9", "--at", "2027-12-31", "--reason", "x")),
        ("pricing", ("keys", "create", "--role", "admin")),
        ("billing", ("prices", "set", *PRICE, "0", "--reason", "a gift")),
        ("billing", ("jobs", "list")),
        ("api", ("keys", "create", "--role", "admin")),
    ],
)
async def test_a_command_that_is_not_its_roles_is_refused_and_changes_nothing(
    as_role: dict[str, Darkroom], deployment: Deployment, role: str, words: tuple[str, ...]
) -> None:
    setup = DatabaseSetup(deployment.database)
    before = await setup.snapshot()
    said = await as_role[role].run(*words)
    assert said.code != 0
    assert "permission denied" in said.err
    assert await setup.snapshot() == before
