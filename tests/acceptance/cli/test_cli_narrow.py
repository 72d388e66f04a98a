"""On a terminal of 80 or 60 columns, no command breaks a word or a line."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from decimal import Decimal

from producer.actor import Actor
from producer.keys.key_store import KeyStore
from producer.keys.roles import Role
from shared.domain.lifecycle import JobState
from tests.acceptance.cli.cli_program import Darkroom
from tests.acceptance.cli.test_cli_own_roles import open_session
from tests.acceptance.cli.test_webhooks_cli import dead
from tests.integration.database.database_setup import DatabaseSetup
from tests.support.deployment import Deployment

OPERATOR = Actor("maintainer", via="cli", is_operator=True)
SAID_OF_WIDTH = {"not", "shown", "see", "json"}
"""The words below a table that has left columns out."""
LONGEST_WORD = 18
"""No state, header, command or reason is longer."""
_WORD = re.compile(r"[A-Za-z]+")


async def write_history(deployment: Deployment) -> list[tuple[str, ...]]:
    """Store rows of every kind. Returns the commands that show them as tables."""
    setup = DatabaseSetup(deployment.database)
    await setup.billing.create_account("a-customer-with-quite-a-long-name", Decimal("12345.75"))
    jobs = {state: await setup.job_in(state) for state in JobState}
    await setup.enqueue(run_at=datetime.now(UTC) + timedelta(days=3))
    await dead(deployment)
    await deployment.producer.pauses.pause(
        "account", "acme", reason="a customer asked us to wait until Monday", actor=OPERATOR
    )
    await setup.billing.set_account_limits(
        "acme", weight=4, max_open_jobs=20, reason="a large customer", actor=OPERATOR
    )
    await setup.billing.price_changes.schedule(
        ("gpt-4o-image", "text-to-image", 2),
        Decimal(9),
        at=datetime.now(UTC) + timedelta(days=1),
        reason="the price of the new year, as announced",
        actor=OPERATOR,
    )
    await KeyStore(deployment.database).create(Role.SERVICE, "acme", "the shop's backend")
    await open_session(deployment)
    return [
        *(("jobs", "show", str(jobs[state].id)) for state in (JobState.SUCCEEDED, JobState.FAILED)),
        *(("jobs", "list"), ("jobs", "counts"), ("queue",), ("queue", "pauses", "--all")),
        *(("queue", "waiting"), ("queue", "history"), ("webhooks", "list"), ("audit",)),
        *(("webhooks", "endpoints"), ("accounts", "list"), ("accounts", "ledger", "acme")),
        *(("accounts", "statement", "acme"), ("margin", "--by", "account"), ("prices", "list")),
        *(("prices", "history"), ("prices", "scheduled"), ("prices", "compare")),
        *(("keys", "list"), ("keys", "sessions"), ("models", "list"), ("migrate", "--status")),
    ]


async def test_no_command_breaks_a_word_where_the_terminal_is_narrow(
    darkroom: Darkroom, deployment: Deployment
) -> None:
    commands = await write_history(deployment)
    wide = dict(zip(commands, await darkroom.run_all(*commands), strict=True))
    assert {said.code for said in wide.values()} == {0}
    for columns in (80, 60):
        for command in commands:
            async with darkroom.on_terminal(*command, columns=columns) as terminal:
                assert await terminal.end() == 0
                text = terminal.text
            name = f"{' '.join(command)} at {columns}"
            assert max(map(len, text.splitlines())) <= columns, name
            said = wide[command].out + wide[command].err
            # Only ids, URLs and file names are longer, and may be folded.
            folded = " ".join(word for word in said.split() if len(word) > LONGEST_WORD)
            known = {*_WORD.findall(said), *SAID_OF_WIDTH}
            broken = {
                word for word in _WORD.findall(text) if word not in known and word not in folded
            }
            assert not broken, f"{name}: {broken}"
