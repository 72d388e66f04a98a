"""Checks every invariant of the stored jobs, credits and prices."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager

from producer.doctor.finding import Finding
from shared.adapters.postgres.database import Database, Queries, connect_database
from shared.adapters.postgres.sqlstates import INSUFFICIENT_PRIVILEGE
from shared.errors import PostgresDown

_MAX_NAMED = 5
_QUERY_TIMEOUT_SECONDS = 1800.0
_INVARIANTS = {
    "balances_equal_the_ledger": "balances and holds equal the ledger's sums",
    "held_equals_the_open_holds": "what is held is what open jobs hold",
    "day_credits_equal_the_jobs_of_the_day": "the limit of the day counts the jobs of the day",
    "every_job_has_one_hold_and_one_end": "each job has one hold, and one end exactly if it ended",
    "no_job_has_two_live_attempts": "no job may have been paid twice",
    "every_capture_cites_its_price": "every charge cites the price version of its basis",
    "every_refund_has_its_charge": "every refund gives back at most its job's charge, once",
    "states_and_attempts_agree": "jobs and their attempts tell the same story",
    "prices_and_versions_agree": "prices and their open versions agree",
    "every_act_on_money_is_noted": "every grant and price names who made it",
    "nobody_acts_without_a_grant": "who has no grant can call nothing that acts for the owner",
    "every_end_with_a_webhook_has_its_message": "each end that is to be told has one message",
    "late_images_are_on_their_job": "each job shows the images that came after its end",
    "totals_equal_their_jobs": "the totals of hours and days equal the sums of their jobs",
}
_REPORT_ADVICE = (
    "do not change it by hand: keep the database as it is and report it; the job's story is"
    " `darkroom jobs show ID`"
)
_FIXES = {
    "prices_and_versions_agree": "as the owner of the tables, in psql: SELECT * FROM"
    " darkroom_rebuild_price_history('why'); charges keep the version that they cite",
    "nobody_acts_without_a_grant": "as the owner, in psql: REVOKE ALL ON FUNCTION … FROM PUBLIC;"
    " and ALTER FUNCTION … SET search_path = pg_catalog, public, pg_temp; of a schema: REVOKE"
    " CREATE ON SCHEMA public FROM PUBLIC",
    "totals_equal_their_jobs": "as the owner, in psql: UPDATE totals_progress SET hours_end = NULL,"
    " days_end = NULL; a worker writes the totals again within minutes",
}
"""What an operator does about a broken invariant. Other invariants have `_REPORT_ADVICE`."""


def connect_for_checks(url: str) -> AbstractAsyncContextManager[Database]:
    """Open a database for checks that read all of it, with a long query timeout."""
    return connect_database(
        url,
        connections=2,
        name="darkroom-doctor",
        command_timeout_seconds=_QUERY_TIMEOUT_SECONDS,
        clamps_timestamps=True,
    )


async def check_invariants(
    queries: Queries, *, has_its_rights: bool = False
) -> AsyncIterator[Finding]:
    """Check every invariant on any database, and yield one finding for each.

    With `has_its_rights`, an invariant that the role of the login may not read is named as not
    checked. Otherwise, `PostgresDown` is raised.
    """
    for query, sentence in _INVARIANTS.items():
        name = query.replace("_", " ")
        try:
            rows = await queries.fetch(query, _MAX_NAMED)
        except PostgresDown as error:
            if error.sqlstate != INSUFFICIENT_PRIVILEGE or not has_its_rights:
                raise
            yield Finding(name, True, f"not checked: this login may not read it ({error})")
            continue
        named = "; ".join(f"{row['who']}: {row['what']}" for row in rows)
        fix = _FIXES.get(query, _REPORT_ADVICE) if rows else None
        yield Finding(name, not rows, named or sentence, fix)
