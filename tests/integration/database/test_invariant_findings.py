"""The doctor's invariants: every kind of corruption is found, and its row is named."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from producer.doctor import check_invariants
from shared.adapters.postgres.database import ConnectionQueries, Database
from shared.domain.lifecycle import IN_FLIGHT, JobState
from tests.integration.database.database_setup import DatabaseSetup
from tests.support.deployment import text_to_image

BALANCES = "balances equal the ledger"
HELD = "held equals the open holds"
DAY = "day credits equal the jobs of the day"
ENDS = "every job has one hold and one end"
ATTEMPTS = "no job has two live attempts"
CAPTURES = "every capture cites its price"
REFUNDS = "every refund has its charge"
STATES = "states and attempts agree"
PRICES = "prices and versions agree"
GRANTS = "nobody acts without a grant"
NOTED = "every act on money is noted"
TOTALS = "totals equal their jobs"


@dataclass(frozen=True, slots=True)
class Corruption:
    """A corruption of the data without its guards, and the invariant that must find it."""

    what: str
    statements: tuple[str, ...]
    noticed_by: frozenset[str]
    names: str
    """The account, the price, or the state of the job that must be named."""


def corruption(what: str, *statements: str, by: set[str], names: str) -> Corruption:
    return Corruption(what, statements, frozenset(by), names)


WRONG_MOMENT = "UPDATE jobs SET finished_at = finished_at + interval '{}' WHERE state = 'succeeded'"
OF_IMAGES = (
    "SELECT price_id FROM pricing"
    " WHERE model = 'gpt-4o-image' AND task = 'image-to-image' AND quantity = 1"
)
FOR_JOB = "(SELECT id FROM jobs WHERE state = '{}')"
ENTRY = (
    "INSERT INTO ledger_entries (account_id, job_id, kind, credits, balance_change, held_change,"
    " balance_after, held_after, price_id) SELECT account_id, id, '{}', 6, {}, {}, 0, 0, price_id"
    " FROM jobs WHERE state = '{}'"
)
NO_UNIQUE_KINDS = (
    "DROP INDEX ledger_entries_one_of_each_kind_per_job",
    "DROP INDEX ledger_entries_a_hold_ends_once",
)
REFUND = (
    "INSERT INTO ledger_entries (account_id, job_id, kind, credits, balance_change, held_change,"
    " balance_after, held_after, reason) SELECT account_id, id, 'adjustment', {0}, {0}, 0, 0, 0,"
    " 'x' FROM jobs WHERE state = '{1}'"
)
CORRUPTIONS = (
    corruption(
        "a balance was written by hand",
        "UPDATE accounts SET balance = balance + 0.01 WHERE id = 'acme'",
        by={BALANCES},
        names="acme",
    ),
    corruption(
        "held was written by hand",
        "UPDATE accounts SET held = held + 1 WHERE id = 'acme'",
        by={BALANCES, HELD},
        names="acme",
    ),
    corruption(
        "what counts against the limit of the day was written by hand",
        "UPDATE accounts SET day_credits = day_credits + 1 WHERE id = 'acme'",
        by={DAY},
        names="acme",
    ),
    corruption(
        "a grant was deleted",
        "DELETE FROM ledger_entries WHERE kind = 'grant' AND account_id = 'other'",
        by={BALANCES},
        names="other",
    ),
    corruption(
        "an open job was quoted something else",
        "UPDATE jobs SET credits_quoted = 5 WHERE state = 'queued'",
        by={HELD, ENDS, DAY},
        names="queued",
    ),
    corruption(
        "an open job lost its hold",
        f"DELETE FROM ledger_entries WHERE job_id = {FOR_JOB.format('generating')}",
        by={BALANCES, ENDS},
        names="generating",
    ),
    corruption(
        "a job was ended by hand",
        "UPDATE jobs SET state = 'cancelled', finished_at = now() WHERE state = 'queued'",
        by={HELD, ENDS, DAY},
        names="queued",
    ),
    corruption(
        "a success was not charged",
        "DELETE FROM ledger_entries WHERE kind = 'capture'",
        by={BALANCES, ENDS},
        names="succeeded",
    ),
    corruption(
        "a success was charged twice",
        *NO_UNIQUE_KINDS,
        ENTRY.format("capture", -6, 0, "succeeded"),
        by={BALANCES, ENDS, CAPTURES},
        names="succeeded",
    ),
    corruption(
        "a failure was charged",
        *NO_UNIQUE_KINDS,
        ENTRY.format("capture", -6, 0, "failed"),
        "UPDATE accounts SET balance = balance - 6 WHERE id = 'acme'",
        by={ENDS, CAPTURES},
        names="failed",
    ),
    corruption(
        "a failure was refunded",
        REFUND.format(6, "failed"),
        "UPDATE accounts SET balance = balance + 6 WHERE id = 'acme'",
        by={REFUNDS, NOTED},
        names="failed",
    ),
    corruption(
        "more was refunded than was charged",
        REFUND.format(70, "succeeded"),
        "UPDATE accounts SET balance = balance + 70 WHERE id = 'acme'",
        by={REFUNDS, NOTED},
        names="succeeded",
    ),
    corruption(
        "a success was refunded twice",
        *NO_UNIQUE_KINDS,
        REFUND.format(1, "succeeded"),
        REFUND.format(1, "succeeded"),
        "UPDATE accounts SET balance = balance + 2 WHERE id = 'acme'",
        by={REFUNDS, NOTED},
        names="succeeded",
    ),
    corruption(
        "a failure was released only in part",
        "UPDATE ledger_entries SET credits = 5, held_change = -5"
        f" WHERE kind = 'release' AND job_id = {FOR_JOB.format('failed')}",
        by={BALANCES, ENDS},
        names="failed",
    ),
    corruption(
        "somebody else was charged",
        "UPDATE ledger_entries SET account_id = 'other'"
        f" WHERE job_id = {FOR_JOB.format('succeeded')}",
        "UPDATE accounts SET balance = balance + CASE id WHEN 'acme' THEN 10 ELSE -10 END",
        by={ENDS},
        names="succeeded",
    ),
    corruption(
        "the charge on the job is not the captured one",
        "UPDATE jobs SET credits_charged = 5 WHERE state = 'succeeded'",
        by={ENDS, DAY},
        names="succeeded",
    ),
    corruption(
        "a second attempt was sent while the first was live",
        "DROP INDEX job_attempts_one_live_attempt_per_job",
        "INSERT INTO job_attempts (job_id, number, token, worker)"
        f" VALUES ({FOR_JOB.format('generating')}, 2, 'a-token-of-twenty-letters', 'w')",
        by={ATTEMPTS},
        names="generating",
    ),
    corruption(
        "a charge cites a version of another task",
        f"UPDATE ledger_entries SET price_id = ({OF_IMAGES}) WHERE kind = 'capture'",
        f"UPDATE jobs SET price_id = ({OF_IMAGES}) WHERE state = 'succeeded'",
        by={CAPTURES},
        names="succeeded",
    ),
    corruption(
        "job and entry cite different versions",
        "UPDATE ledger_entries SET price_id = price_id + 1 WHERE kind = 'capture'",
        by={CAPTURES},
        names="succeeded",
    ),
    corruption(
        "the version that a charge cites says something else",
        "UPDATE pricing_history SET credits = 1 WHERE id ="
        " (SELECT price_id FROM jobs WHERE state = 'succeeded')",
        by={CAPTURES},
        names="succeeded",
    ),
    corruption(
        "the version did not hold yet",
        WRONG_MOMENT.format("-1 hour"),
        by={CAPTURES},
        names="succeeded",
    ),
    corruption(
        "the version held no longer",
        WRONG_MOMENT.format("3 hours"),
        by={CAPTURES},
        names="succeeded",
    ),
    corruption(
        "a quoted job was charged by another version",
        "UPDATE jobs SET charge_basis = 'quoted' WHERE state = 'succeeded'",
        by={CAPTURES},
        names="succeeded",
    ),
    corruption(
        "a job at the lower price was charged the higher",
        "UPDATE jobs SET charge_basis = 'lower_of' WHERE state = 'succeeded'",
        by={CAPTURES},
        names="succeeded",
    ),
    corruption(
        "a generating job's attempt is said to have made nothing",
        "UPDATE job_attempts SET outcome = 'deferred'"
        f" WHERE job_id = {FOR_JOB.format('generating')}",
        by={STATES},
        names="generating",
    ),
    corruption(
        "a job and its attempt name different tasks",
        "UPDATE jobs SET provider_task_id = 'another' WHERE state = 'succeeded'",
        by={STATES},
        names="succeeded",
    ),
    corruption(
        "the attempt of a job is gone",
        f"DELETE FROM job_attempts WHERE job_id = {FOR_JOB.format('generating')}",
        by={STATES},
        names="generating",
    ),
    corruption(
        "a price was changed without a version",
        "UPDATE pricing SET credits = 99 WHERE quantity = 4 AND task = 'text-to-image'",
        by={PRICES},
        names="gpt-4o-image text-to-image 4",
    ),
    corruption(
        "a price lost its row but not its version",
        "DELETE FROM pricing WHERE quantity = 4 AND task = 'text-to-image'",
        by={PRICES},
        names="version ",
    ),
    corruption(
        "a version was closed though its price holds",
        "UPDATE pricing_history SET valid = tstzrange(lower(valid), now() + interval '1 hour')"
        " WHERE quantity = 4 AND task = 'text-to-image'",
        by={PRICES},
        names="gpt-4o-image text-to-image 4",
    ),
    corruption(
        "a version that was never in force was put beside the one that is",
        "UPDATE pricing_history SET valid = tstzrange(lower(valid), now())"
        " WHERE quantity = 4 AND task = 'text-to-image'",
        "INSERT INTO pricing_history (model, task, quantity, credits, provider_credits, valid,"
        " changed_by) SELECT model, task, quantity, 0, 0, tstzrange(now(), NULL), 'mallory'"
        " FROM pricing WHERE quantity = 4 AND task = 'text-to-image'",
        "UPDATE pricing_history SET valid = tstzrange(lower(valid), now() + interval '1 s')"
        " WHERE changed_by = 'mallory'",
        by={PRICES, NOTED},
        names="0 credits by mallory, closed, overlaps or follows version",
    ),
    corruption(
        "a version of a price that is not sold was made up, with a number of its own",
        "INSERT INTO pricing_history (id, model, task, quantity, credits, provider_credits, valid,"
        " changed_by) VALUES (900002, 'next-model', 'text-to-image', 1, 0, 0,"
        " '[2001-01-01,2001-01-02)', 'mallory')",
        by={PRICES},
        names="version 900002: has a number that was never given out",
    ),
    corruption(
        "credits were granted behind the back of the trigger that notes who",
        "INSERT INTO ledger_entries (account_id, kind, credits, balance_change, held_change,"
        " balance_after, held_after, reason) VALUES ('acme', 'grant', 5, 5, 0, 0, 0, 'a gift')",
        "UPDATE accounts SET balance = balance + 5 WHERE id = 'acme'",
        by={NOTED},
        names="grant of 5 credits to acme, and nobody is named",
    ),
    corruption(
        "an entry of who adjusted credits was deleted",
        "DELETE FROM audit_entries WHERE act = 'credits_granted' AND account_id = 'other'",
        by={NOTED},
        names="grant of 100 credits to other, and nobody is named",
    ),
    corruption(
        "the entry of who changed a price names another version",
        """UPDATE audit_entries SET after = '{"price_id": 1}' WHERE act = 'price_changed'""",
        by={NOTED},
        names="price version ",
    ),
    corruption(
        "a function that acts for the owner was given to everybody",
        "GRANT EXECUTE ON FUNCTION darkroom_record_price() TO PUBLIC",
        by={GRANTS},
        names="darkroom_record_price()",
    ),
    corruption(
        "a function that acts for the owner looks names up where its caller does",
        "ALTER FUNCTION darkroom_guard_price_in_use() RESET search_path",
        by={GRANTS},
        names="darkroom_guard_price_in_use(): looks names up where its caller does",
    ),
    corruption(
        "everybody may put objects beside ours",
        "GRANT CREATE ON SCHEMA public TO PUBLIC",
        by={GRANTS},
        names="schema public",
    ),
    corruption(
        "an hour that is said to have totals has none",
        "UPDATE totals_progress SET hours_end = date_trunc('hour', now()) + interval '1 hour'",
        by={TOTALS},
        names="of gpt-4o-image by price",
    ),
    corruption(
        "the total of a day was written by hand",
        "INSERT INTO daily_account_totals"
        " VALUES (date_trunc('day', now(), 'UTC'), 'other', 1, 6, 0, 5, 0, 0)",
        "UPDATE totals_progress SET days_end = date_trunc('day', now(), 'UTC') + interval '1 day'",
        by={TOTALS},
        names="of other: the total is",
    ),
)


async def fill(setup: DatabaseSetup) -> dict[str, str]:
    """Store one job in each state. The succeeded job was charged more than its quote.

    Return how findings name each of them.
    """
    await setup.open_account("other", 100)
    names = {"acme": "acme", "other": "other"}
    jobs = {state: await setup.job_in(state) for state in JobState if state != "succeeded"}
    jobs[JobState.SUCCEEDED] = await setup.job_in(JobState.GENERATING)
    await setup.set_price(10)
    await setup.settle(jobs[JobState.SUCCEEDED])
    await setup.set_price(20)
    return names | {state.value: str(job.id) for state, job in jobs.items()}


async def test_every_corruption_is_found_and_its_row_is_named(
    setup: DatabaseSetup, subtests: pytest.Subtests
) -> None:
    names = await fill(setup)
    assert await setup.broken_invariants() == {}
    for case in CORRUPTIONS:
        with subtests.test(case.what):
            broken = await corrupted(setup.database, case)
            assert set(broken) == case.noticed_by
            wanted = names.get(case.names, case.names)
            assert any(wanted in detail for detail in broken.values()), broken
    assert await setup.broken_invariants() == {}


async def corrupted(database: Database, case: Corruption) -> dict[str, str]:
    """Return the findings during the corruption, which is then rolled back."""
    async with database.pool.acquire() as connection:
        transaction = connection.transaction()
        await transaction.start()
        try:
            # Triggers and foreign keys are off, as if they had a bug.
            await connection.execute("SET LOCAL session_replication_role = replica")
            for statement in case.statements:
                done = await connection.execute(statement)
                assert not done.endswith(" 0"), statement
            findings = check_invariants(ConnectionQueries(connection))
            return {finding.name: finding.detail async for finding in findings if not finding.ok}
        finally:
            await transaction.rollback()


def test_every_invariant_is_seen_broken() -> None:
    seen = {name for case in CORRUPTIONS for name in case.noticed_by}
    assert seen == {
        BALANCES,
        HELD,
        DAY,
        ENDS,
        ATTEMPTS,
        CAPTURES,
        STATES,
        PRICES,
        GRANTS,
        NOTED,
        REFUNDS,
        TOTALS,
    }


async def test_of_many_offenders_a_few_are_named(setup: DatabaseSetup) -> None:
    for n in range(8):
        await setup.open_account(f"account-{n}", 1)
    await setup.sql("UPDATE accounts SET balance = 7 WHERE id LIKE 'account-%'")
    broken = await setup.broken_invariants()
    assert set(broken) == {BALANCES}
    assert broken[BALANCES].count("balance 7 and held 0, but the ledger says 1 and 0") == 5


async def test_jobs_that_nothing_moves_any_more_are_found(setup: DatabaseSetup) -> None:
    jobs = {
        state: await setup.job_in(state, request=text_to_image(quantity=2)) for state in JobState
    }
    limit_seconds = 3600.0
    assert await setup.database.fetch("stuck_jobs", 10, limit_seconds) == []
    await setup.sql(
        "UPDATE jobs SET updated_at = now() - interval '2 hours',"
        " deadline_at = deadline_at - interval '2 hours'"
    )
    stuck = await setup.database.fetch("stuck_jobs", 10, limit_seconds)
    wanted = {str(jobs[state].id) for state in IN_FLIGHT}
    assert {row["who"] for row in stuck} == wanted
    assert all(" since " in row["what"] for row in stuck)
